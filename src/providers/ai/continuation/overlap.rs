//! Where a continuation really begins: it may repeat the end of what is written, or start all over again.

use cura_domain::text::stands_alone;

/// How far from the end a repetition is looked for, in bytes; it bounds the cost. A complete restart is always seen.
const REACH: usize = 2048;

/// A prefilled model goes on by itself: only a long text that comes again as a whole is a restart, not a coincidence.
const MIN_PREFILL_RESTART: usize = 32;

/// Cuts from a continuation what is written already: the longest beginning of it with which `written` ends, where a
/// word is never mistaken for its own middle ("a" + "and" is no repetition of the "a" in "Canada").
///
/// Text is held back while it may still turn out to be a repetition, so that readers never see one.
#[derive(Debug)]
pub(crate) struct Overlap {
    written: String,
    /// Where endings of `written` begin that agree with everything held and are longer.
    open: Vec<usize>,
    held: String,
    /// The longest ending seen to be repeated, in bytes.
    repeated: usize,
    decided: bool,
}

impl Overlap {
    /// For a model that was asked to go on, and may quote any end of what is written.
    pub(crate) fn of(written: &str) -> Self {
        let near = written.len().saturating_sub(REACH);
        let mut before = None;
        let starts = written.char_indices().filter_map(|(at, first)| {
            let inside_a_word = before.replace(first).is_some_and(char::is_alphanumeric)
                && first.is_alphanumeric()
                && !stands_alone(first);
            let telling = || says_something(written.get(at..).unwrap_or_default());
            (at == 0 || (at >= near && !inside_a_word && telling())).then_some(at)
        });
        Self::new(written, starts.collect())
    }

    /// For a model that was given what is written without its trailing white space, as its own unfinished words.
    pub(crate) fn prefilled(written: &str) -> Self {
        let given = written.trim_end().len();
        let restart = (written.len() >= MIN_PREFILL_RESTART).then_some(0);
        let space = (given < written.len()).then_some(given);
        Self::new(written, restart.into_iter().chain(space).collect())
    }

    fn new(written: &str, open: Vec<usize>) -> Self {
        Self {
            written: written.to_owned(),
            decided: open.is_empty(),
            open,
            held: String::new(),
            repeated: 0,
        }
    }

    /// Takes more of the continuation and gives what of it is known to be new; often nothing at first.
    pub(crate) fn push(&mut self, text: String) -> String {
        if self.decided {
            return text;
        }
        let compared = self.held.len();
        self.held.push_str(&text);
        let (written, held) = (self.written.as_bytes(), self.held.as_bytes());
        let mut repeated = self.repeated;
        self.open.retain(|&start| {
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
        if self.open.is_empty() {
            return self.finish();
        }
        String::new()
    }

    /// Gives what is still held and new, because no more comes.
    pub(crate) fn finish(&mut self) -> String {
        self.decided = true;
        let mut held = std::mem::take(&mut self.held);
        // Both texts agree here, and an ending begins and ends at a character, so this cut does too.
        held.split_off(self.repeated.min(held.len()))
    }
}

/// Whether the same ending twice is no coincidence: a dot or a line break may well follow another one.
fn says_something(ending: &str) -> bool {
    ending == " " || ending.len() > 2 || ending.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is new in these parts of a continuation.
    fn new(mut overlap: Overlap, parts: &[&str]) -> String {
        let mut all: String = parts.iter().map(|part| overlap.push((*part).to_owned())).collect();
        all.push_str(&overlap.finish());
        all
    }

    fn after(written: &str, text: &str) -> String {
        new(Overlap::of(written), &[text])
    }

    #[test]
    fn a_repeated_end_is_cut() {
        assert_eq!(after("Hello wo", "world!"), "rld!");
        assert_eq!(after("Hello wo", "Hello world!"), "rld!");
        assert_eq!(after("Hello wo", "rld!"), "rld!");
        assert_eq!(after("Hello ", " world"), "world");
        assert_eq!(after("我觉得你今天很", "今天很好"), "好");
        assert_eq!(after("Grüße an 👋", "👋 dich"), " dich");
    }

    #[test]
    fn what_merely_looks_alike_is_kept() {
        assert_eq!(after("I am a", " person"), " person");
        assert_eq!(after("Canada", "a land"), "a land");
        assert_eq!(after("wait.", ".."), "..");
        assert_eq!(after("a\n", "\nb"), "\nb");
        assert_eq!(after("", "Hello"), "Hello");
        assert_eq!(after("ab ab", "ab abc"), "c", "the longest repetition counts");
    }

    #[test]
    fn only_what_may_be_a_repetition_is_held() {
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
            "decided at its last letter"
        );
    }

    #[test]
    fn a_prefilled_model_repeats_white_space_or_everything() {
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
    fn a_restart_is_seen_however_long() {
        let written = "many words ".repeat(20_000);
        let parts = [written.as_str(), "and more"];
        assert_eq!(new(Overlap::of(&written), &parts), "and more");
    }

    /// The rule, said as slowly as it can be.
    fn slowly(written: &str, text: &str) -> String {
        let eligible = |&start: &usize| {
            let inside = match (written[..start].chars().next_back(), written[start..].chars().next()) {
                (Some(before), Some(first)) => {
                    before.is_alphanumeric() && first.is_alphanumeric() && !stands_alone(first)
                }
                _ => false,
            };
            text.starts_with(&written[start..]) && !inside && (start == 0 || says_something(&written[start..]))
        };
        let start = (0..written.len())
            .filter(|&at| written.is_char_boundary(at))
            .find(eligible);
        start.map_or(text, |start| &text[written.len() - start..]).to_owned()
    }

    proptest! {
        #[test]
        fn how_a_continuation_is_cut_into_pieces_changes_nothing(written in "[ab .é👋]{0,12}", text in "[ab .é👋]{0,16}") {
            let letters: Vec<String> = text.chars().map(String::from).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
            let whole = after(&written, &text);
            prop_assert_eq!(&new(Overlap::of(&written), &letters), &whole);
            prop_assert_eq!(whole, slowly(&written, &text));
        }

        #[test]
        fn a_restart_or_an_exact_continuation_of_words_gives_the_whole(
            answer in "[a-z]{1,6}( [a-z]{1,6}){0,8}",
            at in 0_usize..60,
        ) {
            let at = at.min(answer.len());
            let (written, rest) = answer.split_at(at);
            prop_assert_eq!(after(written, &answer), rest);
        }
    }
}
