//! The rules that every text, language and address in the rules file must follow.

use std::collections::BTreeMap;

use crate::FALLBACK_LANGUAGE;
use crate::error::{InvalidRules, wrong};
use cura_domain::profile::Language;

/// The longest name of a kind, an emergency service or a resource, in characters.
pub(crate) const MAX_NAME_CHARS: usize = 200;
const MAX_URL_BYTES: usize = 500;

pub(crate) fn is_https(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .and_then(|rest| rest.split(['/', '?', '#']).next());
    url.len() <= MAX_URL_BYTES
        && url.bytes().all(|byte| byte.is_ascii_graphic())
        && host.is_some_and(|host| !host.starts_with('.') && host.contains('.') && !host.contains('@'))
}

pub(crate) fn check_text(pointer: &str, text: &str, max: usize) -> Result<(), InvalidRules> {
    if cura_domain::text::is_blank(text) {
        return wrong(pointer, "must not be empty");
    }
    if text.chars().count() > max {
        return wrong(pointer, format!("must have at most {max} characters"));
    }
    Ok(())
}

pub(crate) fn check_languages<T>(pointer: &str, map: &BTreeMap<String, T>) -> Result<(), InvalidRules> {
    check_languages_are_known(pointer, map)?;
    if !map.contains_key(FALLBACK_LANGUAGE) {
        return wrong(
            pointer,
            format!("must have \"{FALLBACK_LANGUAGE}\", for users whose language is missing"),
        );
    }
    Ok(())
}

pub(crate) fn check_languages_are_known<T>(pointer: &str, map: &BTreeMap<String, T>) -> Result<(), InvalidRules> {
    let is_known = |tag: &&String| Language::new(tag).is_ok_and(|known| known.as_str() == *tag);
    match map.keys().find(|tag| !is_known(tag)) {
        Some(tag) => wrong(
            format!("{pointer}/{tag}"),
            "must be a language tag of BCP 47, like de or pt-BR",
        ),
        None => Ok(()),
    }
}
