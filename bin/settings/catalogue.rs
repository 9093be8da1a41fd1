//! Every setting as `.env.example` documents it, which is compiled in: the one table of names, sections and defaults.

use std::collections::BTreeMap;

/// The table.
const TABLE: &str = include_str!("../../.env.example");

/// A setting, as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Documented {
    /// The section it belongs to.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it is if it is not set; `None` if that is nothing, or depends on other settings.
    pub default: Option<&'static str>,
}

/// All settings, in the order of the table.
pub fn documented() -> Vec<Documented> {
    let mut section = "";
    let mut settings = Vec::new();
    for line in TABLE.lines() {
        if let Some(title) = line.strip_prefix("# --- ") {
            section = title.trim_end_matches('-').trim_end();
        } else if let Some((name, default)) = line.split_once('=').filter(|(name, _)| is_name(name)) {
            let default = Some(default).filter(|default| !default.is_empty());
            settings.push(Documented { section, name, default });
        }
    }
    settings
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_'))
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The environment of this process.
    Environment,
    /// `.env` in the working folder.
    DotEnv,
    /// The file that `NAME_FILE` names.
    File,
    /// Nowhere: the default counts.
    Default,
}

/// A setting as it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ShownSetting {
    /// Its name.
    pub name: &'static str,
    /// The section it belongs to.
    pub section: &'static str,
    /// What it is; a mask if that is a secret, `None` if it is nothing.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: Source,
}

/// A name that looks like one of ours and is none.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UnknownSetting {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub source: Source,
    /// Which one may be meant.
    pub similar: Option<&'static str>,
}

/// What stands in the place of a secret.
const MASK: &str = "********";
/// How many characters a name may differ from one of ours to be taken for it.
const TYPING_ERRORS: usize = 2;

/// Every setting with its value or a mask; `given` are the names that are set, with their values and sources.
pub(super) fn shown(given: &BTreeMap<&str, (&str, Source)>) -> Vec<ShownSetting> {
    let all = documented();
    let is_secret = |name: &str| all.iter().any(|other| other.name.strip_suffix("_FILE") == Some(name));
    let is_set = |name: &str| given.get(name).is_some_and(|(value, _)| !value.trim().is_empty());
    let show = |setting: &Documented| {
        let set = given.get(setting.name).filter(|(value, _)| !value.trim().is_empty());
        let file = format!("{}_FILE", setting.name);
        let (value, source) = match set {
            Some((_, source)) if is_secret(setting.name) => (Some(MASK.to_owned()), *source),
            Some((value, source)) => (Some(without_credentials(value.trim())), *source),
            None if is_secret(setting.name) && is_set(&file) => (Some(MASK.to_owned()), Source::File),
            None => (setting.default.map(str::to_owned), Source::Default),
        };
        ShownSetting {
            name: setting.name,
            section: setting.section,
            value,
            source,
        }
    };
    all.iter().map(show).collect()
}

/// The names that are none of ours: those in `.env`, and those of the environment that differ little from one.
pub(super) fn unknown(given: &BTreeMap<&str, (&str, Source)>) -> Vec<UnknownSetting> {
    let all = documented();
    let others = given
        .iter()
        .filter(|(name, _)| all.iter().all(|known| known.name != **name));
    others
        .filter_map(|(name, (_, source))| {
            let distance = |known: &Documented| strsim::damerau_levenshtein(known.name, name);
            let nearest = all.iter().min_by_key(|known| distance(known));
            let similar = nearest
                .filter(|known| distance(known) <= TYPING_ERRORS)
                .map(|known| known.name);
            // The environment is full of names that are nobody's business here; short ones are all alike.
            let is_ours = *source == Source::DotEnv || similar.is_some_and(|known| known.len() > 2 * TYPING_ERRORS + 2);
            is_ours.then(|| UnknownSetting {
                name: (*name).to_owned(),
                source: *source,
                similar,
            })
        })
        .collect()
}

