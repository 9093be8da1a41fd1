//! The rules for the fields of a profile: time zone, language, and the preferences that clients store.

use std::str::FromStr;

use chrono_tz::Tz;
use language_tags::LanguageTag;
use serde_json::Value;
use thiserror::Error;

/// The largest preferences, in bytes of JSON whose numbers are written out, as Postgres stores them: `1e308` has 309 digits.
const MAX_PREFERENCES_BYTES: usize = 16 * 1024;
/// How deep preferences may be nested; the object itself is the first level.
const MAX_PREFERENCES_DEPTH: usize = 8;
/// The longest language tag worth looking at, in bytes (RFC 5646, section 4.4.1, asks for at least 35).
const MAX_LANGUAGE_BYTES: usize = 64;

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeZone(pub(crate) Tz);

/// Not in the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a time zone of the IANA database, like Europe/Berlin")]
pub struct UnknownTimeZone;

/// UTC.
impl Default for TimeZone {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

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
    /// Everything that is wrong with `patch`, or, if nothing is, with the result.
    pub fn merged(mut current: Value, patch: &Value) -> Result<Self, Vec<InvalidPreferences>> {
        let faults = Self::faults_of_patch(patch);
        if !faults.is_empty() {
            return Err(faults);
        }
        json_patch::merge(&mut current, patch);
        if deeper_than(&current, MAX_PREFERENCES_DEPTH) {
            return Err(vec![InvalidPreferences::TooDeep]);
        }
        if stored_bytes(&current) > MAX_PREFERENCES_BYTES {
            return Err(vec![InvalidPreferences::TooLarge]);
        }
        let faults = faults_of_known(&current, Completeness::Whole);
        if faults.is_empty() {
            Ok(Self(current))
        } else {
            Err(faults)
        }
    }

    /// What is wrong with a patch, whatever it is merged into.
    pub fn faults_of_patch(patch: &Value) -> Vec<InvalidPreferences> {
        if !patch.is_object() {
            return vec![InvalidPreferences::NotAnObject];
        }
        if deeper_than(patch, MAX_PREFERENCES_DEPTH) {
            return vec![InvalidPreferences::TooDeep];
        }
        faults_of_known(patch, Completeness::Patch)
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

/// Whether preferences are all there are, or change others: then null removes one, and what is not named stays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Completeness {
    Whole,
    Patch,
}

/// What is wrong with the preferences that Cura reads; missing ones have defaults.
fn faults_of_known(preferences: &Value, completeness: Completeness) -> Vec<InvalidPreferences> {
    let mut faults = Vec::new();
    let is_absent = |value: Option<&Value>| match value {
        None => true,
        Some(value) => value.is_null() && completeness == Completeness::Patch,
    };
    let mut check = |value: Option<&Value>, pointer, expected, is_right: &dyn Fn(&Value) -> bool| {
        if !is_absent(value) && !value.is_some_and(is_right) {
            faults.push(InvalidPreferences::WrongType { pointer, expected });
        }
    };
    check(preferences.get("theme"), "/theme", "a string", &Value::is_string);
    let notifications = preferences.get("notifications");
    check(notifications, "/notifications", "an object", &Value::is_object);
    let notification = |name| notifications.and_then(|all| all.get(name));
    for (name, pointer) in [("push", "/notifications/push"), ("private", "/notifications/private")] {
        check(notification(name), pointer, "true or false", &Value::is_boolean);
    }
    let quiet = notification("quiet_hours");
    check(quiet, "/notifications/quiet_hours", "an object", &Value::is_object);
    let Some(quiet) = quiet.and_then(Value::as_object) else {
        return faults;
    };
    for (name, pointer) in [
        ("start", "/notifications/quiet_hours/start"),
        ("end", "/notifications/quiet_hours/end"),
    ] {
        // Both, or a reader would have to guess the other one.
        let missing = Value::Null;
        let time = match completeness {
            Completeness::Whole => Some(quiet.get(name).unwrap_or(&missing)),
            Completeness::Patch => quiet.get(name),
        };
        let is_time = |value: &Value| value.as_str().is_some_and(is_time_of_day);
        check(time, pointer, "a time of day like 22:00", &is_time);
    }
    faults
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
            Err(vec![InvalidPreferences::TooDeep])
        );
        assert_eq!(
            Preferences::merged(json!({}), &json!({"a": "x".repeat(MAX_PREFERENCES_BYTES)})),
            Err(vec![InvalidPreferences::TooLarge])
        );
        assert_eq!(
            Preferences::merged(json!({}), &json!([])),
            Err(vec![InvalidPreferences::NotAnObject])
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
            Err(vec![InvalidPreferences::TooLarge])
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
            let faults = Preferences::merged(json!({}), &bad).unwrap_err();
            assert_eq!(
                faults.iter().map(InvalidPreferences::pointer).collect::<Vec<_>>(),
                [pointer]
            );
        }
        let all_wrong =
            json!({"theme": 1, "notifications": {"push": 1, "private": [], "quiet_hours": {"start": "x", "end": 7}}});
        assert_eq!(Preferences::faults_of_patch(&all_wrong).len(), 5);
        assert_eq!(
            Preferences::merged(json!({}), &json!({"notifications": {"quiet_hours": {}}}))
                .unwrap_err()
                .len(),
            2,
            "both ends are missing"
        );
    }

    #[test]
    fn a_patch_may_name_less_than_the_whole_and_remove() {
        let current = json!({"theme": "dark", "notifications": {"push": true, "quiet_hours": {"start": "22:00", "end": "07:00"}}});
        let patch = json!({"theme": null, "notifications": {"push": null, "quiet_hours": {"start": "23:00"}}});
        assert_eq!(
            Preferences::merged(current.clone(), &patch).unwrap().into_value(),
            json!({"notifications": {"quiet_hours": {"start": "23:00", "end": "07:00"}}})
        );
        let half = json!({"notifications": {"quiet_hours": {"start": null}}});
        assert_eq!(Preferences::faults_of_patch(&half), []);
        let faults = Preferences::merged(current, &half).unwrap_err();
        assert_eq!(faults[0].pointer(), "/notifications/quiet_hours/start");
    }
}
