//! The compiled JSON schema of a request type.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use jsonschema::Validator;
use poem_openapi::registry::Registry;
use poem_openapi::types::ParseFromJSON;
use serde_json::{Value, json};

use crate::http::problem::FieldError;

/// Fields that only Cura sets. A body that contains one is refused, so that the client does not believe it was set.
const PRIVILEGED: [&str; 12] = [
    "id",
    "user_id",
    "role",
    "is_admin",
    "admin",
    "status",
    "password_hash",
    "email",
    "avatar_url",
    "last_seen",
    "updated_at",
    "created_at",
];

pub(super) struct Schema {
    pub(super) validator: Validator,
    required: Vec<String>,
    declared: Vec<String>,
    /// Fields for which null has a meaning.
    nullable: Vec<String>,
    /// Lists, and how many items each may have.
    lists: Vec<(String, usize)>,
}

/// The schema of a type, compiled once.
pub(super) fn of<T: ParseFromJSON + 'static>() -> Arc<Schema> {
    static SCHEMAS: OnceLock<RwLock<HashMap<TypeId, Arc<Schema>>>> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(Default::default);
    if let Some(known) = schemas
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&TypeId::of::<T>())
    {
        return Arc::clone(known);
    }
    let compiled = Arc::new(compile::<T>());
    schemas
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(TypeId::of::<T>(), Arc::clone(&compiled));
    compiled
}

fn compile<T: ParseFromJSON>() -> Schema {
    let mut registry = Registry::new();
    T::register(&mut registry);
    let schemas = serde_json::to_value(&registry.schemas).unwrap_or_default();
    let own = &schemas[T::name().as_ref()];
    let words = |value: &Value| {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let required = words(&own["required"]);
    let declared = own["properties"]
        .as_object()
        .map(|all| all.keys().cloned().collect())
        .unwrap_or_default();
    let properties = own["properties"].as_object().into_iter().flatten();
    let nullable = properties
        .filter(|(_, property)| property["nullable"] == true)
        .map(|(name, _)| name.clone())
        .collect();
    let properties = own["properties"].as_object().into_iter().flatten();
    let lists = properties
        .filter_map(|(name, property)| Some((name.clone(), property["maxItems"].as_u64()?.try_into().ok()?)))
        .collect();
    let document = json!({ "allOf": [serde_json::to_value(T::schema_ref()).unwrap_or_default()], "components": { "schemas": schemas } });
    // A schema that does not compile is a bug that every test would show. In production, the parser decides.
    let validator = jsonschema::draft4::new(&document)
        .or_else(|_| jsonschema::draft4::new(&json!({})))
        .unwrap_or_else(|_| unreachable!("the empty schema compiles"));
    Schema {
        validator,
        required,
        declared,
        nullable,
        lists,
    }
}

impl Schema {
    /// Removes optional fields that are `null`, which means "not set". Returns the names of those for which null has a meaning.
    pub(super) fn take_optional_nulls(&self, value: &mut Value) -> Vec<String> {
        let Value::Object(fields) = value else {
            return Vec::new();
        };
        let mut nulls = Vec::new();
        fields.retain(|name, value| {
            let taken = value.is_null() && !self.required.contains(name);
            if taken && self.nullable.contains(name) {
                nulls.push(name.clone());
            }
            !taken
        });
        nulls
    }

    /// Empties lists that are too long. Returns an error for each.
    pub(super) fn take_long_lists(&self, value: &mut Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (name, max) in &self.lists {
            if let Some(Value::Array(items)) = value.get_mut(name)
                && items.len() > *max
            {
                items.clear();
                let detail = format!("must have at most {max} items");
                errors.push(FieldError::new(format!("/{name}"), "too_many", detail));
            }
        }
        errors
    }

    /// An error for each field that only Cura sets.
    pub(super) fn privileged_fields(&self, value: &Value) -> Vec<FieldError> {
        let Value::Object(fields) = value else {
            return Vec::new();
        };
        PRIVILEGED
            .into_iter()
            .filter(|name| fields.contains_key(*name) && !self.declared.iter().any(|declared| declared == name))
            .map(|name| FieldError::new(format!("/{name}"), "not_allowed", "cannot be set"))
            .collect()
    }
}

/// Whether a string or a field name contains NUL, which Postgres cannot store.
pub(super) fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || contains_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
