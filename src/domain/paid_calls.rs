//! What one answer may cost at most: a provider that was paid and brought nothing is asked once more, and then no more.
//!
//! A call is paid for once the provider has accepted it. If it ends, by the provider's doing, without text that is new, it counts.
//! New text begins the count anew. Backends are numbered in the order in which they are asked.

/// Calls to one backend that it accepted and that brought no new text, of which an answer makes so many at most: the first one and
/// one further.
const MAX_CALLS_WITHOUT_TEXT: i16 = 2;
/// More backends than anybody configures.
const EVERY_BACKEND: usize = 8;

/// The calls of one answer, per backend, that were accepted and brought no new text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallsWithoutText {
    /// How long the text was when they were made, in UTF-8 bytes: the longest that it ever was.
    after_bytes: u64,
    of_backends: Vec<i16>,
}

impl CallsWithoutText {
    /// As they were stored.
    pub const fn stored(after_bytes: u64, of_backends: Vec<i16>) -> Self {
        Self {
            after_bytes,
            of_backends,
        }
    }

    /// How long the text was when they were made.
    pub const fn after_bytes(&self) -> u64 {
        self.after_bytes
    }

    /// How many there were, by the number of the backend.
    pub fn of_backends(&self) -> &[i16] {
        &self.of_backends
    }

    /// Whether the answer may ask this backend.
    pub fn may_ask(&self, backend: usize) -> bool {
        self.of_backends
            .get(backend)
            .is_none_or(|calls| *calls < MAX_CALLS_WITHOUT_TEXT)
    }

    /// Whether the answer may ask any of the first `backends`.
    pub fn may_ask_any(&self, backends: usize) -> bool {
        (0..backends).any(|backend| self.may_ask(backend))
    }

    /// The text has so many bytes now. Text that takes the place of earlier text is new once it is longer.
    pub fn text_grew_to(&mut self, bytes: u64) {
        if bytes > self.after_bytes {
            *self = Self::stored(bytes, Vec::new());
        }
    }

    /// This backend was paid for so many calls that brought nothing.
    pub fn ended_without_text(&mut self, backend: usize, calls: i16) {
        if self.of_backends.len() <= backend {
            self.of_backends.resize(backend + 1, 0);
        }
        if let Some(count) = self.of_backends.get_mut(backend) {
            *count = count.saturating_add(calls);
        }
    }

    /// As if every backend had been asked once for nothing.
    pub fn one_left_each() -> Self {
        Self::stored(0, vec![MAX_CALLS_WITHOUT_TEXT - 1; EVERY_BACKEND])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_asked_once_more_and_then_no_more_until_there_is_new_text() {
        let mut calls = CallsWithoutText::default();
        for _ in 0..2 {
            assert!(calls.may_ask(1));
            calls.ended_without_text(1, 1);
        }
        assert!(!calls.may_ask(1) && calls.may_ask(0) && calls.may_ask(2));
        assert!(calls.may_ask_any(1) && calls.may_ask_any(2));
        calls.text_grew_to(3);
        assert!(calls.may_ask(1));
    }

    #[test]
    fn text_that_repeats_earlier_text_is_not_new() {
        let mut calls = CallsWithoutText::default();
        calls.text_grew_to(3);
        calls.ended_without_text(0, 2);
        for (bytes, may_ask) in [(0, false), (3, false), (4, true)] {
            calls.text_grew_to(bytes);
            assert_eq!(calls.may_ask(0), may_ask, "{bytes}");
        }
    }

    #[test]
    fn with_one_call_left_a_backend_is_asked_once() {
        let mut calls = CallsWithoutText::one_left_each();
        assert!(calls.may_ask(0) && calls.may_ask(1));
        calls.ended_without_text(0, 1);
        assert!(!calls.may_ask(0) && calls.may_ask(1));
    }
}
