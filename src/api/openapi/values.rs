//! Walking through a document.

use serde_json::{Map, Value};

/// An object of JSON.
pub(super) type Object = Map<String, Value>;

/// How references to schemas begin.
pub(super) const SCHEMAS: &str = "#/components/schemas/";
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// Visits every object, the inner ones first.
pub(super) fn visit_objects(value: &mut Value, visit: &mut impl FnMut(&mut Object)) {
    match value {
        Value::Object(fields) => {
            for inner in fields.values_mut() {
                visit_objects(inner, visit);
            }
            visit(fields);
        }
        Value::Array(items) => {
            for inner in items {
                visit_objects(inner, visit);
            }
        }
        _ => {}
    }
}

/// Visits every text that is a reference to a schema, by its name.
pub(super) fn visit_references(value: &mut Value, rename: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(renamed) = text.strip_prefix(SCHEMAS).and_then(rename) {
                *text = format!("{SCHEMAS}{renamed}");
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|inner| visit_references(inner, rename)),
        Value::Array(items) => items.iter_mut().for_each(|inner| visit_references(inner, rename)),
        _ => {}
    }
}

/// The schemas, by their names.
pub(super) fn schemas(document: &mut Value) -> Option<&mut Object> {
    document.pointer_mut("/components/schemas")?.as_object_mut()
}

/// Every operation, with its path and its method.
pub(super) fn operations(document: &mut Value) -> impl Iterator<Item = (&String, &String, &mut Object)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object_mut().into_iter().flatten();
        let methods = methods.filter(|(method, _)| METHODS.contains(&method.as_str()));
        methods.filter_map(move |(method, operation)| Some((path, method, operation.as_object_mut()?)))
    })
}

/// The id of an operation.
pub(super) fn id_of(operation: &Object) -> String {
    operation["operationId"].as_str().unwrap_or_default().to_owned()
}

/// The answers of an operation, by their statuses.
pub(super) fn responses(operation: &mut Object) -> impl Iterator<Item = (&String, &mut Object)> {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    let responses = responses.into_iter().flatten();
    responses.filter_map(|(status, response)| Some((status, response.as_object_mut()?)))
}
