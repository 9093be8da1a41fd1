//! References to schemas, as every generator reads them.
//!
//! poem-openapi writes a described reference as `allOf: [$ref, {description}]`, of which openapi-python-client leaves out the schema and
//! every operation that needs it; and it does not say that an optional property may be null.

use serde_json::{Value, json};

use super::values::{Object, schemas, visit_objects};

pub(super) fn mend(document: &mut Value) {
    visit_objects(document, &mut describe_beside);
    let Some(schemas) = schemas(document) else { return };
    for schema in schemas.values_mut() {
        mark_nullable(schema);
    }
}

/// Beside a lone `$ref`, OpenAPI 3.0 ignores everything: the description stands beside an `allOf` of one.
fn describe_beside(schema: &mut Object) {
    let Some([reference, described]) = schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) else {
        return;
    };
    let is_description = described.as_object().is_some_and(|fields| {
        let mut names = fields.keys();
        names.all(|name| name == "description")
    });
    if reference.get("$ref").is_none() || !is_description {
        return;
    }
    let (reference, described) = (reference.clone(), described.get("description").cloned());
    schema.insert("allOf".to_owned(), json!([reference]));
    if let (Some(described), false) = (described, schema.contains_key("description")) {
        schema.insert("description".to_owned(), described);
    }
}

/// Marks optional properties as nullable, in requests and responses.
fn mark_nullable(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    let optional = properties
        .iter_mut()
        .filter(|(name, _)| !required.iter().any(|required| required == *name));
    for property in optional.filter_map(|(_, property)| property.as_object_mut()) {
        let reference = match property.remove("$ref") {
            Some(reference) => Some(json!({ "$ref": reference })),
            None => property.remove("allOf").map(|all| all[0].clone()),
        };
        if let Some(reference) = reference {
            // `nullable` means nothing without a type beside it.
            let nothing = json!({ "type": "string", "nullable": true, "enum": [null] });
            property.insert("anyOf".to_owned(), json!([reference, nothing]));
        } else if property.contains_key("type") {
            property.insert("nullable".to_owned(), Value::Bool(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_described_beside_it_and_may_be_null_if_it_is_optional() {
        let reference = json!({ "$ref": "#/components/schemas/Message" });
        let mut document = json!({ "components": { "schemas": { "Answer": {
            "required": ["kept"],
            "properties": {
                "kept": { "allOf": [reference, { "description": "The message." }] },
                "described": { "allOf": [reference, { "description": "The message." }] },
                "bare": reference,
                "text": { "type": "string" },
                "anything": {},
            },
        }}}});
        mend(&mut document);
        let nothing = json!({ "type": "string", "nullable": true, "enum": [null] });
        let expected = json!({
            "kept": { "allOf": [reference], "description": "The message." },
            "described": { "anyOf": [reference, nothing], "description": "The message." },
            "bare": { "anyOf": [reference, nothing] },
            "text": { "type": "string", "nullable": true },
            "anything": {},
        });
        assert_eq!(document["components"]["schemas"]["Answer"]["properties"], expected);
    }
}
