//! One call, as its caller keeps it: what is known of it outlives the answer's stream, because an answer that breaks off or is
//! given up has its cost, too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cura_domain::{ConversationId, MessageId};

/// What a model is asked for. What fails for one asker again and again says little about others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// This answer.
    Answer(MessageId),
    /// A title of this conversation.
    Title(ConversationId),
    /// A summary of what was said up to this message.
    Summary(MessageId),
}

/// A call: made before asking, kept by whoever wants to know what became of it. Clones are the same call.
#[derive(Debug, Clone)]
pub struct Call {
    asker: Asker,
    accepted: Arc<Mutex<Option<Accepted>>>,
}

/// Who accepted the request, and what was stated since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Who: `openai`, `anthropic`, `custom` or `demo`.
    pub provider: &'static str,
    /// The model, in the provider's words as soon as it said them.
    pub model: String,
    /// Tokens of the prompt, once stated.
    pub input_tokens: Option<i64>,
    /// Tokens of the answer until now, as stated last.
    pub output_tokens: Option<i64>,
}

impl Call {
    /// A call that nobody has taken yet.
    pub fn new(asker: Asker) -> Self {
        Self {
            asker,
            accepted: Arc::default(),
        }
    }

    /// On whose behalf.
    pub const fn asker(&self) -> Asker {
        self.asker
    }

    /// What is known of whoever accepted the request last; `None` while nobody has, because then it costs nothing.
    pub fn accepted(&self) -> Option<Accepted> {
        self.lock().clone()
    }

    pub(crate) fn accept(&self, provider: &'static str, model: &str) {
        *self.lock() = Some(Accepted {
            provider,
            model: model.to_owned(),
            input_tokens: None,
            output_tokens: None,
        });
    }

    /// Notes what was stated, as far as it was.
    pub(crate) fn state(&self, model: Option<&str>, input_tokens: Option<i64>, output_tokens: Option<i64>) {
        if let Some(accepted) = self.lock().as_mut() {
            if let Some(model) = model.filter(|model| *model != accepted.model) {
                accepted.model = model.to_owned();
            }
            accepted.input_tokens = input_tokens.or(accepted.input_tokens);
            accepted.output_tokens = output_tokens.or(accepted.output_tokens);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
