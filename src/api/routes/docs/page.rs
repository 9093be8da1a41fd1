//! One page: its bytes are shared by all readers, compressed once, and named by an `ETag`, so that a reader who has it gets a 304.

use std::borrow::Cow;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::web::headers::{ETag, HeaderMapExt, IfNoneMatch};
use poem::{Request, Response};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::http::response_body::SharedBytes;

/// For how long a reader need not ask again; afterwards it asks with the `ETag`.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// A page that never changes while the process runs.
pub(super) struct Page {
    content_type: HeaderValue,
    /// `Content-Security-Policy`, for pages that run scripts.
    security_policy: Option<&'static str>,
    tag: String,
    plain: Bytes,
    /// Compressed when somebody first asks for it; `None` inside if that makes it no smaller.
    gzip: OnceCell<Option<Bytes>>,
}

impl Page {
    /// A page with these bytes, which are not copied.
    pub(super) fn new(content_type: &str, bytes: Cow<'static, [u8]>, security_policy: Option<&'static str>) -> Self {
        let plain = match bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        let hash = Sha256::digest(&plain);
        let half: [u8; 16] = std::array::from_fn(|n| hash[n]);
        let unknown = HeaderValue::from_static("application/octet-stream");
        Self {
            content_type: HeaderValue::from_str(content_type).unwrap_or(unknown),
            security_policy,
            tag: format!("{:032x}", u128::from_be_bytes(half)),
            plain,
            gzip: OnceCell::new(),
        }
    }

    /// The page as this client takes it; 304 if it has it already.
    pub(super) async fn respond(&self, request: &Request) -> Response {
        let compressed = match accepts_gzip(request.headers()) {
            true => self.gzip.get_or_init(|| compress(self.plain.clone())).await.clone(),
            false => None,
        };
        let suffix = if compressed.is_some() { "-gzip" } else { "" };
        let tag = format!("\"{}{suffix}\"", self.tag);
        let mut response = Response::builder()
            .header(header::ETAG, &tag)
            .header(header::CACHE_CONTROL, CACHE_CONTROL)
            .header(header::VARY, HeaderValue::from_static("accept-encoding"))
            .extension(SharedBytes);
        if let Some(policy) = self.security_policy {
            response = response.header(header::CONTENT_SECURITY_POLICY, policy);
        }
        if is_known(request.headers(), &tag) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        if compressed.is_some() {
            response = response.header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let body = compressed.unwrap_or_else(|| self.plain.clone());
        response
            .header(header::CONTENT_TYPE, self.content_type.clone())
            // The answer to HEAD has no body that it could be derived from.
            .header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))
            .body(body)
    }
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.typed_get::<IfNoneMatch>();
    let tag = tag.parse::<ETag>().ok();
    known
        .zip(tag)
        .is_some_and(|(known, tag)| !known.precondition_passes(&tag))
}

/// Whether `Accept-Encoding` names gzip, or everything, and does not refuse it.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','));
    let of = |coding: &str| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_refused = parts.any(|part| part.strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0_f32));
        (name, !is_refused)
    };
    let codings: Vec<(String, bool)> = codings.map(of).collect();
    let named = |name: &str| codings.iter().find(|(known, _)| known == name).map(|(_, taken)| *taken);
    named("gzip").or_else(|| named("*")).unwrap_or(false)
}

/// `None` if it does not get smaller, or cannot be compressed.
async fn compress(plain: Bytes) -> Option<Bytes> {
    // More than a hundred milliseconds for the largest script: not on a thread that serves others.
    let compressing = tokio::task::spawn_blocking(move || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&plain).ok()?;
        let mut compressed = encoder.finish().ok()?;
        compressed.shrink_to_fit();
        (compressed.len() < plain.len()).then(|| Bytes::from(compressed))
    });
    compressing.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_only_to_who_takes_it() {
        for (accepted, expected) in [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("br, GZIP;q=0.5"), true),
            (Some("gzip;q=0"), false),
            (Some("*;q=0.1"), true),
            (Some("*, gzip;q=0.000"), false),
            (Some("identity"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accepted) = accepted {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            }
            assert_eq!(accepts_gzip(&headers), expected, "{accepted:?}");
        }
    }
}
