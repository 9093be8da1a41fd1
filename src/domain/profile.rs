//! The rules for the fields of a profile: time zone, language, and the preferences that clients store.

use std::str::FromStr;

use chrono_tz::Tz;
use language_tags::LanguageTag;
use serde_json::{Map, Value};
use thiserror::Error;

/// The largest preferences, in bytes of JSON whose numbers are written out, as Postgres stores them: `1e308` has 309 digits.
const MAX_PREFERENCES_BYTES: usize = 16 * 1024;
/// How deep preferences may be nested; the object itself is the first level.
const MAX_PREFERENCES_DEPTH: usize = 8;
/// The longest language tag worth looking at, in bytes (RFC 5646, section 4.4.1, asks for at least 35).
const MAX_LANGUAGE_BYTES: usize = 64;

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeZone(Tz);

/// Not in the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a time zone of the IANA database, like Europe/Berlin")]
pub struct UnknownTimeZone;

impl TimeZone {
    /// Looks up `name`.
    ///
    /// # Errors
    /// [`UnknownTimeZone`] if the database does not have it; case matters.
    pub fn new(name: &str) -> Result<Self, UnknownTimeZone> {
        Tz::from_str(name).map(Self).map_err(|_| UnknownTimeZone)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        self.0.name()
    }
}

/// A language tag (BCP 47) whose parts are all registered, in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language(String);

/// Not a language tag, or one with unregistered parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a language tag of BCP 47, like de or pt-BR")]
pub struct UnknownLanguage;

impl Language {
    /// Checks `tag` against the IANA registry of subtags.
    ///
    /// # Errors
    /// [`UnknownLanguage`] when it is malformed, or a part of it is not registered.
    pub fn new(tag: &str) -> Result<Self, UnknownLanguage> {
        if tag.len() > MAX_LANGUAGE_BYTES {
            return Err(UnknownLanguage);
        }
        let tag = LanguageTag::parse(tag).map_err(|_| UnknownLanguage)?;
        tag.validate().map_err(|_| UnknownLanguage)?;
        let canonical = tag.canonicalize().map_err(|_| UnknownLanguage)?;
        Ok(Self(canonical.into_string()))
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Preferences: a JSON object of the clients. Cura reads `theme` and `notifications`, and stores the rest unchanged.
#[derive(Debug, Clone, PartialEq)]
pub struct Preferences(Value);

/// Why preferences are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPreferences {
    /// Not an object.
    #[error("must be an object")]
    NotAnObject,
    /// More than 16 KiB of JSON, its numbers written out.
    #[error("must have at most {MAX_PREFERENCES_BYTES} bytes as JSON")]
    TooLarge,
    /// Nested deeper than 8 levels.
    #[error("must be nested at most {MAX_PREFERENCES_DEPTH} levels deep")]
    TooDeep,
    /// A preference that Cura reads has the wrong type.
    #[error("must be {expected}")]
    WrongType {
        /// Where, as a JSON pointer within the preferences.
        pointer: &'static str,
        /// What the value must be.
        expected: &'static str,
    },
}

impl InvalidPreferences {
    /// Where the invalid value is, as a JSON pointer within the preferences.
    pub fn pointer(&self) -> &'static str {
        match self {
            Self::WrongType { pointer, .. } => pointer,
            Self::NotAnObject | Self::TooLarge | Self::TooDeep => "",
        }
    }
}

impl Preferences {
    /// `current` with `patch` applied as RFC 7396 (JSON Merge Patch) defines: null removes, objects merge, the rest replaces.
    ///
    /// # Errors
    /// [`InvalidPreferences`] if `patch` is not an object, or the result breaks a rule.
    pub fn merged(mut current: Value, patch: &Value) -> Result<Self, InvalidPreferences> {
        if !patch.is_object() {
            return Err(InvalidPreferences::NotAnObject);
        }
        if deeper_than(patch, MAX_PREFERENCES_DEPTH) {
            return Err(InvalidPreferences::TooDeep);
        }
        json_patch::merge(&mut current, patch);
        if deeper_than(&current, MAX_PREFERENCES_DEPTH) {
            return Err(InvalidPreferences::TooDeep);
        }
        if stored_bytes(&current) > MAX_PREFERENCES_BYTES {
            return Err(InvalidPreferences::TooLarge);
        }
        check_known(&current)?;
        Ok(Self(current))
    }

    /// The whole object.
    pub fn into_value(self) -> Value {
        self.0
    }
}

/// The bytes of JSON whose numbers have no exponent.
fn stored_bytes(value: &Value) -> usize {
    let separators = |items: usize| items.saturating_sub(1) + 2;
    match value {
        Value::Array(items) => separators(items.len()) + items.iter().map(stored_bytes).sum::<usize>(),
        Value::Object(fields) => {
            let of_field = |(name, value): (&String, &Value)| quoted_bytes(name) + 1 + stored_bytes(value);
            separators(fields.len()) + fields.iter().map(of_field).sum::<usize>()
        }
        // Rust writes floats without an exponent; integers are what they are.
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .map_or(0, |number| number.to_string().len())
            .max(number.to_string().len()),
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => quoted_bytes(text),
        Value::Null | Value::Bool(_) => value.to_string().len(),
    }
}

