//! `Accept`: a client that accepts nothing the path produces learns it before anything is done (RFC 9110, section 12.5.1).

use poem::Request;
use poem::http::{StatusCode, header};

use crate::http::operation::Operation;
use crate::http::problem::Problem;

/// 406 if the path produces none of the content types that the client accepts.
pub(super) fn refuse_unacceptable(request: &Request) -> Result<(), Problem> {
    // Several headers are one list.
    let lists = request.headers().get_all(header::ACCEPT).iter();
    let accept: Vec<&str> = lists.filter_map(|list| list.to_str().ok()).collect();
    let accept = accept.join(",");
    let operation = Operation::of(request);
    if accept.trim().is_empty() || is_accepted(operation.produces(), &accept) {
        return Ok(());
    }
    let detail = format!("This path produces {}.", operation.produces().join(" or "));
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail))
}

fn is_accepted(produces: &[String], accept: &str) -> bool {
    // An unknown path is a 404, whatever the client accepts.
    produces.is_empty() || produces.iter().any(|produced| fits(produced, accept))
}

fn fits(produced: &str, accept: &str) -> bool {
    let (kind, _) = produced.split_once('/').unwrap_or_default();
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let is_refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        let fits = range == "*/*"
            || range.eq_ignore_ascii_case(produced)
            || range
                .strip_suffix("/*")
                .is_some_and(|range| range.eq_ignore_ascii_case(kind));
        fits && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_accepts_is_compared_with_what_a_path_produces() {
        for (accept, json, events) in [
            ("*/*", true, true),
            ("application/json, text/plain, */*", true, true),
            ("text/event-stream", false, true),
            ("Application/JSON;q=0.5", true, false),
            ("text/*", false, true),
            ("text/html, application/json;q=0", false, false),
            ("image/png", false, false),
        ] {
            assert_eq!(is_accepted(&["application/json".to_owned()], accept), json, "{accept}");
            assert_eq!(
                is_accepted(&["text/event-stream".to_owned()], accept),
                events,
                "{accept}"
            );
        }
    }
}
