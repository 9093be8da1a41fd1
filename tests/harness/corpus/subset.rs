//! Compares JSON as far as it is named.

use serde_json::Value;

/// Where `found` is not what `wanted` names; empty if it is.
pub fn differences(what: &str, wanted: &Value, found: &Value) -> Vec<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .flat_map(|(key, value)| {
                let found = found.get(key).unwrap_or(&Value::Null);
                differences(&format!("{what}.{key}"), value, found)
            })
            .collect(),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => wanted
            .iter()
            .zip(found)
            .enumerate()
            .flat_map(|(index, (wanted, found))| differences(&format!("{what}[{index}]"), wanted, found))
            .collect(),
        _ if wanted == found => Vec::new(),
        _ => vec![format!("{what} is {}, not {wanted}", short(found))],
    }
}

/// A value as text, cut where it is long.
pub fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text,
    }
}
