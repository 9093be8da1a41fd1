//! When an answer has ended.
//!
//! It has with the end marker; with the end of the body after an end word; or with an end word in an event of its own and
//! [`END_TIMEOUT`] of silence. Some servers send an end word with every event. One that comes with text, or before any, or
//! again, or has text behind it, says nothing about the silence after it: the idle timeout decides.

use std::time::Duration;

use cura_domain::message::FinishReason;
use tokio::time::Instant;

/// How long a finished answer waits for its usage and its end marker.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(2);

/// What the end words of an answer said until now.
#[derive(Debug)]
pub(crate) struct AnswerEnd {
    reason: Option<FinishReason>,
    /// Whether there were thoughts or text until now.
    has_content: bool,
    /// Whether every end word until now was a true one.
    are_words_true: bool,
    /// Until when to wait for more after a true end word.
    deadline: Option<Instant>,
}

impl AnswerEnd {
    pub(crate) const fn new() -> Self {
        Self {
            reason: None,
            has_content: false,
            are_words_true: true,
            deadline: None,
        }
    }

    /// Notes an event that was received `now`: the reason that it states, and whether it holds thoughts or text.
    pub(crate) fn note(&mut self, reason: Option<FinishReason>, has_content: bool, has_usage: bool, now: Instant) {
        let had_reason = self.reason.is_some();
        if has_content {
            self.reason = None;
        }
        let is_alone = reason.is_some() && !has_content && self.has_content && !had_reason;
        let is_true = if reason.is_some() {
            is_alone
        } else {
            !(had_reason && has_content)
        };
        self.are_words_true &= is_true;
        self.has_content |= has_content;
        // A repetition of the word says less than the word.
        if let Some(reason) = reason.filter(|reason| self.reason.is_none() || *reason != FinishReason::Stop) {
            self.reason = Some(reason);
        }
        if !self.are_words_true {
            self.deadline = None;
        } else if is_alone || (has_usage && self.deadline.is_some()) {
            self.deadline = Some(now + END_TIMEOUT);
        }
    }

    /// Notes that the answer was cut off, because it is too long.
    pub(crate) const fn cut(&mut self) {
        self.reason = Some(FinishReason::Length);
    }

    /// Whether the end is stated by words that are true ones, whatever came with them.
    pub(crate) const fn is_sure(&self) -> bool {
        self.reason.is_some() && self.are_words_true
    }

    /// Why the answer has ended, if nothing follows any more.
    pub(crate) const fn reason(&self) -> Option<FinishReason> {
        self.reason
    }

    /// Until when to wait for more, if the answer has ended.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: (Option<FinishReason>, bool) = (None, true);
    const STOP: (Option<FinishReason>, bool) = (Some(FinishReason::Stop), false);
    const TEXT_AND_STOP: (Option<FinishReason>, bool) = (Some(FinishReason::Stop), true);
    const LENGTH: (Option<FinishReason>, bool) = (Some(FinishReason::Length), false);

    /// Why it has ended, and whether silence is enough.
    fn end(events: &[(Option<FinishReason>, bool)]) -> (Option<FinishReason>, bool) {
        let mut end = AnswerEnd::new();
        for (reason, has_content) in events {
            end.note(*reason, *has_content, false, Instant::now());
        }
        (end.reason(), end.deadline().is_some())
    }

    #[test]
    fn a_word_of_its_own_after_the_text_is_an_end() {
        assert_eq!(end(&[TEXT, STOP]), (Some(FinishReason::Stop), true));
        assert_eq!(end(&[TEXT, LENGTH, (None, false)]), (Some(FinishReason::Length), true));
    }

    #[test]
    fn a_word_that_is_none_needs_the_end_of_the_body() {
        for events in [
            vec![TEXT_AND_STOP],
            vec![STOP, TEXT_AND_STOP],
            vec![TEXT, STOP, STOP],
            vec![TEXT_AND_STOP, STOP],
            vec![TEXT, STOP, TEXT, STOP],
            vec![STOP],
        ] {
            assert_eq!(end(&events), (Some(FinishReason::Stop), false), "{events:?}");
        }
        assert_eq!(end(&[TEXT, LENGTH, STOP]), (Some(FinishReason::Length), false));
    }

    #[test]
    fn text_behind_a_word_takes_it_back() {
        assert_eq!(end(&[TEXT, STOP, TEXT]), (None, false));
        assert_eq!(end(&[TEXT_AND_STOP, TEXT]), (None, false));
    }
}
