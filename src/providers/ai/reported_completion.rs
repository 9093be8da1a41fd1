//! A completion that reports its end: to the circuit breaker whether the provider works, to the call whether it was paid for
//! nothing.

use cura_domain::text::is_blank;
use futures_util::stream::{self, StreamExt};

use super::call::Call;
use super::candidate::Candidate;
use super::circuit_breaker::Permit;
use super::completion::{CompletionEvent, CompletionStream};
use super::error::{AiError, Failure};
use super::prompt::Prompt;

/// How far one request has brought the answer.
pub(super) struct Progress {
    call: Call,
    /// The number of the backend, and how many there are.
    backend: usize,
    backends: usize,
    /// Whether the answer had no text before.
    is_new: bool,
    /// The bytes of the text before, and those that were added.
    written: usize,
    added: usize,
    /// As `added`, up to the last text that is more than white space.
    visible: usize,
}

impl Progress {
    pub(super) fn new(call: Call, prompt: &Prompt, backend: usize, backends: usize) -> Self {
        let written = prompt.written.trim_end().len();
        call.paid().lock().text_grew_to(bytes(written));
        Self {
            call,
            backend,
            backends,
            is_new: is_blank(&prompt.written),
            written,
            added: 0,
            visible: 0,
        }
    }

    fn add(&mut self, text: &str) {
        self.added += text.len();
        // Most pieces are short; of a long one, its beginning shows that it is more than white space.
        if !is_blank(text) {
            self.visible = self.added;
        }
    }

    /// Counts the request, once it has ended by what the provider did. Returns whether it may have been paid for.
    pub(super) fn ended(&mut self) -> bool {
        let accepted = self.call.take_accepted();
        let mut paid = self.call.paid().lock();
        let reached = bytes(self.written + self.visible);
        if reached > paid.after_bytes() {
            paid.text_grew_to(reached);
        } else if accepted > 0 {
            paid.ended_without_text(self.backend, accepted);
        }
        accepted > 0
    }

    /// `error`, as it is for an answer that may ask no backend again.
    fn failed(&mut self, error: AiError) -> AiError {
        self.ended();
        if self.call.paid().lock().may_ask_any(self.backends) {
            error
        } else {
            error.finally()
        }
    }

    /// What the end of the completion is: an answer that is still empty is none, nor is one that brings a text no further unless
    /// nothing is missing of that.
    fn end(&mut self, event: Result<CompletionEvent, AiError>) -> Result<CompletionEvent, AiError> {
        match event {
            Ok(CompletionEvent::Text(text)) => {
                self.add(&text);
                Ok(CompletionEvent::Text(text))
            }
            Ok(CompletionEvent::TakenBack) => {
                (self.added, self.visible) = (0, 0);
                Ok(CompletionEvent::TakenBack)
            }
            Ok(CompletionEvent::Finished { .. })
                if self.visible == 0 && (self.is_new || !self.call.adds_nothing_rightly()) =>
            {
                Err(self.failed(AiError::new(Failure::EmptyAnswer, false)))
            }
            Ok(end) => Ok(end),
            Err(error) => Err(self.failed(error)),
        }
    }
}

fn bytes(bytes: usize) -> u64 {
    bytes as u64
}

struct Reported {
    candidate: Candidate,
    first: Option<CompletionEvent>,
    rest: CompletionStream,
    permit: Option<Permit>,
    progress: Progress,
}

/// `first`, then `rest`.
pub(super) fn reported(
    candidate: &Candidate,
    first: CompletionEvent,
    rest: CompletionStream,
    permit: Option<Permit>,
    progress: Progress,
) -> CompletionStream {
    let reported = Reported {
        candidate: candidate.clone(),
        first: Some(first),
        rest,
        permit,
        progress,
    };
    CompletionStream::new(stream::unfold(Box::new(reported), |mut reported| async move {
        let event = match reported.first.take() {
            Some(first) => Ok(first),
            None => reported.rest.next().await?,
        };
        let event = reported.progress.end(event);
        match (&event, reported.permit.take()) {
            (Ok(CompletionEvent::Text(_) | CompletionEvent::TakenBack), permit) => reported.permit = permit,
            (Ok(CompletionEvent::Finished { .. }), Some(permit)) => permit.succeeded(),
            (Err(error), Some(permit)) => reported.candidate.report_failure(permit, error, true),
            (_, None) => {}
        }
        Some((event, reported))
    }))
}
