//! What a validation error means to a client.

use jsonschema::error::{TypeKind, ValidationErrorKind};

use crate::http::problem::FieldError;

/// The invalid fields that `error` is about.
pub(super) fn field_errors(error: &jsonschema::ValidationError<'_>) -> Vec<FieldError> {
    let at = error.instance_path().to_string();
    let (code, detail) = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            return vec![FieldError::new(format!("{at}/{name}"), "required", "is required")];
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let inner: Vec<FieldError> = context.iter().flatten().flat_map(field_errors).collect();
            if !inner.is_empty() {
                return inner;
            }
            ("invalid", "is not valid".to_owned())
        }
        ValidationErrorKind::Type { kind } => (
            "invalid_type",
            match kind {
                TypeKind::Single(wanted) => format!("must be of type {wanted}"),
                TypeKind::Multiple(_) => "is of the wrong type".to_owned(),
            },
        ),
        ValidationErrorKind::MaxLength { limit } => ("too_long", format!("must have at most {limit} characters")),
        ValidationErrorKind::MinLength { limit } => ("too_short", format!("must have at least {limit} characters")),
        ValidationErrorKind::MaxItems { limit } => ("too_many", format!("must have at most {limit} items")),
        ValidationErrorKind::MinItems { limit } => ("too_few", format!("must have at least {limit} items")),
        ValidationErrorKind::Maximum { limit } => ("too_large", format!("must be at most {limit}")),
        ValidationErrorKind::Minimum { limit } => ("too_small", format!("must be at least {limit}")),
        ValidationErrorKind::Enum { options } => ("invalid_choice", format!("must be one of {options}")),
        ValidationErrorKind::Format { .. } | ValidationErrorKind::Pattern { .. } => {
            ("invalid_format", "does not have the right format".to_owned())
        }
        _ => ("invalid", "is not valid".to_owned()),
    };
    vec![FieldError::new(at, code, detail)]
}