fn quoted_bytes(text: &str) -> usize {
    Value::from(text).to_string().len()
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    let below = |inner: &Value| levels == 0 || deeper_than(inner, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(below),
        Value::Object(fields) => levels == 0 || fields.values().any(below),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Exactly `HH:MM`, so that readers need no leniency.
fn is_time_of_day(text: &str) -> bool {
    chrono::NaiveTime::parse_from_str(text, "%H:%M").is_ok_and(|time| time.format("%H:%M").to_string() == text)
}

/// Checks the preferences that Cura reads; missing ones have defaults.
fn check_known(preferences: &Value) -> Result<(), InvalidPreferences> {
    let wrong = |pointer, expected| Err(InvalidPreferences::WrongType { pointer, expected });
    let empty = Map::new();
    if preferences.get("theme").is_some_and(|theme| !theme.is_string()) {
        return wrong("/theme", "a string");
    }
    let notifications = match preferences.get("notifications") {
        None => &empty,
        Some(Value::Object(notifications)) => notifications,
        Some(_) => return wrong("/notifications", "an object"),
    };
    for (name, pointer) in [("push", "/notifications/push"), ("private", "/notifications/private")] {
        if notifications.get(name).is_some_and(|value| !value.is_boolean()) {
            return wrong(pointer, "true or false");
        }
    }
    let quiet = match notifications.get("quiet_hours") {
        None => return Ok(()),
        Some(Value::Object(quiet)) => quiet,
        Some(_) => return wrong("/notifications/quiet_hours", "an object"),
    };
    for (name, pointer) in [
        ("start", "/notifications/quiet_hours/start"),
        ("end", "/notifications/quiet_hours/end"),
    ] {
        let time = quiet.get(name).and_then(Value::as_str);
        if time.is_none_or(|time| !is_time_of_day(time)) {
            return wrong(pointer, "a time of day like 22:00");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn time_zones_are_those_of_the_iana_database() {
        assert_eq!(TimeZone::new("Europe/Berlin").unwrap().as_str(), "Europe/Berlin");
        for unknown in ["", "Berlin", "Mars/Olympus", "+02:00", "../etc/passwd"] {
            assert_eq!(TimeZone::new(unknown), Err(UnknownTimeZone), "{unknown}");
        }
    }

    #[test]
    fn language_tags_are_registered_and_canonical() {
        for (tag, canonical) in [("de", "de"), ("pt-br", "pt-BR"), ("ZH-hant-tw", "zh-Hant-TW")] {
            assert_eq!(Language::new(tag).unwrap().as_str(), canonical);
        }
        for unknown in [
            "",
            "xx",
            "german",
            "de_DE",
            "de-XX-",
            "english please",
            &"a-".repeat(100),
        ] {
            assert_eq!(Language::new(unknown), Err(UnknownLanguage), "{unknown}");
        }
    }

    /// The examples of RFC 7396, appendix A, that begin and end with objects.
    #[test]
    fn preferences_merge_as_rfc_7396_says() {
        for (current, patch, merged) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            assert_eq!(Preferences::merged(current, &patch).unwrap().into_value(), merged);
        }
    }

    #[test]
    fn preferences_stay_small_and_shallow() {
        let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
        assert!(Preferences::merged(json!({}), &nested(8)).is_ok());
        assert_eq!(
            Preferences::merged(json!({}), &nested(9)),
            Err(InvalidPreferences::TooDeep)
        );
        assert_eq!(
            Preferences::merged(json!({}), &json!({"a": "x".repeat(MAX_PREFERENCES_BYTES)})),
            Err(InvalidPreferences::TooLarge)
        );
        assert_eq!(
            Preferences::merged(json!({}), &json!([])),
            Err(InvalidPreferences::NotAnObject)
        );
    }

    #[test]
    fn preferences_are_measured_as_they_are_stored() {
        for plain in [
            json!({}),
            json!({"a": [1, -2.5, true, null, "x\"y\n"], "ä": {"b": [], "c": {}}}),
        ] {
            assert_eq!(stored_bytes(&plain), plain.to_string().len(), "{plain}");
        }
        assert_eq!(stored_bytes(&json!([1e308])), 2 + 309);
        assert_eq!(stored_bytes(&json!([1e-7])), 2 + "0.0000001".len());
        assert_eq!(
            Preferences::merged(json!({}), &json!({"a": vec![1e308; 60]})),
            Err(InvalidPreferences::TooLarge)
        );
        assert!(Preferences::merged(json!({}), &json!({"a": vec![1e308; 50]})).is_ok());
    }

    #[test]
    fn known_preferences_are_type_checked_and_others_are_stored() {
        let good = json!({"theme": "dark", "notifications": {"push": false, "sound": "bell",
            "quiet_hours": {"start": "22:00", "end": "07:30"}}, "mine": [1, null]});
        assert_eq!(
            Preferences::merged(json!({}), &good).unwrap().into_value(),
            json!({"theme": "dark",
            "notifications": {"push": false, "sound": "bell", "quiet_hours": {"start": "22:00", "end": "07:30"}},
            "mine": [1, null]})
        );
        for (bad, pointer) in [
            (json!({"theme": 1}), "/theme"),
            (json!({"notifications": []}), "/notifications"),
            (json!({"notifications": {"push": "no"}}), "/notifications/push"),
            (
                json!({"notifications": {"quiet_hours": {"start": "25:00", "end": "07:00"}}}),
                "/notifications/quiet_hours/start",
            ),
            (
                json!({"notifications": {"quiet_hours": {"start": "22:00"}}}),
                "/notifications/quiet_hours/end",
            ),
        ] {
            assert_eq!(Preferences::merged(json!({}), &bad).unwrap_err().pointer(), pointer);
        }
    }
}
