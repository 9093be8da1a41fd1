//! What is around the words of a reply: code fences, JSON, marks of lists and emphasis, tags.

use serde_json::Value;

const FENCES: [&str; 2] = ["```", "~~~"];

/// The words of a reply: what a code fence holds, and of JSON the value of `key`, or the only text there is. `None` when JSON
/// is cut or has no such text.
pub(super) fn unwrap(reply: &str, key: &str) -> Option<String> {
    let text = in_fence(reply).unwrap_or(reply).trim();
    match json(text) {
        Some(json) => {
            let value = serde_json::from_str(json)
                .or_else(|_| serde_json::from_str(&in_double_quotes(json)))
                .ok()?;
            Some(text_of(&value, key)?.trim().to_owned())
        }
        None => Some(text.to_owned()),
    }
}

/// An object as Python writes it, as JSON.
fn in_double_quotes(object: &str) -> String {
    let object = object
        .replace("{'", "{\"")
        .replace("'}", "\"}")
        .replace("': '", "\": \"");
    object.replace("', '", "\", \"")
}

/// A line without TeX's box for a result.
pub(super) fn without_box(line: &str) -> &str {
    let inside = line.strip_prefix("\\boxed{").and_then(|rest| rest.strip_suffix('}'));
    inside.unwrap_or(line)
}

/// What the first code fence holds, if the reply has one at the beginning of a line; all that follows, if it is cut.
fn in_fence(reply: &str) -> Option<&str> {
    let begins = |fence: &str| {
        let at = reply.find(fence)?;
        let line_before = reply.get(..at)?.rsplit('\n').next()?;
        line_before.trim().is_empty().then_some((at, fence.len()))
    };
    let (at, length) = FENCES.into_iter().filter_map(begins).min()?;
    let (_, inside) = reply.get(at + length..)?.split_once('\n')?;
    let end = FENCES.into_iter().filter_map(|fence| inside.find(fence)).min();
    inside.get(..end.unwrap_or(inside.len()))
}

/// The JSON in a reply: all of it, or what follows a first line that introduces it.
fn json(text: &str) -> Option<&str> {
    let begins = |text: &str| text.starts_with("{") || text.starts_with("[\"");
    if begins(text) {
        return Some(text);
    }
    let behind_colon = text
        .split_once(": ")
        .filter(|(before, behind)| !before.contains('\n') && behind.starts_with('{'));
    let (_, rest) = behind_colon.or_else(|| text.split_once('\n'))?;
    Some(rest.trim_start()).filter(|rest| begins(rest))
}

/// The text at `key`, however deep, whatever the case of the key; else the only text of the value, or the first of a list.
fn text_of(value: &Value, key: &str) -> Option<String> {
    fn at_key(value: &Value, key: &str, depth: usize) -> Option<String> {
        let fields = value.as_object().filter(|_| depth > 0)?;
        let is_key = |name: &str| name == key || name.strip_suffix(key).is_some_and(|before| before.ends_with('_'));
        let found = fields.iter().find(|(name, _)| is_key(&name.to_lowercase()));
        match found {
            Some((_, Value::String(text))) => Some(text.clone()),
            Some(_) => None,
            None => fields.values().find_map(|inner| at_key(inner, key, depth - 1)),
        }
    }
    at_key(value, key, 4).or_else(|| match value {
        Value::Array(items) => items.first()?.as_str().map(str::to_owned),
        Value::Object(fields) if fields.len() == 1 => fields.values().next()?.as_str().map(str::to_owned),
        _ => None,
    })
}

/// A line of a list that begins with this number, without it.
pub(super) fn without_number<'a>(line: &'a str, number: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(number)?;
    rest.strip_prefix(". ").or_else(|| rest.strip_prefix(") "))
}

/// A line without marks of headings, lists and emphasis, and without tags.
pub(super) fn without_markup(line: &str) -> String {
    let line = line.trim_start_matches(['#', '>']).trim_start();
    let bullet = ["- ", "* ", "• ", "+ "]
        .into_iter()
        .find_map(|mark| line.strip_prefix(mark));
    let mut rest = bullet.unwrap_or(line);
    let mut text = String::with_capacity(rest.len());
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        match tag.split_once('>') {
            Some((name, after)) if is_tag(name) => rest = after,
            _ => {
                text.push('<');
                rest = tag;
            }
        }
    }
    text.push_str(rest);
    text.replace("**", "")
        .replace("__", "")
        .replace('`', "")
        .trim()
        .to_owned()
}

fn is_tag(name: &str) -> bool {
    name.starts_with(|first: char| first == '|' || first == '/' || first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "|/_-".contains(letter))
}
