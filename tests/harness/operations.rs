//! Every operation of the OpenAPI document, so that what holds for all is asked of a new one too.

use reqwest::Method;
use serde_json::Value;

use crate::Cura;

/// One operation.
#[derive(Debug)]
pub struct Operation {
    /// GET, POST, …
    pub method: Method,
    /// As in the document: `/conversations/{conversation_id}`.
    pub template: String,
    /// What the document says about it.
    pub described: Value,
}

/// What this server's document lists.
///
/// # Panics
/// When that is nothing, or no document.
pub async fn operations(cura: &Cura) -> Vec<Operation> {
    let document = cura.client().get("/openapi.json").await.body;
    let mut found = Vec::new();
    for (template, item) in document["paths"].as_object().expect("paths") {
        for (method, described) in item.as_object().expect("operations") {
            found.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                template: template.clone(),
                described: described.clone(),
            });
        }
    }
    assert!(!found.is_empty(), "{document}");
    found
}

impl Operation {
    /// Its path, with this id for everything it names.
    pub fn path(&self, id: &str) -> String {
        let parts = self.template.split('/');
        let named = parts.map(|part| if part.starts_with('{') { id } else { part });
        named.collect::<Vec<_>>().join("/")
    }

    /// Whether it takes a body.
    pub fn takes_body(&self) -> bool {
        self.described.get("requestBody").is_some()
    }

    /// Whether it cannot do without one.
    pub fn needs_body(&self) -> bool {
        self.described["requestBody"]["required"] == true
    }

    /// Whether nobody in particular may ask.
    pub fn is_open(&self) -> bool {
        self.described["security"].as_array().is_none_or(Vec::is_empty)
    }
}
