//! An example of every request and of every answer that succeeds. Tokens and signatures in them are made up. A contract test checks each
//! against its schema.

use serde_json::Value;

use super::values::{Object, id_of, operations, responses};

/// By operation: `request`, and `responses` by status; of a stream, its events by their names.
const EXAMPLES: &str = include_str!("examples.json");

pub(super) fn add(document: &mut Value) {
    let examples: Value = serde_json::from_str(EXAMPLES).unwrap_or_default();
    for (_, _, operation) in operations(document) {
        let Some(of_operation) = examples.get(id_of(operation)) else {
            continue;
        };
        if let (Some(example), Some(body)) = (of_operation.get("request"), operation.get_mut("requestBody")) {
            for media in media(body) {
                media.insert("example".to_owned(), example.clone());
            }
        }
        for (status, response) in responses(operation) {
            let Some(example) = of_operation["responses"].get(status) else {
                continue;
            };
            let content = response.get_mut("content").and_then(Value::as_object_mut);
            for (kind, media) in content.into_iter().flatten() {
                let Some(media) = media.as_object_mut() else { continue };
                if kind == "text/event-stream" {
                    let events = example.as_object().into_iter().flatten();
                    let named = events.map(|(name, event)| (name.clone(), serde_json::json!({ "value": event })));
                    media.insert("examples".to_owned(), Value::Object(named.collect()));
                } else if kind != "application/problem+json" {
                    media.insert("example".to_owned(), example.clone());
                }
            }
        }
    }
}

fn media(body: &mut Value) -> impl Iterator<Item = &mut Object> {
    let content = body.get_mut("content").and_then(Value::as_object_mut);
    content
        .into_iter()
        .flat_map(|content| content.values_mut())
        .filter_map(Value::as_object_mut)
}
