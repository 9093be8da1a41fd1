//! Where a request came from, for whoever looks for it later: its id, and the trace that it belongs to.

use cura_app::chat::RequestOrigin;
use poem::http::HeaderMap;
use poem::{FromRequest, Request, RequestBody, Result};

use crate::http::request_id::{RequestId, UNKNOWN};

/// The length of a trace id, in hexadecimal digits.
const TRACE_ID_LENGTH: usize = 32;

/// The origin of a request.
pub(crate) struct Origin(pub(crate) RequestOrigin);

impl Origin {
    /// The origin of `request`.
    pub(crate) fn of(request: &Request) -> Self {
        Self(RequestOrigin {
            request_id: Some(RequestId::of(request).as_str().to_owned()).filter(|id| id != UNKNOWN),
            trace_id: trace_id(request.headers()),
        })
    }
}

impl<'a> FromRequest<'a> for Origin {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self::of(request))
    }
}

/// The trace of a `traceparent` header (W3C Trace Context, level 1): `version-trace_id-parent_id-flags`. One that is malformed, or all
/// zeros, is ignored, as the standard says.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_known = version.len() == 2 && is_hex(version) && version != "ff";
    let is_id = trace.len() == TRACE_ID_LENGTH && is_hex(trace) && trace.bytes().any(|byte| byte != b'0');
    (is_known && is_id && parts.count() >= 2).then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn read(header: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_str(header).unwrap());
        trace_id(&headers)
    }

    #[test]
    fn the_trace_is_the_one_of_the_header() {
        assert_eq!(read(&format!("00-{TRACE}-00f067aa0ba902b7-01")).as_deref(), Some(TRACE));
        let later = format!("01-{TRACE}-00f067aa0ba902b7-01-more");
        assert_eq!(read(&later).as_deref(), Some(TRACE), "a later version has more parts");
    }

    #[test]
    fn a_malformed_header_is_ignored() {
        let zeros = "0".repeat(TRACE_ID_LENGTH);
        for header in [
            String::new(),
            TRACE.to_owned(),
            format!("00-{TRACE}"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{zeros}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}0-00f067aa0ba902b7-01"),
            "00-somebody@example.com-00f067aa0ba902b7-01".to_owned(),
        ] {
            assert_eq!(read(&header), None, "{header}");
        }
        assert_eq!(trace_id(&HeaderMap::new()), None);
    }
}
