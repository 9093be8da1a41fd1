//! One prompt on its way to a backend: its form now, and the next one after a refusal.

use std::borrow::Cow;
use std::sync::Arc;

use cura_domain::file::UsedFile;
use cura_domain::prompt::{Takes, used_files};
use cura_domain::{UserId, token_estimate};
use futures_util::StreamExt;

use super::learned::{Accepted, Learned};
use super::limits::{MIN_OUTPUT_TOKENS, MIN_PROMPT_TOKENS};
use super::parameters::{Parameter, RequestPart};
use super::{MAX_REFORMS, RequestForm};
use crate::ai::completion::CompletionStream;
use crate::ai::continuation::ContinuationMode;
use crate::ai::error::{AiError, Failure};
use crate::ai::prompt::Prompt;

/// How often a prompt is halved before only [`MIN_PROMPT_TOKENS`] of it are sent.
const MAX_HALVINGS: usize = 3;

/// A prompt, and the form in which it is sent next.
pub(crate) struct Asking<'a> {
    learned: &'a Arc<Learned>,
    person: Option<UserId>,
    pub(crate) prompt: Cow<'a, Prompt>,
    pub(crate) form: RequestForm,
    /// The name that the longest answer is sent with, unless it is off; `None` when the protocol requires it.
    output_limit: Option<Parameter>,
    tokens: usize,
    /// The length of the last prompt that was refused for it.
    refused: Option<usize>,
    /// Whether it was refused in a way that holds for everybody's prompts.
    for_everybody: bool,
    halvings: usize,
    reforms: usize,
    /// What was taken out because it was refused.
    taken_out: RequestForm,
    /// Whether a prefilled answer was taken out though no refusal named it.
    prefill_is_suspected: bool,
    /// Whether there is something beside the text, which a refusal may be about: then it says nothing of how long texts may be.
    has_files: bool,
    /// Whether it is remembered that files are refused.
    remembers_files: bool,
}

impl<'a> Asking<'a> {
    /// `prompt` in the form that the backend is known to accept. `form` is what it would be sent with.
    pub(crate) fn new(
        learned: &'a Arc<Learned>,
        person: Option<UserId>,
        prompt: &'a Prompt,
        form: RequestForm,
        output_limit: Option<Parameter>,
        remembers_files: bool,
    ) -> Self {
        let continuation = match form.continuation {
            Some(ContinuationMode::Prefill) if learned.no_prefill() => Some(ContinuationMode::Prompt),
            continuation => continuation,
        };
        let longest = learned.max_output_tokens();
        let mut asking = Self {
            learned,
            person,
            tokens: prompt.estimated_tokens(form.takes()),
            prompt: Cow::Borrowed(prompt),
            form: RequestForm {
                off: form.off.and(learned.off()),
                max_output_tokens: form
                    .max_output_tokens
                    .map(|tokens| longest.map_or(tokens, |longest| tokens.min(longest))),
                continuation,
                system_as_user: form.system_as_user || (output_limit.is_some() && learned.no_system_role()),
                ..form
            },
            output_limit,
            refused: None,
            for_everybody: false,
            halvings: 0,
            reforms: 0,
            taken_out: RequestForm::default(),
            prefill_is_suspected: false,
            has_files: {
                let (holds, takes) = (prompt.holds(), form.takes());
                (holds.pictures && takes.pictures) || (holds.pdfs && takes.pdfs)
            },
            remembers_files,
        };
        if let Some(limit) = learned.max_prompt_tokens(person).filter(|limit| asking.tokens > *limit) {
            asking.cut_to(limit);
        }
        asking
    }

    /// Takes out what the provider refused. False when nothing is left to take out: then the refusal is final.
    ///
    /// A refusal that was paid for, because the provider had accepted the request, leaves one further request: of a prompt that
    /// is too long, a quarter is sent.
    pub(crate) fn reform(&mut self, error: &AiError, is_paid: bool) -> bool {
        self.reforms += 1;
        if self.reforms > MAX_REFORMS {
            return false;
        }
        let (before, halvings) = (self.tokens, self.halvings);
        let is_reformed = self.reform_once(error);
        if is_paid && self.halvings > halvings {
            // The first half may not be enough, and nothing more is paid for.
            self.reform_once(error);
            self.refused = Some(before);
        }
        is_reformed
    }

