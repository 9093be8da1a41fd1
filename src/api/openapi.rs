//! The OpenAPI document, generated from the routes.

use poem_openapi::OpenApiService;
use serde_json::{Value, json};

use crate::routes::service;

/// The OpenAPI document, as it is served and committed.
pub fn openapi() -> Value {
    let text = OpenApiService::spec(&service());
    let mut document: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(schemas) = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut)
    {
        schemas.values_mut().for_each(mark_nullable);
    }
    document
}

/// Marks optional properties as nullable, in requests and responses; poem-openapi does not.
fn mark_nullable(schema: &mut Value) {
    let required: Vec<String> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, property) in properties {
        if required.iter().any(|required| required == name) {
            continue;
        }
        if let Some(reference) = property.get("$ref").cloned() {
            // Beside a $ref, OpenAPI 3.0 ignores everything; beside no type, `nullable` means nothing to some validators.
            *property = json!({ "anyOf": [{ "$ref": reference }, { "enum": [null] }], "nullable": true });
        } else if let Some(property) = property.as_object_mut() {
            property.insert("nullable".to_owned(), Value::Bool(true));
        }
    }
}

/// The HTML page of ReDoc, without the fonts that it loads from another server, which would learn who reads the document.
pub(crate) fn redoc_html() -> String {
    let html = service().redoc_html();
    let lines = html.lines().filter(|line| !line.contains("fonts.googleapis.com"));
    lines.collect::<Vec<_>>().join("\n")
}
