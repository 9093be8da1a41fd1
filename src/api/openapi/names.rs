//! Names, numbers and formats that mean the same in every language.

use serde_json::{Value, json};

use super::values::{Object, schemas, visit_objects, visit_references};

/// Schemas whose names are types of languages, and what they are called instead.
const RENAMED: [(&str, &str); 1] = [("Ok", "HealthCheck")];
/// The formats with which a client can do something. Ours find the rules of the domain inside the server, which reads them from the routes.
const FORMATS: [&str; 11] = [
    "int32",
    "int64",
    "double",
    "float",
    "date-time",
    "date",
    "binary",
    "byte",
    "email",
    "uri",
    "uri-reference",
];

pub(super) fn mend(document: &mut Value) {
    visit_references(document, &|name| renamed(name).map(str::to_owned));
    if let Some(schemas) = schemas(document) {
        for (old, new) in RENAMED {
            if let Some(schema) = schemas.remove(old) {
                schemas.insert(new.to_owned(), schema);
            }
        }
        for (name, schema) in schemas.iter_mut() {
            let title = schema["title"].as_str();
            // One that repeats the name says nothing.
            if title.is_some_and(|title| title == name || renamed(title) == Some(name)) {
                schema.as_object_mut().and_then(|schema| schema.remove("title"));
            }
        }
    }
    visit_objects(document, &mut mend_numbers);
    visit_objects(document, &mut mend_format);
}

fn renamed(name: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| *new)
}

/// `maximum: 100.0` of an integer is `100`.
fn mend_numbers(schema: &mut Object) {
    if schema.get("type").is_none_or(|kind| kind != "integer") {
        return;
    }
    for bound in ["minimum", "maximum"] {
        if let Some(number) = schema.get(bound).and_then(Value::as_f64) {
            #[expect(clippy::cast_possible_truncation, reason = "bounds are whole numbers far below 2^53")]
            schema.insert(bound.to_owned(), json!(number as i64));
        }
    }
}

fn mend_format(schema: &mut Object) {
    // A property may have this name.
    let (Some(Value::String(format)), Some(Value::String(_))) = (schema.get("format"), schema.get("type")) else {
        return;
    };
    match format.as_str() {
        "naive-date" => {
            schema.insert("format".to_owned(), json!("date"));
        }
        // OpenAPI 3.0 has no unsigned numbers.
        "uint32" | "uint64" => {
            schema.insert("format".to_owned(), json!("int64"));
            schema.entry("minimum").or_insert(json!(0));
        }
        known if FORMATS.contains(&known) => {}
        _ => {
            schema.remove("format");
        }
    }
}