    fn reform_once(&mut self, error: &AiError) -> bool {
        match *error.failure() {
            Failure::ContextTooLong { for_everybody } => {
                self.for_everybody |= for_everybody;
                self.leave_out_older_files() || self.shorten(true)
            }
            // A body that is too large without files is shortened.
            Failure::RefusedPart { part, status } => self.take_out(part) || self.without_reason(status),
            Failure::Refused { status } => self.without_reason(status),
            _ => false,
        }
    }

    /// After a refusal that names nothing: newer models refuse a prefilled answer, and the prompt may be too long.
    fn without_reason(&mut self, status: Option<u16>) -> bool {
        if !may_concern_length(status) {
            return false;
        }
        if self.take_out(RequestPart::Prefill) {
            self.prefill_is_suspected = true;
            return true;
        }
        // Nobody else's are left out for it.
        if self.leave_out_pdfs() || self.leave_out_pictures() {
            return true;
        }
        if self.prefill_is_suspected {
            // It is refused without a prefilled answer, too.
            self.taken_out.continuation = None;
        }
        self.shorten(false)
    }

    /// Remembers a refusal that was paid for and is final: the person's next prompt is shorter.
    pub(crate) fn remember_refusal(&self, error: &AiError) {
        if may_be_too_long(error) && self.tokens > MIN_PROMPT_TOKENS && !self.has_files {
            self.learned.too_long(self.person, self.tokens);
        }
    }

    /// The failure to report of a refusal that no other form cures. Without a known reason, a message that is long by itself is
    /// taken for too long.
    pub(crate) fn final_refusal(&self, error: AiError) -> AiError {
        let last = self.prompt.messages.last();
        let is_long =
            last.is_some_and(|last| token_estimate::estimate(last.text(self.form.takes()).len()) > MIN_PROMPT_TOKENS);
        let failure = match *error.failure() {
            Failure::Refused { status } if is_long && may_concern_length(status) => {
                Failure::ContextTooLong { for_everybody: false }
            }
            Failure::RefusedPart { status, .. } => Failure::Refused { status },
            _ => return error,
        };
        AiError::new(failure, error.before_first_byte())
    }

    fn take_out(&mut self, part: RequestPart) -> bool {
        match part {
            RequestPart::StreamOptions => self.turn_off(Parameter::StreamOptions),
            RequestPart::OutputLimit => {
                let sent = self
                    .output_limit
                    .and_then(|preferred| self.form.off.output_limit(preferred));
                let sent = sent.filter(|_| self.form.max_output_tokens.is_some());
                sent.is_some_and(|sent| self.turn_off(sent))
            }
            RequestPart::LargeOutputLimit => self.halve_output_limit() || self.take_out(RequestPart::OutputLimit),
            RequestPart::Prefill if self.form.continuation == Some(ContinuationMode::Prefill) => {
                self.form.continuation = Some(ContinuationMode::Prompt);
                self.taken_out.continuation = Some(ContinuationMode::Prefill);
                true
            }
            // Anthropic's protocol, which has no name for the longest answer to choose, sends the system's messages apart.
            RequestPart::SystemRole if self.output_limit.is_some() && !self.form.system_as_user => {
                self.form.system_as_user = true;
                self.taken_out.system_as_user = true;
                true
            }
            RequestPart::Prefill | RequestPart::SystemRole => false,
            RequestPart::Pictures => {
                let is_left_out = self.leave_out_pictures();
                self.taken_out.no_pictures |= is_left_out;
                is_left_out
            }
            RequestPart::ThesePictures => self.leave_out_older_files() || self.leave_out_pictures(),
            RequestPart::ThesePdfs => self.leave_out_older_files() || self.leave_out_pdfs(),
            RequestPart::Pdfs => {
                let is_left_out = self.leave_out_pdfs();
                self.taken_out.no_pdfs |= is_left_out;
                is_left_out
            }
        }
    }

    /// Keeps only what goes beside the text of the question.
    fn leave_out_older_files(&mut self) -> bool {
        let Some(fewer) = self.prompt.with_files_of_last(self.form.takes()) else {
            return false;
        };
        self.prompt = Cow::Owned(fewer);
        true
    }

    fn leave_out_pictures(&mut self) -> bool {
        let has_some = !self.form.no_pictures && self.prompt.holds().pictures;
        if has_some {
            self.form.no_pictures = true;
            self.tokens = self.prompt.estimated_tokens(self.form.takes());
        }
        has_some
    }

