//! The id of a request: in every response, in every log line, and in every problem.

use cura_domain::Entropy;
use poem::Request;
use poem::http::{HeaderMap, HeaderName, HeaderValue};

/// The header of the request and of the response.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// In place of an id, where none could be had.
pub(crate) const UNKNOWN: &str = "unknown";
/// The longest id of a client that is kept, in bytes.
const MAX_LENGTH: usize = 128;

/// The id of one request, in its data.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

impl RequestId {
    /// The client's id if it is short and plain, otherwise a new one.
    pub(crate) fn choose(headers: &HeaderMap, entropy: &Entropy) -> Self {
        let is_plain = |id: &&HeaderValue| {
            let bytes = id.as_bytes();
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !bytes.is_empty() && bytes.len() <= MAX_LENGTH && bytes.iter().all(plain)
        };
        Self(headers.get(REQUEST_ID).filter(is_plain).cloned().unwrap_or_else(|| {
            // Hexadecimal digits are always a valid header.
            HeaderValue::try_from(generate(entropy)).unwrap_or_else(|_| HeaderValue::from_static(UNKNOWN))
        }))
    }

    /// The id that the outermost middleware has chosen.
    pub(crate) fn of(request: &Request) -> Self {
        let unknown = || Self(HeaderValue::from_static(UNKNOWN));
        request.data::<Self>().cloned().unwrap_or_else(unknown)
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// A new random id.
pub(crate) fn generate(entropy: &Entropy) -> String {
    format!("{:032x}", u128::from_be_bytes(entropy.bytes::<16>()))
}
