//! Compressed request bodies are refused: decompression turns 48 kB into 50 MB.

use poem::Request;
use poem::http::{StatusCode, header};

use crate::http::problem::Problem;

/// 415 if the body is compressed.
pub(super) fn refuse_compressed(request: &Request) -> Result<(), Problem> {
    if !request.headers().contains_key(header::CONTENT_ENCODING) {
        return Ok(());
    }
    let detail = "Compressed request bodies are not supported.";
    let (status, code) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding");
    Err(Problem::new(status, code, detail))
}