    fn leave_out_pdfs(&mut self) -> bool {
        let has_some = !self.form.no_pdfs && self.prompt.holds().pdfs;
        if has_some {
            self.form.no_pdfs = true;
            self.tokens = self.prompt.estimated_tokens(self.form.takes());
        }
        has_some
    }

    /// What the model has of the files, as the prompt is sent, and the tokens of what goes beside the text of `whole` and was left out.
    pub(crate) fn used_files(&self, whole: &Prompt) -> (Vec<UsedFile>, usize) {
        let takes = self.form.takes();
        let given = self
            .prompt
            .tokens_left_out(Takes::TEXT)
            .saturating_sub(self.prompt.tokens_left_out(takes));
        let left_out = whole.tokens_left_out(Takes::TEXT).saturating_sub(given);
        (used_files(&self.prompt.messages, takes), left_out)
    }

    fn turn_off(&mut self, parameter: Parameter) -> bool {
        if self.output_limit.is_none() || self.form.off.contains(parameter) {
            return false;
        }
        self.form.off = self.form.off.with(parameter);
        self.taken_out.off = self.taken_out.off.with(parameter);
        true
    }

    fn halve_output_limit(&mut self) -> bool {
        let Some(tokens) = self.form.max_output_tokens.filter(|tokens| *tokens > MIN_OUTPUT_TOKENS) else {
            return false;
        };
        let half = (tokens / 2).max(MIN_OUTPUT_TOKENS);
        self.form.max_output_tokens = Some(half);
        self.taken_out.max_output_tokens = Some(half);
        true
    }

    /// Shortens the prompt, or the longest answer, which counts to the context on many servers, if that is longer.
    ///
    /// A prompt that was refused without a reason is not shortened below [`MIN_PROMPT_TOKENS`].
    fn shorten(&mut self, is_too_long: bool) -> bool {
        let output = self
            .form
            .max_output_tokens
            .and_then(|tokens| usize::try_from(tokens).ok());
        if is_too_long && output.is_some_and(|output| output > self.tokens) && self.halve_output_limit() {
            return true;
        }
        let target = if self.tokens <= MIN_PROMPT_TOKENS {
            0
        } else if self.halvings < MAX_HALVINGS {
            (self.tokens / 2).max(MIN_PROMPT_TOKENS)
        } else {
            MIN_PROMPT_TOKENS
        };
        let refused = self.tokens;
        if (target > 0 || is_too_long) && self.cut_to(target) {
            self.halvings += 1;
            self.refused = Some(refused);
            return true;
        }
        is_too_long && self.halve_output_limit()
    }

    fn cut_to(&mut self, tokens: usize) -> bool {
        let takes = self.form.takes();
        let Some(shorter) = self.prompt.cut_to(tokens, takes) else {
            return false;
        };
        self.tokens = shorter.estimated_tokens(takes);
        self.prompt = Cow::Owned(shorter);
        true
    }

    /// The events of the accepted request. Their first shows whether it was accepted in truth, and what is to be remembered.
    pub(crate) fn remembering(&self, events: CompletionStream, backend: &'static str) -> CompletionStream {
        let has_taken_out = self.reforms > 0;
        if !has_taken_out && self.tokens <= MIN_PROMPT_TOKENS {
            return events;
        }
        let accepted = Accepted {
            person: self.person,
            tokens: self.tokens,
            refused: self.refused.filter(|_| !self.has_files),
            for_everybody: self.for_everybody,
            off: self.taken_out.off,
            no_prefill: self.taken_out.continuation.is_some(),
            no_system_role: self.taken_out.system_as_user,
            max_output_tokens: self.taken_out.max_output_tokens,
            no_pictures: self.taken_out.no_pictures && self.remembers_files,
            no_pdfs: self.taken_out.no_pdfs && self.remembers_files,
        };
        let mut pending = Some((Arc::clone(self.learned), accepted));
        CompletionStream::new(events.inspect(move |event| {
            if let Some((learned, accepted)) = pending.take()
                && event.is_ok()
            {
                learned.accepted(&accepted, backend);
            }
        }))
    }
}

/// Whether a refusal with this status, which says nothing else, may be for the length of the prompt.
const fn may_concern_length(status: Option<u16>) -> bool {
    matches!(status, Some(400 | 413 | 422))
}

fn may_be_too_long(error: &AiError) -> bool {
    match *error.failure() {
        Failure::ContextTooLong { .. } => true,
        Failure::Refused { status } => may_concern_length(status),
        _ => false,
    }
}
