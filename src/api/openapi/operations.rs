//! What is said of operations: whom they are for, what they take and give.

use serde_json::{Value, json};

use super::values::{Object, id_of, operations, responses};

/// Headers whose names poem-openapi writes in capitals, because they come from enum variants.
const HEADERS: [&str; 15] = [
    "Link",
    "Location",
    "X-Total-Count",
    "Idempotent-Replayed",
    "Retry-After",
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Upload-Expires",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Metadata",
    "ETag",
    "Content-Range",
];
/// What pictures of users are, whatever files may be.
const AVATAR_TYPES: [&str; 2] = ["image/jpeg", "image/png"];

/// Takes an operation out of the document, with its path.
pub(super) fn take_out(document: &mut Value, id: &str) {
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|_, item| {
            let mut operations = item.as_object().into_iter().flat_map(serde_json::Map::values);
            !operations.any(|operation| operation["operationId"] == id)
        });
    }
}

pub(super) fn mend(document: &mut Value) {
    for (path, method, operation) in operations(document) {
        let id = id_of(operation);
        // An operation that nobody signs in for says so.
        operation.entry("security").or_insert(json!([]));
        add_statuses(&id, operation);
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten().filter_map(Value::as_object_mut) {
            mend_parameter(path, parameter);
        }
        for (_, response) in responses(operation) {
            mend_headers(&id, response);
            mend_content(&id, method, response);
        }
        // No break in the middle of a sentence.
        if let Some(Value::String(description)) = operation.get_mut("description") {
            *description = description
                .split("\n\n")
                .map(|part| part.replace('\n', " "))
                .collect::<Vec<_>>()
                .join("\n\n");
        }
    }
}

/// Three operations have no problem of their own, and can be refused by what stands before them.
fn add_statuses(id: &str, operation: &mut Object) {
    let problem = |said: &str| {
        let content = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        json!({ "description": said, "content": content })
    };
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    if ["getHealth", "getLiveness", "describeResumableUploads"].contains(&id) {
        let said = "The path cannot produce any accepted content type.";
        responses.insert("406".to_owned(), problem(said));
    }
    if ["getHealth", "describeResumableUploads"].contains(&id) {
        let said = "A limit is reached; see `Retry-After` and `RateLimit-*`.";
        responses.insert("429".to_owned(), problem(said));
    }
}

fn mend_parameter(path: &str, parameter: &mut Object) {
    // What is so without being said.
    parameter.remove("explode");
    remove_false(parameter, "deprecated");
    let (name, place) = (text_of(parameter, "name"), text_of(parameter, "in"));
    // Optional for poem-openapi, so that one which is missing is the problem that TUS asks for.
    if place == "header" && text_of(parameter, "description").starts_with("Required: ") {
        parameter.insert("required".to_owned(), json!(true));
        parameter["schema"] = match name.as_str() {
            "Tus-Resumable" => json!({ "type": "string", "enum": ["1.0.0"] }),
            _ => json!({ "type": "integer", "format": "int64", "minimum": 0 }),
        };
    }
    if path == "/files/{file_id}" && place == "query" {
        parameter.insert("required".to_owned(), json!(true));
    }
    let Some(Value::Object(schema)) = parameter.get_mut("schema") else {
        return;
    };
    if place == "path" && schema.get("type").is_some_and(|kind| kind == "integer") {
        schema.insert("minimum".to_owned(), json!(1));
    }
    match name.as_str() {
        "Idempotency-Key" => {
            schema.insert("minLength".to_owned(), json!(1));
            schema.insert("maxLength".to_owned(), json!(255));
            schema.insert("pattern".to_owned(), json!("^[!-~]+$"));
        }
        "v" => {
            schema.insert("enum".to_owned(), json!(["original", "thumb"]));
        }
        _ => {}
    }
}

fn mend_headers(id: &str, response: &mut Object) {
    let Some(headers) = response.get_mut("headers").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, mut header) in std::mem::take(headers) {
        if let Some(header) = header.as_object_mut() {
            remove_false(header, "deprecated");
        }
        let known = HEADERS.iter().find(|known| known.eq_ignore_ascii_case(&name));
        headers.insert(known.map_or(name, |known| (*known).to_owned()), header);
    }
    // Only an answer to a POST is a repetition.
    if ["resumeStream", "watchEvents"].contains(&id) {
        headers.remove("Idempotent-Replayed");
    }
    if headers.is_empty() {
        response.remove("headers");
    }
}

fn mend_content(id: &str, method: &str, response: &mut Object) {
    if method == "head" {
        // RFC 9110: no body follows, whatever the headers say.
        response.remove("content");
        return;
    }
    let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, media) in std::mem::take(content) {
        let kind = name.split(';').next().unwrap_or_default();
        let is_picture = kind.ends_with("json") || AVATAR_TYPES.contains(&kind);
        if id != "showAvatar" || is_picture {
            content.insert(kind.to_owned(), media);
        }
    }
}

fn remove_false(fields: &mut Object, name: &str) {
    if fields.get(name) == Some(&Value::Bool(false)) {
        fields.remove(name);
    }
}

fn text_of(fields: &Object, name: &str) -> String {
    fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
