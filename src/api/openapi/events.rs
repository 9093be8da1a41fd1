//! Events, each once: poem-openapi writes a member of a union twice, as it is and with what tells it from the others.

use serde_json::{Value, json};

use super::values::{SCHEMAS, schemas, visit_references};

/// How the second schema of an event begins.
const WITH_TYPE: &str = "Event_";

pub(super) fn write_once(document: &mut Value) {
    let Some(schemas) = schemas(document) else { return };
    let names: Vec<String> = schemas
        .keys()
        .filter(|name| name.starts_with(WITH_TYPE))
        .cloned()
        .collect();
    for name in names {
        let Some(both) = schemas.remove(&name) else { continue };
        let target = both["allOf"][1]["$ref"]
            .as_str()
            .and_then(|reference| reference.strip_prefix(SCHEMAS));
        let Some(event) = target.and_then(|target| schemas.get_mut(target)) else {
            continue;
        };
        let word = both["allOf"][0]["properties"]["type"]["enum"][0].clone();
        let said = format!("Always `{}`.", word.as_str().unwrap_or_default());
        event["properties"]["type"] = json!({ "type": "string", "enum": [word], "description": said });
        match event["required"].as_array_mut() {
            Some(required) => required.insert(0, json!("type")),
            None => event["required"] = json!(["type"]),
        }
    }
    visit_references(document, &|name| name.strip_prefix(WITH_TYPE).map(str::to_owned));
}
