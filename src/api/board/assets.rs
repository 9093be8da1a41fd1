//! The page itself: what apalis-board has compiled in. It asks nobody but this server, which its policy makes sure of.

use apalis_board::axum::ui::ServeUI;
use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};

use super::sign_in_page::hash;
use super::{SIGN_OUT, not_now};
use crate::http::problem::Problem;

/// The document that the page begins with.
const INDEX: &str = "index.html";
/// What surrounds the script that the document begins.
const SCRIPT: (&str, &str) = ("<script type=\"module\">", "</script>");
/// How long a browser keeps the parts of the page whose names have a hash.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, max-age=86400, immutable");

/// The parts of the page.
pub(super) struct Assets {
    /// The document, with a button that signs out; `None` if apalis-board has none that we understand.
    index: Option<(String, HeaderValue)>,
}

impl Assets {
    pub(super) fn new() -> Self {
        let document = ServeUI::get_file(INDEX).and_then(|file| file.contents_utf8());
        Self {
            index: document.and_then(|document| Some((with_sign_out(document), policy(document)?))),
        }
    }

    /// The part at `path`; the document, where it has a page of its own.
    pub(super) fn respond(&self, path: &str) -> Result<Response, Problem> {
        let file = ServeUI::get_file(path).ok_or_else(|| Problem::not_found("not_found", "There is no such page."))?;
        let name = file.path().to_str().unwrap_or_default();
        if name == INDEX {
            let (document, policy) = self.index.as_ref().ok_or_else(not_now)?;
            return Ok(Response::builder()
                .status(StatusCode::OK)
                .header(header::CONTENT_SECURITY_POLICY, policy)
                .content_type("text/html; charset=utf-8")
                .body(document.clone()));
        }
        Ok(Response::builder()
            .status(StatusCode::OK)
            .header(header::CACHE_CONTROL, CACHE_CONTROL)
            .content_type(ServeUI::content_type(name))
            .body(file.contents().to_vec()))
    }
}

/// The document's own script and what it loads from here, and nothing from anywhere else. It compiles WebAssembly and sets styles.
fn policy(document: &str) -> Option<HeaderValue> {
    let (_, rest) = document.split_once(SCRIPT.0)?;
    let (script, _) = rest.split_once(SCRIPT.1)?;
    let script = hash(script);
    HeaderValue::try_from(format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' '{script}'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'self'; \
         frame-ancestors 'none'"
    ))
    .ok()
}

fn with_sign_out(document: &str) -> String {
    let form = format!(
        "<form method=\"post\" action=\"{SIGN_OUT}\" style=\"position:fixed;right:1rem;bottom:1rem;z-index:100\">\
         <button style=\"padding:.3rem .8rem;border:1px solid #888;border-radius:.3rem\">Sign out</button></form></body>"
    );
    document.replacen("</body>", &form, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_signs_out_and_loads_nothing_from_elsewhere() {
        let assets = Assets::new();
        let (document, policy) = assets.index.as_ref().unwrap();
        assert!(document.contains("action=\"/sign-out\""));
        assert!(
            !document.contains("http:") && !document.contains("https:"),
            "{document}"
        );
        let policy = policy.to_str().unwrap();
        assert!(!policy.contains("http") && policy.contains("'sha256-"), "{policy}");
        assert!(assets.respond("/../Cargo.toml").is_err() && assets.respond("/x.js").is_err());
        assert!(assets.respond("/queues/generate-answer").is_ok());
    }
}
