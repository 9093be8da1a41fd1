//! The page where one signs in: a plain form, without a script.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use poem::Response;
use poem::http::{StatusCode, header};
use sha2::{Digest, Sha256};

/// How it looks.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:22rem;margin:15vh auto;padding:0 1rem;color:#222;background:#fafafa}\
h1{font-size:1.3rem}label{display:block;margin:1rem 0}input{display:block;width:100%;box-sizing:border-box;padding:.5rem;font:inherit}\
button{padding:.5rem 1.5rem;font:inherit}p{color:#a00}";

/// The page; `trouble` says why the last try failed.
pub(super) fn respond(status: StatusCode, trouble: Option<&str>) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_SECURITY_POLICY, policy())
        .content_type("text/html; charset=utf-8")
        .body(html(trouble))
}

/// Nothing but this style and this form.
fn policy() -> String {
    let style = hash(STYLE);
    format!("default-src 'none'; style-src '{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
}

/// How a policy names an inline style or script.
pub(super) fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

fn html(trouble: Option<&str>) -> String {
    let trouble = trouble.map(|trouble| format!("<p role=\"alert\">{}</p>", escaped(trouble)));
    let trouble = trouble.unwrap_or_default();
    format!(
        "<!DOCTYPE html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Cura: the queue</title>
<style>{STYLE}</style>
<h1>Cura: the queue</h1>
{trouble}
<form method=\"post\" action=\"/sign-in\">
<label>E-mail address of an admin<input name=\"email\" type=\"email\" autocomplete=\"username\" required autofocus></label>
<label>Password<input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>
<button>Sign in</button>
</form>
</html>
"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_no_script_and_its_style_is_the_one_that_is_allowed() {
        let page = html(Some("<b> & \"x\""));
        assert!(!page.contains("<script") && !page.contains("<b>") && page.contains("&lt;b> &amp; &quot;x&quot;"));
        assert!(policy().contains(&hash(STYLE)) && page.contains(&format!("<style>{STYLE}</style>")));
    }
}
