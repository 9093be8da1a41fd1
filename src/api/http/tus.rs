//! The headers of TUS 1.0 (tus.io): the version, lengths and offsets.

use poem::Request;
use poem::http::{HeaderName, HeaderValue, StatusCode, header};

use crate::http::problem::Problem;

/// Where uploads are that arrive in parts.
pub(crate) const PATH: &str = "/uploads/resumable";
/// The version that is spoken here.
pub(crate) const VERSION: &str = "1.0.0";
/// The extensions that are spoken here.
pub(crate) const EXTENSIONS: &str = "creation,expiration,termination";
/// What the body of a part is.
pub(crate) const CONTENT_TYPE: &str = "application/offset+octet-stream";

pub(crate) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");

/// Checks that a client speaks this version.
///
/// # Errors
/// 412 with `Tus-Version` if it says another one, or none.
pub(crate) fn check_version(request: &Request) -> Result<(), Problem> {
    let said = request.headers().get(TUS_RESUMABLE);
    if said.is_some_and(|said| said.as_bytes() == VERSION.as_bytes()) {
        return Ok(());
    }
    let detail = "Tus-Resumable must be 1.0.0, the version of the protocol that is spoken here.";
    let problem = Problem::new(StatusCode::PRECONDITION_FAILED, "unsupported_tus_version", detail);
    Err(problem.with_header(TUS_VERSION, HeaderValue::from_static(VERSION)))
}

/// The length of an upload that begins.
///
/// # Errors
/// 400 if there is none, or one that comes later.
pub(crate) fn upload_length(request: &Request, given: Option<&str>) -> Result<u64, Problem> {
    if request.headers().contains_key(UPLOAD_DEFER_LENGTH) {
        return Err(malformed("Upload-Defer-Length is not supported; send Upload-Length."));
    }
    number(given).ok_or_else(|| malformed("Upload-Length must be the number of bytes of the file."))
}

/// The offset of a part.
///
/// # Errors
/// 400 if there is none.
pub(crate) fn upload_offset(given: Option<&str>) -> Result<u64, Problem> {
    number(given).ok_or_else(|| malformed("Upload-Offset must be the number of bytes that have arrived before."))
}

/// How long the body of a request will be, if it says so.
pub(crate) fn content_length(request: &Request) -> Option<u64> {
    request
        .headers()
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// 400: a header of TUS cannot be read.
pub(crate) fn malformed(detail: &str) -> Problem {
    Problem::malformed("malformed_header", detail)
}

/// A number without a sign.
fn number(given: Option<&str>) -> Option<u64> {
    let digits = given?.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // One with more digits is larger than anything that is taken.
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_digits_only() {
        for (text, expected) in [
            ("0", Some(0)),
            (" 10485760 ", Some(10_485_760)),
            ("007", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("0x10", None),
            ("ten", None),
        ] {
            assert_eq!(number(Some(text)), expected, "{text}");
        }
        assert_eq!(number(None), None);
    }
}
