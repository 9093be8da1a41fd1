//! A call to the providers, as its caller keeps it. What it reports outlives the completion's stream, because an answer that
//! is interrupted or cancelled has a cost, too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cura_domain::{ConversationId, MessageId, ModelRef, UserId};

use super::error::AiError;
use super::permission::Permission;

/// What a request is for. Requests with the same key are retries of each other: circuit breakers count them once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKey {
    /// This answer.
    Answer(MessageId),
    /// A title of this conversation.
    Title(ConversationId),
    /// A summary of the conversation up to this message.
    Summary(MessageId),
    /// Whether the provider works.
    Trial,
}

/// A call: created before the request, kept by the caller to learn what it cost. Clones are the same call.
#[derive(Debug, Clone)]
pub struct Call {
    key: RequestKey,
    person: Option<UserId>,
    /// `None` for a call without a person's words.
    permission: Option<Permission>,
    report: Arc<Mutex<Option<ProviderReport>>>,
}

/// What the provider that accepted the request has reported until now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderReport {
    /// The backend; its model by the name that the provider reports, as soon as it does.
    pub model: ModelRef,
    /// Tokens of the prompt, once reported.
    pub input_tokens: Option<i64>,
    /// Tokens of the answer until now, as reported last.
    pub output_tokens: Option<i64>,
    /// UTF-8 bytes of thoughts that were taken out of the text until now.
    pub thought_bytes: usize,
}

impl Call {
    /// A call with a person's words that no provider has accepted yet, and the permission to send them. Its failures count
    /// for nobody.
    pub fn new(key: RequestKey, permission: Permission) -> Self {
        Self {
            permission: Some(permission),
            ..Self::without_words(key)
        }
    }

    /// A call of our own that holds no person's words.
    pub(crate) fn without_words(key: RequestKey) -> Self {
        Self {
            key,
            person: None,
            permission: None,
            report: Arc::default(),
        }
    }

    /// A call on behalf of `person`, for whom its failures count.
    pub fn for_person(key: RequestKey, person: UserId, permission: Permission) -> Self {
        Self {
            person: Some(person),
            ..Self::new(key, permission)
        }
    }

    /// On whose behalf the request is sent.
    pub const fn person(&self) -> Option<UserId> {
        self.person
    }

    /// What the request is for.
    pub const fn key(&self) -> RequestKey {
        self.key
    }

    /// Asks whether the words may be sent now.
    ///
    /// # Errors
    /// As [`Permission::ask`].
    pub(crate) async fn ask_permission(&self) -> Result<(), AiError> {
        match &self.permission {
            Some(permission) => permission.ask().await,
            None => Ok(()),
        }
    }

    /// The report of the provider that accepted the request last; `None` if none has, because then it costs nothing.
    pub fn report(&self) -> Option<ProviderReport> {
        self.lock().clone()
    }

    /// Starts a new report: the backend `model` has accepted the request.
    pub(crate) fn accept(&self, model: &ModelRef) {
        *self.lock() = Some(ProviderReport {
            model: model.clone(),
            input_tokens: None,
            output_tokens: None,
            thought_bytes: 0,
        });
    }

    /// Adds to the report; `None` leaves a value as it is.
    pub(crate) fn update(&self, model: Option<&str>, input_tokens: Option<i64>, output_tokens: Option<i64>) {
        if let Some(report) = self.lock().as_mut() {
            if let Some(model) = model.filter(|model| *model != report.model.model) {
                model.clone_into(&mut report.model.model);
            }
            report.input_tokens = input_tokens.or(report.input_tokens);
            report.output_tokens = output_tokens.or(report.output_tokens);
        }
    }

    /// Notes how many bytes of thoughts were taken out of the text until now.
    pub(crate) fn note_thoughts(&self, bytes: usize) {
        if let Some(report) = self.lock().as_mut() {
            report.thought_bytes = bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<ProviderReport>> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
