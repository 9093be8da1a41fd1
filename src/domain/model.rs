//! Which model of which provider answers.

/// A model at a provider: the backend that answers, or answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelRef {
    /// The provider, by the name that `AI_MODEL_PROVIDER` gives it (`openai`, `anthropic`, `custom`, `demo`).
    pub provider: String,
    /// The model, by the name that the provider gives it.
    pub model: String,
}

impl ModelRef {
    /// The model `model` at `provider`.
    pub fn new(provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            model: model.into(),
        }
    }
}
