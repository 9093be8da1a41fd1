//! Which operation of the OpenAPI document a request is for, and the policy of that operation.

use std::sync::Arc;

use poem::Request;
use poem::http::{HeaderValue, Method};
use serde_json::Value;

use crate::http::policy::{self, Policy, RateClass};
use crate::http::query::QueryParameter;

/// One path of the document.
#[derive(Debug)]
struct KnownPath {
    /// As the document writes it: `/chat/messages/{message_id}`.
    template: String,
    /// Its methods, each with the policy of its operation.
    policies: Vec<(Method, &'static Policy)>,
    /// The parameters of the query of each method.
    parameters: Vec<(Method, Vec<QueryParameter>)>,
    /// The value of `Allow`.
    allow: HeaderValue,
    /// The content types of its successful responses.
    produces: Vec<String>,
}

/// Every path of the document. There are so few that a scan costs less than hashing.
#[derive(Debug)]
pub(crate) struct Operations(Vec<Arc<KnownPath>>);

impl Operations {
    /// The operations of the OpenAPI document.
    pub(crate) fn new(document: &Value) -> Self {
        let known = |(template, item): (&String, &Value)| {
            Some(Arc::new(KnownPath {
                template: template.clone(),
                policies: policies(item),
                parameters: parameters(document, item),
                allow: HeaderValue::try_from(methods(item)).ok()?,
                produces: produces(item),
            }))
        };
        let paths = document["paths"].as_object().into_iter().flatten();
        Self(paths.filter_map(known).collect())
    }

    /// The operation that `method` and `path` name.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Operation {
        let path = self.0.iter().find(|known| matches(&known.template, path));
        let policy = path.map_or(&policy::UNDOCUMENTED, |path| path.policy(method));
        Operation {
            method: path.map_or(method, |path| path.answered_as(method)).clone(),
            path: path.cloned(),
            is_head: method == Method::HEAD,
            policy,
        }
    }
}

impl KnownPath {
    /// poem answers HEAD as GET, unless the path has a HEAD of its own.
    fn answered_as<'m>(&self, method: &'m Method) -> &'m Method {
        let has_own = || self.policies.iter().any(|(known, _)| known == Method::HEAD);
        if method == Method::HEAD && !has_own() {
            &Method::GET
        } else {
            method
        }
    }

    fn policy(&self, method: &Method) -> &'static Policy {
        let method = self.answered_as(method);
        let row = self.policies.iter().find(|(known, _)| known == method);
        let is_cheap = |policy: &Policy| matches!(policy.rate, RateClass::Free | RateClass::Wide);
        match row {
            Some((_, policy)) => policy,
            None if self.policies.iter().all(|(_, policy)| is_cheap(policy)) => &policy::UNDOCUMENTED,
            None => &policy::METHOD_NOT_ALLOWED,
        }
    }
}

/// The operation of one request, in its data.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    path: Option<Arc<KnownPath>>,
    method: Method,
    is_head: bool,
    /// What it costs and may take.
    pub(crate) policy: &'static Policy,
}

impl Operation {
    /// The operation that the middleware has found.
    pub(crate) fn of(request: &Request) -> Self {
        request.data::<Self>().cloned().unwrap_or(Self {
            path: None,
            method: Method::GET,
            is_head: false,
            policy: &policy::UNDOCUMENTED,
        })
    }

    /// Whether only the headers of the response are sent. To a handler the request says GET.
    pub(crate) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Whether the document has the path, spelled as it is in the request.
    pub(crate) fn is_documented(&self) -> bool {
        self.path.is_some()
    }

    /// The path as the document writes it, without ids; `None` if the document does not have it.
    pub(crate) fn template(&self) -> Option<&str> {
        self.path.as_ref().map(|path| path.template.as_str())
    }

    /// The value of `Allow`.
    pub(crate) fn allow(&self) -> HeaderValue {
        match &self.path {
            Some(path) => path.allow.clone(),
            // The paths outside the document are its own pages.
            None => HeaderValue::from_static("GET, HEAD"),
        }
    }

    /// The part of `path` that has this name in the document.
    pub(crate) fn path_parameter<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let mut parts = self.template()?.split('/').zip(path.split('/'));
        let is_named = |part: &str| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) == Some(name);
        parts.find(|(wanted, _)| is_named(wanted)).map(|(_, given)| given)
    }

    /// The parameters of its query.
    pub(crate) fn query_parameters(&self) -> &[QueryParameter] {
        let of_path = self.path.iter().flat_map(|path| &path.parameters);
        let mut of_method = of_path.filter(|(method, _)| *method == self.method);
        of_method.next().map_or(&[], |(_, parameters)| parameters)
    }

    /// The content types that it produces; none if the document does not have it.
    pub(crate) fn produces(&self) -> &[String] {
        self.path.as_ref().map_or(&[], |path| &path.produces)
    }
}

fn policies(item: &Value) -> Vec<(Method, &'static Policy)> {
    let operations = item.as_object().into_iter().flatten();
    let policy = |(method, operation): (&String, &Value)| {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok()?;
        Some((method, policy::find(operation["operationId"].as_str()?)?))
    };
    operations.filter_map(policy).collect()
}

fn parameters(document: &Value, item: &Value) -> Vec<(Method, Vec<QueryParameter>)> {
    let operations = item.as_object().into_iter().flatten();
    let parameters = |(method, operation): (&String, &Value)| {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok()?;
        Some((method, QueryParameter::all(document, operation)))
    };
    operations.filter_map(parameters).collect()
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

/// The content types of the successful responses of a path. poem-openapi adds parameters to some.
fn produces(item: &Value) -> Vec<String> {
    let operations = item.as_object().into_iter().flat_map(serde_json::Map::values);
    let responses = operations.flat_map(|operation| operation["responses"].as_object().into_iter().flatten());
    let successes = responses.filter(|(status, _)| status.starts_with('2'));
    let contents = successes.flat_map(|(_, response)| response["content"].as_object().into_iter().flatten());
    let mut produced: Vec<String> = contents
        .filter_map(|(content_type, _)| content_type.split(';').next().map(str::to_owned))
        .collect();
    if produced.is_empty() {
        // A path without content still produces problems, which are JSON.
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
    use serde_json::json;

    use super::*;

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

    #[test]
    fn a_part_of_a_path_is_found_by_its_name() {
        let document = json!({ "paths": { "/chat/stream/{id}": { "post": { "operationId": "streamMessageTo" } } } });
        let found = Operations::new(&document).find(&Method::POST, "/chat/stream/7");
        assert_eq!(found.path_parameter("/chat/stream/7", "id"), Some("7"));
        assert_eq!(found.path_parameter("/chat/stream/7", "stream"), None);
    }

    #[test]
    fn a_request_has_the_policy_of_its_operation() {
        let operations = Operations::new(&json!({ "paths": {
            "/chat/send": { "post": { "operationId": "sendMessage" } },
            "/chat/messages/{id}": { "get": { "operationId": "getMessage" } },
            "/health": { "get": { "operationId": "getHealth" } },
        }}));
        for (method, path, policy) in [
            (Method::POST, "/chat/send", policy::find("sendMessage").unwrap()),
            (Method::GET, "/chat/send", &policy::METHOD_NOT_ALLOWED),
            (Method::HEAD, "/chat/messages/7", policy::find("getMessage").unwrap()),
            (Method::POST, "/health", &policy::UNDOCUMENTED),
            (Method::GET, "/docs/", &policy::UNDOCUMENTED),
        ] {
            assert_eq!(operations.find(&method, path).policy, policy, "{method} {path}");
        }
    }
}
