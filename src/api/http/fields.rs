//! Collects everything that is wrong with a request, so that the client learns it at once.

use crate::http::problem::{FieldError, Problem};

/// The invalid fields of one request.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<FieldError>);

impl Fields {
    /// The checked value. If it is invalid, records an error at `pointer` and returns `None`.
    pub(crate) fn check<T, E: std::fmt::Display>(
        &mut self,
        pointer: &str,
        code: &str,
        checked: Result<T, E>,
    ) -> Option<T> {
        checked
            .map_err(|error| self.0.push(FieldError::new(pointer, code, error.to_string())))
            .ok()
    }

    /// Records that the field at `pointer` is invalid.
    pub(crate) fn refuse(&mut self, pointer: &str, code: &str, detail: &str) {
        self.0.push(FieldError::new(pointer, code, detail));
    }

    /// `value` if every field was valid.
    ///
    /// # Errors
    /// 422 with every invalid field.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Problem::invalid(self.0)),
        }
    }
}
