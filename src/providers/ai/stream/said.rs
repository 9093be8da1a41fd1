//! What a completion said until now, because some servers repeat it: the whole message with its end, or with every event.

/// The text until now. It is bounded by that of an answer.
#[derive(Debug, Default)]
pub(crate) struct Said {
    text: String,
    has_deltas: bool,
    /// Whether a message repeated what was said before it.
    has_repeated: bool,
}

impl Said {
    /// What `text` adds; `None` when it only repeats. A message that begins with all that was said before is a repetition
    /// with more behind it; the same short message twice is a word that was said twice, unless it `is_end`.
    pub(crate) fn add(&mut self, text: String, is_message: bool, is_end: bool) -> Option<String> {
        let rest = text.strip_prefix(self.text.as_str()).filter(|_| !self.text.is_empty());
        let new = match rest {
            Some(rest) if is_message && (!rest.is_empty() || self.has_deltas || self.has_repeated || is_end) => {
                self.has_repeated = true;
                rest.to_owned()
            }
            _ => text,
        };
        self.has_deltas |= !is_message;
        self.text.push_str(&new);
        (!new.is_empty()).then_some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(parts: &[(&str, bool)]) -> String {
        let mut said = Said::default();
        let added = parts
            .iter()
            .filter_map(|(text, is_message)| said.add((*text).to_owned(), *is_message, false));
        added.collect()
    }

    #[test]
    fn a_message_adds_only_what_is_new() {
        assert_eq!(joined(&[("a", false), ("b", false), ("ab", true)]), "ab");
        assert_eq!(joined(&[("a", true), ("ab", true), ("abc", true)]), "abc");
        assert_eq!(joined(&[("a", true), ("ab", true), ("ab", true)]), "ab");
        assert_eq!(joined(&[("Hel", true), ("lo", true)]), "Hello");
        assert_eq!(joined(&[("ha", true), ("ha", true)]), "haha");
        assert_eq!(joined(&[("a", false), ("a", false)]), "aa");
        assert_eq!(Said::default().add("a".to_owned(), true, true).as_deref(), Some("a"));
    }
}
