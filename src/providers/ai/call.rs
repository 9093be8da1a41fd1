//! A call to the providers, as its caller keeps it. What it reports outlives the completion's stream, because an answer that
//! is interrupted or cancelled has a cost, too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cura_domain::file::UsedFile;
use cura_domain::paid_calls::CallsWithoutText;
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

/// What was paid for one answer without bringing it further, over all of its calls. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PaidCalls {
    calls: Arc<Mutex<CallsWithoutText>>,
    /// How each backend failed last, as far as this process has seen it.
    failures: Arc<Mutex<Vec<BackendFailure>>>,
}

/// How a backend failed last.
#[derive(Debug, Clone)]
struct BackendFailure {
    /// Its number.
    backend: usize,
    model: ModelRef,
    error: AiError,
}

impl PaidCalls {
    /// Goes on from what earlier attempts have stored.
    pub fn new(stored: CallsWithoutText) -> Self {
        Self {
            calls: Arc::new(Mutex::new(stored)),
            failures: Arc::default(),
        }
    }

    /// Every backend may be asked once: they may have been paid for nothing before.
    pub fn one_left_each() -> Self {
        Self::new(CallsWithoutText::one_left_each())
    }

    /// To be stored for the next attempt.
    pub fn to_store(&self) -> CallsWithoutText {
        self.lock().clone()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, CallsWithoutText> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a backend failed.
    pub(crate) fn remember(&self, backend: usize, model: &ModelRef, error: &AiError) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|failure| failure.backend != backend);
        failures.push(BackendFailure {
            backend,
            model: model.clone(),
            error: error.clone(),
        });
    }

    /// How each backend that has failed did last, as far as this process has seen it, in the order in which they failed.
    pub fn failures(&self) -> Vec<(ModelRef, AiError)> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let of_model = |failure: &BackendFailure| (failure.model.clone(), failure.error.clone());
        failures.iter().map(of_model).collect()
    }

    /// How a backend failed last.
    pub(crate) fn last_failure(&self, backend: usize) -> Option<AiError> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let of_backend = failures.iter().find(|failure| failure.backend == backend);
        of_backend.map(|failure| failure.error.clone())
    }
}

/// A call: created before the request, kept by the caller to learn what it cost. Clones are the same call.
#[derive(Debug, Clone)]
pub struct Call {
    key: RequestKey,
    person: Option<UserId>,
    /// `None` for a call without a person's words.
    permission: Option<Permission>,
    paid: PaidCalls,
    state: Arc<Mutex<CallState>>,
}

