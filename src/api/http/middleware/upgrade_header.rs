//! `Upgrade: websocket` in any case (RFC 6455, section 4.2.1). poem knows two spellings.

use poem::Request;
use poem::http::{HeaderValue, header};

/// Writes the word as poem expects it.
pub(super) fn normalize(request: &mut Request) {
    if let Some(upgrade) = request.headers_mut().get_mut(header::UPGRADE)
        && upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
    {
        *upgrade = HeaderValue::from_static("websocket");
    }
}