/// A URL without the user and password that it may have, nor what may be a key in its query.
fn without_credentials(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.to_owned();
    };
    // Up to the last @: a password may hold whatever else ends the authority of a URL.
    let (userinfo, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => (format!("{MASK}@"), rest),
        None => (String::new(), rest),
    };
    let (address, query) = match rest.find(['?', '#']) {
        Some(at) => (&rest[..at], format!("{}{MASK}", &rest[at..=at])),
        None => (rest, String::new()),
    };
    format!("{scheme}://{userinfo}{address}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_sections_names_and_defaults() {
        let all = documented();
        assert_eq!(
            all[0],
            Documented {
                section: "Process",
                name: "ENVIRONMENT",
                default: Some("development")
            }
        );
        let of = |name| all.iter().find(|setting| setting.name == name).copied().unwrap();
        assert_eq!((of("PORT").section, of("PORT").default), ("Server", Some("8000")));
        assert_eq!(of("DATABASE_URL").default, None);
        assert!(all.len() > 60, "{}", all.len());
    }

    #[test]
    fn secrets_are_masked_wherever_they_come_from() {
        let given = BTreeMap::from([
            ("SECRET_KEY", ("hunter2", Source::Environment)),
            ("REDIS_URL_FILE", ("/run/secrets/redis", Source::DotEnv)),
            (
                "AI_MODEL_URL",
                ("https://me:hunter2@ai.example/v1", Source::Environment),
            ),
            ("PORT", (" 9000 ", Source::DotEnv)),
            (
                "AI_FALLBACK_URL",
                ("https://me:a/b?hunter2@ai.example/v1?key=hunter2", Source::Environment),
            ),
            ("HOST", ("", Source::Environment)),
            ("SENTRY_DSN_FILE", (" ", Source::DotEnv)),
        ]);
        let all = shown(&given);
        let of = |name| {
            let setting = all.iter().find(|setting| setting.name == name).unwrap();
            (setting.value.as_deref(), setting.source)
        };
        assert_eq!(of("SECRET_KEY"), (Some(MASK), Source::Environment));
        assert_eq!(of("REDIS_URL"), (Some(MASK), Source::File));
        assert_eq!(of("REDIS_URL_FILE"), (Some("/run/secrets/redis"), Source::DotEnv));
        assert_eq!(
            of("AI_MODEL_URL"),
            (Some("https://********@ai.example/v1"), Source::Environment)
        );
        assert_eq!(of("PORT"), (Some("9000"), Source::DotEnv));
        assert_eq!(of("HOST"), (Some("127.0.0.1"), Source::Default));
        let masked = "https://********@ai.example/v1?********";
        assert_eq!(of("AI_FALLBACK_URL"), (Some(masked), Source::Environment));
        assert_eq!(of("DATABASE_URL"), (None, Source::Default));
        assert_eq!(of("SENTRY_DSN"), (None, Source::Default), "an empty value is none");
        assert!(!format!("{all:?}").contains("hunter2"));
    }

    #[test]
    fn a_name_with_a_typing_error_is_told_and_those_of_others_are_not() {
        let given = BTreeMap::from([
            ("RATE_LIMIT_CAHT", ("1", Source::Environment)),
            ("PATH", ("/bin", Source::Environment)),
            ("PORTS", ("1", Source::Environment)),
            ("USER", ("root", Source::Environment)),
            ("SOMETHING_ELSE", ("1", Source::DotEnv)),
            ("REDIS_URL", ("redis://x", Source::DotEnv)),
        ]);
        let told: Vec<_> = unknown(&given)
            .into_iter()
            .map(|unknown| (unknown.name, unknown.similar))
            .collect();
        let expected = [
            ("RATE_LIMIT_CAHT".to_owned(), Some("RATE_LIMIT_CHAT")),
            ("SOMETHING_ELSE".to_owned(), None),
        ];
        assert_eq!(told, expected);
    }
}
