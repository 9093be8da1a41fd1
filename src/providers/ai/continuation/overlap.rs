//! Finds where the new text of a continuation begins: it may repeat the end of the written text, or all of it.

use cura_domain::text::is_unspaced_script;

/// How far from the end of the written text a repetition may begin, in bytes; it bounds the cost. A repetition of the whole
/// text is always found.
const MAX_OVERLAP: usize = 2048;

/// A prefilled model continues by itself: only a repetition of a whole text of this length, in bytes, is no coincidence.
const MIN_PREFILL_RESTART: usize = 32;

/// Removes from a continuation its longest beginning with which `written` ends. A repetition never begins inside a word:
/// "a land" does not repeat the last "a" of "Canada".
///
/// Text is held back while it may turn out to be a repetition, so that readers never see one.
#[derive(Debug, Clone)]
pub(crate) struct Overlap {
    written: String,
    /// The starts of endings of `written` that begin with everything held, and are longer.
    candidates: Vec<usize>,
    held: String,
    /// The longest ending that was repeated, in bytes.
    repeated: usize,
    decided: bool,
}

impl Overlap {
    /// For a model that was asked to continue, and may repeat any end of the written text.
    pub(crate) fn of(written: &str) -> Self {
        let near = written.len().saturating_sub(MAX_OVERLAP);
        let mut before = None;
        let starts = written.char_indices().filter_map(|(at, first)| {
            let inside_a_word = before.replace(first).is_some_and(char::is_alphanumeric)
                && first.is_alphanumeric()
                && !is_unspaced_script(first);
            let is_significant = || is_significant(written.get(at..).unwrap_or_default());
            (at == 0 || (at >= near && !inside_a_word && is_significant())).then_some(at)
        });
        Self::new(written, starts.collect())
    }

    /// For a model that was given the written text, without trailing white space, as its own unfinished answer.
    pub(crate) fn prefilled(written: &str) -> Self {
        let given = written.trim_end().len();
        let restart = (written.len() >= MIN_PREFILL_RESTART).then_some(0);
        let space = (given < written.len()).then_some(given);
        Self::new(written, restart.into_iter().chain(space).collect())
    }

    /// The same for text that follows a thought: it may be the beginning of the answer, which only seems to repeat a short text.
    pub(crate) fn after_thought(self) -> Self {
        let is_long = self.written.len() >= MIN_PREFILL_RESTART;
        let candidates = if is_long { self.candidates } else { Vec::new() };
        Self::new(&self.written, candidates)
    }

    fn new(written: &str, candidates: Vec<usize>) -> Self {
        Self {
            written: written.to_owned(),
            decided: candidates.is_empty(),
            candidates,
            held: String::new(),
            repeated: 0,
        }
    }

    /// Takes the next part of the continuation and returns the text that is known to be new; often none at first.
    pub(crate) fn push(&mut self, text: String) -> String {
        if self.decided {
            return text;
        }
        let compared = self.held.len();
        self.held.push_str(&text);
        let (written, held) = (self.written.as_bytes(), self.held.as_bytes());
        let mut repeated = self.repeated;
        self.candidates.retain(|&start| {
            let ending = written.get(start + compared..).unwrap_or_default();
            let more = held.get(compared..).unwrap_or_default();
            if more.len() < ending.len() {
                return ending.starts_with(more);
            }
            if more.starts_with(ending) {
                repeated = repeated.max(written.len() - start);
            }
            false
        });
        self.repeated = repeated;
        if self.candidates.is_empty() {
            return self.finish();
        }
        String::new()
    }

    /// Ends the continuation: returns the new text that is still held.
    pub(crate) fn finish(&mut self) -> String {
        self.decided = true;
        let mut held = std::mem::take(&mut self.held);
        // An ending begins and ends at a character boundary, and `held` begins with it, so this is one, too.
        held.split_off(self.repeated.min(held.len()))
    }
}

