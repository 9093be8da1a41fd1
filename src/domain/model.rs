//! Which model of which provider answers.

use crate::model_name;

/// A model at a provider: the backend that answers, or answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelRef {
    /// The provider, by the name that `AI_MODEL_PROVIDER` gives it (`openai`, `anthropic`, `custom`, `demo`).
    pub provider: String,
    /// The model, by the name that the provider gives it; never a file's path.
    pub model: String,
}

impl ModelRef {
    /// The model `model` at `provider`. A path in place of its name is reduced to a name ([`model_name`]).
    pub fn new(provider: impl Into<String>, model: impl AsRef<str>) -> Self {
        Self {
            provider: provider.into(),
            model: model_name(model.as_ref()).into_owned(),
        }
    }
}
