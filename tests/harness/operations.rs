//! Every operation of the OpenAPI document, so that tests of all operations include new ones.

use reqwest::Method;
use serde_json::{Value, json};

use crate::Cura;

/// The type of a part of an upload (TUS 1.0).
pub const PART: &str = "application/offset+octet-stream";

/// One operation.
#[derive(Debug)]
pub struct Operation {
    /// GET, POST, …
    pub method: Method,
    /// As in the document: `/conversations/{conversation_id}`.
    pub template: String,
    /// Its description in the document.
    pub described: Value,
}

/// The operations in the document of this server, and the socket.
///
/// # Panics
/// If there is no document, or it lists none.
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
    // It is served, and not in this document.
    found.push(Operation {
        method: Method::GET,
        template: "/chat/ws/{conversation_id}".to_owned(),
        described: json!({ "operationId": "openSocket", "responses": { "101": {} } }),
    });
    found
}

impl Operation {
    /// Its path, with `id` for every parameter.
    pub fn path(&self, id: &str) -> String {
        let parts = self.template.split('/');
        let named = parts.map(|part| if part.starts_with('{') { id } else { part });
        named.collect::<Vec<_>>().join("/")
    }

    /// Whether it takes a body.
    pub fn takes_body(&self) -> bool {
        self.described.get("requestBody").is_some()
    }

    /// Whether it requires one.
    pub fn needs_body(&self) -> bool {
        self.described["requestBody"]["required"] == true
    }

    /// Whether its body is a form with a file.
    pub fn takes_form(&self) -> bool {
        !self.described["requestBody"]["content"]["multipart/form-data"].is_null()
    }

    /// Whether its body is bytes that are added to an upload.
    pub fn takes_part(&self) -> bool {
        !self.described["requestBody"]["content"][PART].is_null()
    }

    /// Whether it takes bytes for as long as a file may take.
    pub fn takes_file(&self) -> bool {
        self.takes_form() || self.takes_part()
    }

    /// Whether it speaks TUS 1.0.
    pub fn speaks_tus(&self) -> bool {
        self.template.starts_with("/uploads/resumable")
    }

    /// Whether it needs no authentication.
    pub fn is_open(&self) -> bool {
        self.described["security"].as_array().is_none_or(Vec::is_empty)
    }
}