/// The requests of a call.
#[derive(Debug, Default)]
struct CallState {
    /// The backend that is asked.
    asked: Option<ModelRef>,
    /// Its number.
    backend: usize,
    /// Of the requests that were accepted, the last one at the end.
    reports: Vec<ProviderReport>,
    /// How many requests that were or may have been accepted are to be counted.
    uncounted: i16,
    /// Whether the last answer ended with a word that says that it is whole, and held neither thoughts nor tool calls.
    is_whole: bool,
    /// Whether the provider marked text of the last answer as a refusal.
    is_declined: bool,
    /// What the model that answers was given of the files.
    files: Vec<UsedFile>,
    /// The tokens of what goes beside the text of the prompt and was left out.
    tokens_left_out: usize,
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
            paid: PaidCalls::default(),
            state: Arc::default(),
        }
    }

    /// A call on behalf of `person`, for whom its failures count.
    pub fn for_person(key: RequestKey, person: UserId, permission: Permission) -> Self {
        Self {
            person: Some(person),
            ..Self::new(key, permission)
        }
    }

    /// Counts what it pays for nothing together with the other calls for the same thing.
    #[must_use]
    pub fn counted_with(self, paid: &PaidCalls) -> Self {
        Self {
            paid: paid.clone(),
            ..self
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
        self.lock().reports.last().cloned()
    }

    /// The reports of all requests that were accepted, the last one at the end: each has a cost.
    pub fn reports(&self) -> Vec<ProviderReport> {
        self.lock().reports.clone()
    }

    /// What the model that answers was given of the files of the prompt; empty where it had none.
    pub fn files(&self) -> Vec<UsedFile> {
        self.lock().files.clone()
    }

    /// The tokens of what goes beside the text of the prompt and was not given to the model that answers.
    pub fn tokens_left_out(&self) -> usize {
        self.lock().tokens_left_out
    }

    /// Notes what the model that answers was given of the files.
    pub(crate) fn gave(&self, files: Vec<UsedFile>, tokens_left_out: usize) {
        let mut state = self.lock();
        (state.files, state.tokens_left_out) = (files, tokens_left_out);
    }

    pub(crate) const fn paid(&self) -> &PaidCalls {
        &self.paid
    }

    /// From here on requests go to the backend `model`, which has this number.
    pub(crate) fn asks(&self, model: &ModelRef, backend: usize) {
        let mut state = self.lock();
        state.asked = Some(model.clone());
        state.backend = backend;
        state.uncounted = 0;
    }

    /// Starts a new report: the backend has accepted a request, which costs something from now on.
    pub(crate) fn accepted(&self) {
        let mut state = self.lock();
        let Some(model) = state.asked.clone() else {
            return;
        };
        state.uncounted = state.uncounted.saturating_add(1);
        (state.is_whole, state.is_declined) = (false, false);
        state.reports.push(ProviderReport {
            model,
            input_tokens: None,
            output_tokens: None,
            thought_bytes: 0,
        });
    }

    /// The backend has the whole request and may work on it, though its answer was not waited for or is none: it is counted as
    /// accepted, but its cost is not known.
    pub(crate) fn may_be_paid(&self) {
        let mut state = self.lock();
        state.uncounted = state.uncounted.saturating_add(1);
    }

    /// The answer has ended as one does of which nothing is missing.
    pub(crate) fn is_whole(&self) {
        self.lock().is_whole = true;
    }

    /// The model declines to answer.
    pub(crate) fn is_declined(&self) {
        self.lock().is_declined = true;
    }

    /// Whether the model declined to answer: then the text says so, for people to read.
    pub fn was_declined(&self) -> bool {
        self.lock().is_declined
    }

    /// Whether an answer that adds nothing to the text before leaves nothing missing either.
    pub(crate) fn adds_nothing_rightly(&self) -> bool {
        let state = self.lock();
        state.is_whole && state.reports.last().is_none_or(|report| report.thought_bytes == 0)
    }

    /// How many requests the backend has accepted since it is asked, and since this was asked last.
    pub(crate) fn take_accepted(&self) -> i16 {
        std::mem::take(&mut self.lock().uncounted)
    }

    /// Whether the backend that is asked may be paid once more, if what it has accepted until now brings nothing.
    pub(crate) fn may_pay_again(&self) -> bool {
        let state = self.lock();
        let (backend, uncounted) = (state.backend, state.uncounted);
        drop(state);
        let mut paid = self.paid.to_store();
        paid.ended_without_text(backend, uncounted);
        paid.may_ask(backend)
    }

    /// Adds to the report; `None` leaves a value as it is.
    pub(crate) fn update(&self, model: Option<&str>, input_tokens: Option<i64>, output_tokens: Option<i64>) {
        if let Some(report) = self.lock().reports.last_mut() {
            if let Some(model) = model.filter(|model| *model != report.model.model) {
                model.clone_into(&mut report.model.model);
            }
            report.input_tokens = input_tokens.or(report.input_tokens);
            report.output_tokens = output_tokens.or(report.output_tokens);
        }
    }

    /// Notes how many bytes of thoughts were taken out of the text until now.
    pub(crate) fn note_thoughts(&self, bytes: usize) {
        if let Some(report) = self.lock().reports.last_mut() {
            report.thought_bytes = bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, CallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
