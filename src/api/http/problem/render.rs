//! A problem as an HTTP response.

use cura_domain::Entropy;
use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};
use poem_openapi::types::ToJSON;

use super::Problem;
use super::documented::CONTENT_TYPE;
use super::view::ProblemView;
use crate::http::rate_limit_headers;
use crate::http::request_id;

impl Problem {
    /// The HTTP response.
    pub(crate) fn render(self, request_id: &str) -> Response {
        let (status, own, retry_after) = (self.status, self.header.clone(), self.retry_after);
        let used_up = self.used_up.as_ref().map(|used_up| used_up.limit);
        let view = self.view(request_id);
        let mut response = Response::builder()
            .status(status)
            .content_type(CONTENT_TYPE)
            .body(view.to_json_string());
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            // RFC 9110, section 15.5.22, and RFC 6455, section 4.2.2.
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if let Some((name, value)) = own.map(|own| *own) {
            headers.insert(name, value);
        }
        if let Some(after) = retry_after {
            let seconds = after.as_secs().max(1);
            if let Some(limit) = used_up {
                rate_limit_headers::insert(headers, limit, 0, seconds);
            }
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// The HTTP response as bytes, for a request that could not be parsed. The connection closes after it.
    pub(crate) fn render_raw(self, entropy: &Entropy) -> Vec<u8> {
        let request_id = request_id::generate(entropy);
        let status = self.status;
        let body = self.view(&request_id).to_json_string();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {}\r\nx-request-id: {request_id}\r\n\
             cache-control: no-store\r\nconnection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body.into_bytes()].concat()
    }

    fn view(self, request_id: &str) -> ProblemView {
        ProblemView {
            limit: self.limit(),
            message_id: self.message_id(),
            file_id: self.file_id(),
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Unknown").to_owned(),
            status: self.status.as_u16().into(),
            detail: self.detail,
            code: self.code.to_owned(),
            request_id: request_id.to_owned(),
            errors: (!self.errors.is_empty()).then_some(self.errors),
            resets_at: self.used_up.and_then(|used_up| used_up.resets_at),
        }
    }
}
