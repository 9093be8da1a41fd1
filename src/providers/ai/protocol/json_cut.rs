//! JSON whose end is missing: what came until there is worth reading.

/// How deep values may be nested: deeper than a parser reads them.
const MAX_DEPTH: usize = 128;

/// JSON that was cut somewhere, made whole again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completed {
    /// It parses, if what there was of it is JSON.
    pub(super) json: String,
    /// Whether the cut was within a string, which goes on in what is missing.
    pub(super) is_within_string: bool,
}

/// Ends a string value that was cut, or leaves out the value that was, and closes what is open. `None` when it is nested too deep.
pub(super) fn completed(mut json: String) -> Option<Completed> {
    let mut open = Vec::new();
    let mut string: Option<CutString> = None;
    let mut is_value = true;
    let mut end_of_value = 0;
    for (at, byte) in json.bytes().enumerate() {
        let next = at + 1;
        if let Some(inside) = &mut string {
            if inside.ends_with(byte, next) {
                string = None;
            }
            continue;
        }
        match byte {
            b'"' => {
                string = Some(CutString::begins(next, is_value || open.last() == Some(&b']')));
            }
            b':' => is_value = true,
            b',' => (is_value, end_of_value) = (false, at),
            b'{' | b'[' if open.len() == MAX_DEPTH => return None,
            b'{' | b'[' => {
                open.push(if byte == b'{' { b'}' } else { b']' });
                (is_value, end_of_value) = (false, next);
            }
            b'}' | b']' => {
                open.pop();
                (is_value, end_of_value) = (false, next);
            }
            _ => {}
        }
    }
    let within = string.filter(|string| string.is_value);
    json.truncate(within.as_ref().map_or(end_of_value, |string| string.end_of_character));
    let is_within_string = within.is_some();
    json.extend(is_within_string.then_some('"'));
    json.extend(open.into_iter().rev().map(char::from));
    Some(Completed { json, is_within_string })
}

/// A string whose end has not come.
struct CutString {
    /// No name of a field.
    is_value: bool,
    /// Where its last whole character ends.
    end_of_character: usize,
    /// The escape that has begun: its first byte's place, and what came of it.
    escape: Vec<u8>,
}

impl CutString {
    const fn begins(at: usize, is_value: bool) -> Self {
        Self {
            is_value,
            end_of_character: at,
            escape: Vec::new(),
        }
    }

    /// Takes its next byte, behind which comes `next`. Returns whether that was its end.
    fn ends_with(&mut self, byte: u8, next: usize) -> bool {
        if self.escape.is_empty() && byte != b'\\' {
            self.end_of_character = next;
            return byte == b'"';
        }
        self.escape.push(byte);
        // A character beyond U+FFFF is two escapes.
        let is_whole = match self.escape.as_slice() {
            [b'\\'] => false,
            [b'\\', b'u', digits @ ..] if digits.len() < 4 => false,
            [
                b'\\',
                b'u',
                b'd' | b'D',
                b'8' | b'9' | b'a' | b'b' | b'A' | b'B',
                _,
                _,
                rest @ ..,
            ] => match rest {
                [] | [b'\\'] => false,
                [b'\\', b'u', digits @ ..] => digits.len() == 4,
                _ => true,
            },
            _ => true,
        };
        if is_whole {
            self.escape.clear();
            self.end_of_character = next;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_came_before_the_cut_is_kept_wherever_it_is() {
        let whole =
            r#"{"a":[1,{"b":null}],"c":{"text":"Ann \"sl\u00e4pt\" \ud83d\udc0e\\"},"d":[true,"x","y"],"e":-1.5}"#;
        for at in 1..=whole.len() {
            let cut = completed(whole[..at].to_owned()).unwrap();
            let read: Value = serde_json::from_str(&cut.json).unwrap_or_else(|error| panic!("{}: {error}", cut.json));
            let text = read["c"]["text"].as_str().unwrap_or_default();
            assert!("Ann \"släpt\" 🐎\\".starts_with(text), "{text:?}");
        }
    }

    #[test]
    fn a_cut_string_is_told_from_a_whole_one() {
        for (cut, wanted, is_within_string) in [
            (r#"{"text":"Ann sl"#, r#"{"text":"Ann sl"}"#, true),
            (r#"{"text":"Ann \u00"#, r#"{"text":"Ann "}"#, true),
            (r#"{"text":"Ann \ud83d"#, r#"{"text":"Ann "}"#, true),
            (r#"{"text":"Ann","usa"#, r#"{"text":"Ann"}"#, false),
            (r#"{"text":"Ann","usage":"#, r#"{"text":"Ann"}"#, false),
            (r#"{"texts":["Ann","Bo"#, r#"{"texts":["Ann","Bo"]}"#, true),
        ] {
            let json = wanted.to_owned();
            assert_eq!(
                completed(cut.to_owned()),
                Some(Completed { json, is_within_string }),
                "{cut}"
            );
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_not_read() {
        assert_eq!(completed("[".repeat(MAX_DEPTH + 1)), None);
    }
}