/// Whether a repetition of this ending is no coincidence: a dot or a line break may follow another one.
fn is_significant(ending: &str) -> bool {
    ending == " " || ending.len() > 2 || ending.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The new text in these parts of a continuation.
    fn new(mut overlap: Overlap, parts: &[&str]) -> String {
        let mut all: String = parts.iter().map(|part| overlap.push((*part).to_owned())).collect();
        all.push_str(&overlap.finish());
        all
    }

    fn after(written: &str, text: &str) -> String {
        new(Overlap::of(written), &[text])
    }

    #[test]
    fn a_repeated_end_is_removed() {
        assert_eq!(after("Hello wo", "world!"), "rld!");
        assert_eq!(after("Hello wo", "Hello world!"), "rld!");
        assert_eq!(after("Hello wo", "rld!"), "rld!");
        assert_eq!(after("Hello ", " world"), "world");
        assert_eq!(after("我觉得你今天很", "今天很好"), "好");
        assert_eq!(after("Grüße an 👋", "👋 dich"), " dich");
    }

    #[test]
    fn a_coincidence_is_kept() {
        assert_eq!(after("I am a", " person"), " person");
        assert_eq!(after("Canada", "a land"), "a land");
        assert_eq!(after("wait.", ".."), "..");
        assert_eq!(after("a\n", "\nb"), "\nb");
        assert_eq!(after("", "Hello"), "Hello");
        assert_eq!(after("ab ab", "ab abc"), "c", "the longest repetition counts");
    }

    #[test]
    fn only_a_possible_repetition_is_held_back() {
        let mut overlap = Overlap::of("one two three");
        assert_eq!(overlap.push("two".to_owned()), "");
        assert_eq!(overlap.push(" thr".to_owned()), "");
        assert_eq!(overlap.push("ough".to_owned()), "two through");
        assert_eq!(overlap.push("two".to_owned()), "two");
        let mut overlap = Overlap::of("one two");
        assert_eq!(overlap.push("two".to_owned()), "");
        assert_eq!(
            overlap.push(" three".to_owned()),
            " three",
            "decided at the last letter"
        );
    }

    #[test]
    fn a_prefilled_model_repeats_white_space_or_the_whole_text() {
        let long = "This is a text of more than thirty-two bytes, with ";
        assert_eq!(new(Overlap::prefilled("I am "), &[" well"]), "well");
        assert_eq!(new(Overlap::prefilled("I am\n\n"), &["\n", "\nWell"]), "Well");
        assert_eq!(new(Overlap::prefilled("I am\n\n"), &["\n", "Well"]), "\nWell");
        assert_eq!(new(Overlap::prefilled("I am "), &["I am well"]), "I am well");
        assert_eq!(new(Overlap::prefilled("that "), &["that"]), "that");
        assert_eq!(new(Overlap::prefilled(long), &[long, "an end"]), "an end");
        assert_eq!(new(Overlap::prefilled("no space"), &["no space"]), "no space");
    }

    #[test]
    fn a_repetition_of_the_whole_text_is_found_however_long() {
        let written = "many words ".repeat(20_000);
        let parts = [written.as_str(), "and more"];
        assert_eq!(new(Overlap::of(&written), &parts), "and more");
    }

    /// The rule, implemented as simply as possible.
    fn reference(written: &str, text: &str) -> String {
        let eligible = |&start: &usize| {
            let inside = match (written[..start].chars().next_back(), written[start..].chars().next()) {
                (Some(before), Some(first)) => {
                    before.is_alphanumeric() && first.is_alphanumeric() && !is_unspaced_script(first)
                }
                _ => false,
            };
            text.starts_with(&written[start..]) && !inside && (start == 0 || is_significant(&written[start..]))
        };
        let start = (0..written.len())
            .filter(|&at| written.is_char_boundary(at))
            .find(eligible);
        start.map_or(text, |start| &text[written.len() - start..]).to_owned()
    }

    proptest! {
        #[test]
        fn the_result_is_the_same_however_a_continuation_is_split(written in "[ab .é👋]{0,12}", text in "[ab .é👋]{0,16}") {
            let letters: Vec<String> = text.chars().map(String::from).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
            let whole = after(&written, &text);
            prop_assert_eq!(&new(Overlap::of(&written), &letters), &whole);
            prop_assert_eq!(whole, reference(&written, &text));
        }

        #[test]
        fn a_restart_and_an_exact_continuation_both_give_the_whole_answer(
            answer in "[a-z]{1,6}( [a-z]{1,6}){0,8}",
            at in 0_usize..60,
        ) {
            let at = at.min(answer.len());
            let (written, rest) = answer.split_at(at);
            prop_assert_eq!(after(written, &answer), rest);
        }
    }
}
