//! Repairs JSON that a parser refuses for what we do not need: numbers that JSON does not have, bare control characters, and
//! surrogates without their other half.

/// `json`, with what no parser accepts replaced. What cannot be repaired stays as it is.
pub(crate) fn repaired(json: &str) -> String {
    let mut repaired = String::with_capacity(json.len() + 16);
    let mut rest = json;
    let mut in_string = false;
    while let Some(char) = rest.chars().next() {
        let taken = if in_string {
            in_string = char != '"';
            string_part(rest, char, &mut repaired)
        } else {
            in_string = char == '"';
            outside_part(rest, char, &mut repaired)
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    repaired
}

/// Copies what `rest` begins with within a string, and returns its length.
fn string_part(rest: &str, char: char, repaired: &mut String) -> usize {
    match char {
        '\\' => {
            if let Some(length) = lone_surrogate(rest) {
                repaired.push(char::REPLACEMENT_CHARACTER);
                return length;
            }
            let escape = match rest.as_bytes() {
                [_, b'u', ..] => unit(rest).and_then(|unit| is_high(unit).then_some(12)).unwrap_or(6),
                _ => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            };
            let escape = escape.min(rest.len());
            repaired.push_str(rest.get(..escape).unwrap_or(rest));
            escape
        }
        '\u{0}'..='\u{1f}' => {
            repaired.push_str(&format!("\\u{:04x}", u32::from(char)));
            char.len_utf8()
        }
        _ => {
            repaired.push(char);
            char.len_utf8()
        }
    }
}

/// Copies what `rest` begins with outside of strings, and returns its length.
fn outside_part(rest: &str, char: char, repaired: &mut String) -> usize {
    for number in ["NaN", "-Infinity", "Infinity", "-NaN"] {
        if rest.starts_with(number) {
            repaired.push_str("null");
            return number.len();
        }
    }
    repaired.push(char);
    char.len_utf8()
}

/// The UTF-16 unit of the escape that `text` begins with.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

fn is_high(unit: u32) -> bool {
    (0xD800..0xDC00).contains(&unit)
}

/// The length of the escape that `text` begins with, if it is half a character.
fn lone_surrogate(text: &str) -> Option<usize> {
    let first = unit(text).filter(|unit| (0xD800..0xE000).contains(unit))?;
    let second = text.get(6..).and_then(unit);
    let is_whole = is_high(first) && second.is_some_and(|unit| (0xDC00..0xE000).contains(&unit));
    (!is_whole).then_some(6)
}

#[cfg(test)]
mod tests {
    use super::repaired;

    #[test]
    fn what_we_do_not_need_is_replaced() {
        for (json, wanted) in [
            (r#"{"logprob":-Infinity,"x":NaN}"#, r#"{"logprob":null,"x":null}"#),
            (r#"{"text":"NaN \"Infinity\""}"#, r#"{"text":"NaN \"Infinity\""}"#),
            ("{\"text\":\"a\tb\"}", r#"{"text":"a\u0009b"}"#),
            (r#"{"text":"a\ud83d"}"#, "{\"text\":\"a\u{fffd}\"}"),
            (
                r#"{"text":"\ud83d\udc4b \udc4b\\ud83d"}"#,
                "{\"text\":\"\\ud83d\\udc4b \u{fffd}\\\\ud83d\"}",
            ),
        ] {
            assert_eq!(repaired(json), wanted);
            serde_json::from_str::<serde_json::Value>(&repaired(json)).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_repaired_is_not_lost() {
        for json in ["{\"a\":\"b\\", "\\u12", "\"\\ud83d\\u", "not json", "\"\\\u{e4}"] {
            repaired(json);
        }
    }
}
