//! The compiled JSON schema of a request type.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use jsonschema::Validator;
use poem_openapi::registry::Registry;
use poem_openapi::types::ParseFromJSON;
use serde_json::{Value, json};

use super::checked::{self, Check};
use super::preferences;
use crate::http::problem::{FieldError, MAX_ERRORS};

/// Fields that only Cura sets. A body that contains one is refused, so that the client does not believe it was set.
pub(crate) const PRIVILEGED: [&str; 12] = [
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
    /// Fields that are objects, and what each of those needs.
    objects: Vec<(String, Vec<String>)>,
    /// Lists, and how many items each may have.
    lists: Vec<(String, usize)>,
    /// Fields whose text obeys a rule of the domain.
    rules: Vec<(String, Check)>,
    has_preferences: bool,
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
    let objects = properties
        .filter(|(_, property)| !preferences::is_preferences(property))
        .filter_map(|(name, property)| Some((name.clone(), words(&referenced(&schemas, property)?["required"]))))
        .collect();
    let properties = own["properties"].as_object().into_iter().flatten();
    let rules = properties
        .filter_map(|(name, property)| Some((name.clone(), checked::rule_of(property["format"].as_str()?)?)))
        .collect();
    let properties = own["properties"].as_object().into_iter().flatten();
    let lists = properties
        .filter_map(|(name, property)| Some((name.clone(), property["maxItems"].as_u64()?.try_into().ok()?)))
        .collect();
    let mut schemas = schemas.clone();
    let has_preferences = leave_preferences_to_their_rule(&mut schemas[T::name().as_ref()]);
    let document = json!({ "allOf": [serde_json::to_value(T::schema_ref()).unwrap_or_default()], "components": { "schemas": schemas } });
    // A schema that does not compile is a bug that every test would show. In production, the parser decides. Formats are our own rules.
    let compile = |document: &Value| {
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft4);
        options.should_validate_formats(false).build(document)
    };
    let validator = compile(&document)
        .or_else(|_| compile(&json!({})))
        .unwrap_or_else(|_| unreachable!("the empty schema compiles"));
    Schema {
        validator,
        required,
        declared,
        nullable,
        objects,
        lists,
        rules,
        has_preferences,
    }
}

/// The schema that a property refers to, if it is one of `schemas`.
fn referenced<'a>(schemas: &'a Value, property: &Value) -> Option<&'a Value> {
    let described = &property["allOf"][0]["$ref"];
    let reference = property["$ref"].as_str().or_else(|| described.as_str())?;
    schemas.get(reference.rsplit('/').next()?)
}

/// Preferences have a rule of their own, because null has a meaning in them. Returns whether there are any.
fn leave_preferences_to_their_rule(own: &mut Value) -> bool {
    let properties = own["properties"].as_object_mut().into_iter().flatten();
    let mut found = false;
    for (_, property) in properties.filter(|(_, property)| preferences::is_preferences(property)) {
        *property = json!({});
        found = true;
    }
    found
}

impl Schema {
    /// Removes optional fields that are `null`, which means "not set", here and in the objects that are fields. Returns the names
    /// of those for which null has a meaning.
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
        for (name, required) in &self.objects {
            if let Some(Value::Object(inner)) = fields.get_mut(name) {
                inner.retain(|name, value| !value.is_null() || required.contains(name));
            }
        }
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

    /// An error for each field that breaks a rule of the domain.
    pub(super) fn rule_faults(&self, value: &Value) -> Vec<FieldError> {
        let faults = self.rules.iter().filter_map(|(name, rule)| {
            let (code, detail) = rule(value.get(name)?.as_str()?, value)?;
            Some(FieldError::new(format!("/{name}"), code, detail))
        });
        let mut errors: Vec<FieldError> = faults.collect();
        if let Some(patch) = value.get("preferences").filter(|_| self.has_preferences) {
            errors.extend(preferences::faults(patch));
        }
        errors
    }

    /// An error for each field that has the name of a parameter of the path, and names something else.
    pub(super) fn mismatches(&self, value: &Value, parameter: impl Fn(&str) -> Option<i64>) -> Vec<FieldError> {
        let named = self.declared.iter().filter(|name| {
            let here = value.get(name.as_str()).and_then(Value::as_i64);
            matches!((here, parameter(name)), (Some(here), Some(there)) if here != there)
        });
        let error = |name| FieldError::new(format!("/{name}"), "mismatch", "names another one than the path");
        named.map(error).collect()
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

/// An error for each string that contains NUL, which Postgres cannot store, and for each object that has it in the name of a field.
pub(super) fn nul_faults(value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    find_nul(value, &mut String::new(), &mut errors);
    errors
}

fn find_nul(value: &Value, pointer: &mut String, errors: &mut Vec<FieldError>) {
    if errors.len() >= MAX_ERRORS {
        return;
    }
    let error = |pointer: &str| FieldError::new(pointer, "invalid_character", "must not contain the NUL character");
    let length = pointer.len();
    match value {
        Value::String(text) if text.contains('\0') => errors.push(error(pointer)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                find_nul(item, pointer, errors);
                pointer.truncate(length);
            }
        }
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains('\0')) {
                errors.push(error(pointer));
            }
            for (name, field) in fields {
                // RFC 6901, section 3.
                pointer.push_str(&format!("/{}", name.replace('~', "~0").replace('/', "~1")));
                find_nul(field, pointer, errors);
                pointer.truncate(length);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_found_where_it_is() {
        let value = json!({ "a": ["x", "y\0"], "b/c": { "~": "\0" }, "d": { "\0": 1 }, "e": "fine" });
        let found: Vec<String> = nul_faults(&value).into_iter().map(|error| error.pointer).collect();
        assert_eq!(found, ["/a/1", "/b~1c/~0", "/d"]);
        assert_eq!(nul_faults(&json!({ "many": vec!["\0"; 1000] })).len(), MAX_ERRORS);
    }
}
