//! The paths of the API: which template a request's path belongs to, and which methods that has.

use poem::http::HeaderValue;
use serde_json::Value;

/// One path of the OpenAPI document.
#[derive(Debug)]
pub(crate) struct KnownPath {
    /// As the document writes it: `/chat/messages/{message_id}`.
    pub(crate) template: String,
    /// The methods that take a body.
    pub(crate) with_body: Vec<String>,
    /// For `Allow`.
    pub(crate) allow: HeaderValue,
    /// The content types of its successes.
    pub(crate) produces: Vec<String>,
}

impl KnownPath {
    /// Whether a client that sends this `Accept` can take what the path produces (RFC 9110, section 12.5.1).
    pub(crate) fn is_accepted(&self, accept: &str) -> bool {
        // What produces nothing is taken by everybody.
        self.produces.is_empty() || self.produces.iter().any(|produced| Self::fits(produced, accept))
    }

    fn fits(produced: &str, accept: &str) -> bool {
        let (kind, _) = produced.split_once('/').unwrap_or_default();
        accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            let fits = range == "*/*"
                || range.eq_ignore_ascii_case(produced)
                || range
                    .strip_suffix("/*")
                    .is_some_and(|range| range.eq_ignore_ascii_case(kind));
            fits && !refused
        })
    }
}

/// All paths. A handful: looking through them costs less than hashing would.
#[derive(Debug)]
pub(crate) struct Paths(Vec<KnownPath>);

impl Paths {
    /// Of the OpenAPI document.
    pub(crate) fn new(document: &Value) -> Self {
        let known = |(template, item): (&String, &Value)| {
            Some(KnownPath {
                template: template.clone(),
                with_body: with_body(item),
                allow: HeaderValue::try_from(methods(item)).ok()?,
                produces: produces(item),
            })
        };
        Self(
            document["paths"]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(known)
                .collect(),
        )
    }

    /// The template `path` belongs to.
    pub(crate) fn find(&self, path: &str) -> Option<&KnownPath> {
        self.0.iter().find(|known| matches(&known.template, path))
    }
}

fn methods(item: &Value) -> String {
    let mut names: Vec<String> = item
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys)
        .map(|name| name.to_uppercase())
        .collect();
    if names.iter().any(|name| name == "GET") {
        names.push("HEAD".to_owned());
    }
    names.join(", ")
}

fn with_body(item: &Value) -> Vec<String> {
    let operations = item.as_object().into_iter().flatten();
    let taking = operations.filter(|(_, operation)| operation.get("requestBody").is_some());
    taking.map(|(method, _)| method.to_uppercase()).collect()
}

/// What the operations of a path answer with; poem-openapi writes parameters into some content types.
fn produces(item: &Value) -> Vec<String> {
    let operations = item.as_object().into_iter().flat_map(serde_json::Map::values);
    let answers = operations.flat_map(|operation| operation["responses"].as_object().into_iter().flatten());
    let contents = answers
        .filter(|(status, _)| status.starts_with('2'))
        .flat_map(|(_, answer)| {
            answer["content"]
                .as_object()
                .into_iter()
                .flat_map(serde_json::Map::keys)
        });
    let mut produced: Vec<String> = contents
        .filter_map(|content| content.split(';').next().map(str::to_owned))
        .collect();
    if produced.is_empty() {
        // Problems are JSON, too.
        produced.push("application/json".to_owned());
    }
    produced
}

fn matches(template: &str, path: &str) -> bool {
    let mut wanted = template.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given => {}
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_accepts_is_compared_with_what_a_path_produces() {
        let path = |produces: &str| KnownPath {
            template: String::new(),
            with_body: Vec::new(),
            allow: HeaderValue::from_static("GET"),
            produces: vec![produces.to_owned()],
        };
        for (accept, json, events) in [
            ("*/*", true, true),
            ("application/json, text/plain, */*", true, true),
            ("text/event-stream", false, true),
            ("Application/JSON;q=0.5", true, false),
            ("text/*", false, true),
            ("text/html, application/json;q=0", false, false),
            ("image/png", false, false),
        ] {
            assert_eq!(path("application/json").is_accepted(accept), json, "{accept}");
            assert_eq!(path("text/event-stream").is_accepted(accept), events, "{accept}");
        }
    }

    #[test]
    fn a_path_belongs_to_the_template_it_fits() {
        for (template, path, fits) in [
            ("/chat/messages/{id}", "/chat/messages/7", true),
            ("/chat/messages/{id}", "/chat/messages/", false),
            ("/chat/messages/{id}", "/chat/messages/7/stream", false),
            ("/chat/messages/{id}/stream", "/chat/messages/7/stream", true),
            ("/health", "/health", true),
            ("/health", "/healthy", false),
        ] {
            assert_eq!(matches(template, path), fits, "{template} {path}");
        }
    }
}
