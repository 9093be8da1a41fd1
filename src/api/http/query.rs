//! Parameters of the query, checked against the document: poem-openapi names only the first that is invalid.

use form_urlencoded::parse as parse_query;
use poem::http::Uri;
use poem_openapi::error::ParseParamError;
use serde_json::{Value, json};

use crate::http::problem::{FieldError, Problem};

/// A parameter of the query, as the document describes it.
#[derive(Debug)]
pub(crate) struct QueryParameter {
    name: String,
    is_required: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Integer { least: Option<i64>, most: Option<i64> },
    Boolean,
    Choice(Vec<String>),
    Text,
}

impl QueryParameter {
    /// Those of an operation of the document.
    pub(crate) fn all(document: &Value, operation: &Value) -> Vec<Self> {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let of_query = parameters.filter(|parameter| parameter["in"] == "query");
        let read = |parameter: &Value| {
            Some(Self {
                name: parameter["name"].as_str()?.to_owned(),
                is_required: parameter["required"] == true,
                kind: Kind::of(document, &parameter["schema"]),
            })
        };
        of_query.filter_map(read).collect()
    }

    fn fault(&self, given: Option<&str>) -> Option<FieldError> {
        let error = |code, detail: String| Some(FieldError::new(format!("?{}", self.name), code, detail));
        let Some(given) = given else {
            return self
                .is_required
                .then(|| error("required", "is required".to_owned()))
                .flatten();
        };
        match &self.kind {
            Kind::Integer { least, most } => match (given.parse::<i64>(), least, most) {
                (Err(_), ..) => error("invalid_type", "must be of type integer".to_owned()),
                (Ok(number), Some(least), _) if number < *least => {
                    error("too_small", format!("must be at least {least}"))
                }
                (Ok(number), _, Some(most)) if number > *most => error("too_large", format!("must be at most {most}")),
                _ => None,
            },
            Kind::Boolean if given.parse::<bool>().is_err() => {
                error("invalid_type", "must be true or false".to_owned())
            }
            Kind::Choice(words) if !words.iter().any(|word| word == given) => {
                error("invalid_choice", format!("must be one of {}", json!(words)))
            }
            Kind::Boolean | Kind::Choice(_) | Kind::Text => None,
        }
    }
}

impl Kind {
    fn of(document: &Value, schema: &Value) -> Self {
        let referred = schema["$ref"].as_str().and_then(|reference| {
            let pointer = reference.strip_prefix('#')?;
            document.pointer(pointer)
        });
        let schema = referred.unwrap_or(schema);
        // Whole numbers, which the document writes as floats.
        #[expect(clippy::cast_possible_truncation, reason = "limits of our own, far below")]
        let bound = |name: &str| schema[name].as_f64().map(|bound| bound as i64);
        if let Some(words) = schema["enum"].as_array() {
            return Self::Choice(words.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        match schema["type"].as_str() {
            Some("integer") => Self::Integer {
                least: bound("minimum"),
                most: bound("maximum"),
            },
            Some("boolean") => Self::Boolean,
            _ => Self::Text,
        }
    }
}

/// 422 with every parameter that is invalid, among them the one that was found first.
pub(crate) fn invalid_query(parameters: &[QueryParameter], uri: &Uri, found: &ParseParamError) -> Problem {
    let query = uri.query().unwrap_or_default().as_bytes();
    // Of a parameter that is given twice, the first counts, as for the handler.
    let given = |name: &str| parse_query(query).find(|(given, _)| given == name);
    let faults = parameters.iter().filter_map(|parameter| {
        let given = given(&parameter.name);
        parameter.fault(given.as_ref().map(|(_, value)| value.as_ref()))
    });
    let mut errors: Vec<FieldError> = faults.collect();
    errors.push(FieldError::new(
        format!("?{}", found.name),
        "invalid",
        "is missing or invalid",
    ));
    Problem::invalid(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_invalid_parameter_is_found() {
        let document =
            json!({ "components": { "schemas": { "Order": { "type": "string", "enum": ["asc", "desc"] } } } });
        let operation = json!({ "parameters": [
            { "in": "query", "name": "limit", "schema": { "type": "integer", "minimum": 1.0, "maximum": 100.0 } },
            { "in": "query", "name": "days", "schema": { "type": "integer" } },
            { "in": "query", "name": "order", "schema": { "$ref": "#/components/schemas/Order" } },
            { "in": "query", "name": "visible", "schema": { "type": "boolean" } },
            { "in": "query", "name": "v", "required": true, "schema": { "type": "string" } },
            { "in": "header", "name": "Prefer", "schema": { "type": "integer" } },
        ] });
        let parameters = QueryParameter::all(&document, &operation);
        let codes = |query: &str| {
            let given = |name: &str| {
                parse_query(query.as_bytes())
                    .find(|(given, _)| given == name)
                    .map(|(_, value)| value.into_owned())
            };
            let faults = parameters
                .iter()
                .filter_map(|parameter| parameter.fault(given(&parameter.name).as_deref()));
            faults
                .map(|fault| format!("{} {}", fault.pointer, fault.code))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            codes("limit=0&days=x&order=up&visible=perhaps"),
            [
                "?limit too_small",
                "?days invalid_type",
                "?order invalid_choice",
                "?visible invalid_type",
                "?v required"
            ]
        );
        assert_eq!(codes("limit=101&v="), ["?limit too_large"]);
        assert_eq!(codes("limit=9999999999999999999&v=x"), ["?limit invalid_type"]);
        assert_eq!(codes("limit=7&limit=x&days=-1&order=asc&visible=false&v=x"), [""; 0]);
    }
}
