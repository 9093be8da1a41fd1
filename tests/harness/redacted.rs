//! JSON as it was sent, without the values that differ from run to run.

/// The fields whose values differ: ids, times, tokens and cursors.
const VARYING: [&str; 18] = [
    "access_token",
    "at",
    "conversation_id",
    "created_at",
    "cursor",
    "expires_at",
    "id",
    "last_message_at",
    "latency_ms",
    "message_id",
    "parent_id",
    "request_id",
    "resets_at",
    "running_message_id",
    "ttft_ms",
    "updated_at",
    "user_id",
    "user_message_id",
];

/// The same text, in which each value of such a field is its name in brackets. Everything else stays byte for byte: the
/// order of fields, numbers, escapes. A null stays too.
pub fn redacted(json: &str) -> String {
    let mut text = json.to_owned();
    for field in VARYING {
        let key = format!("\"{field}\":");
        let mut done = String::new();
        while let Some(at) = text.find(&key) {
            let rest = text.split_off(at + key.len());
            done.push_str(&text);
            let length = scalar_length(&rest);
            if rest.starts_with("null") || length == 0 {
                done.push_str(&rest[..length]);
            } else {
                done.push_str(&format!("\"[{field}]\""));
            }
            text = rest[length..].to_owned();
        }
        text = done + &text;
    }
    text
}

/// The length of the string, number or word at the beginning; 0 for an object or a list.
fn scalar_length(json: &str) -> usize {
    if !json.starts_with('"') {
        return json.find([',', '}', ']', '{', '[']).unwrap_or(json.len());
    }
    let mut escaped = false;
    let end = json.char_indices().skip(1).find(|(_, letter)| {
        let closes = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        closes
    });
    end.map_or(json.len(), |(at, _)| at + 1)
}
