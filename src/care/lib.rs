//! Crisis notices: finds words that point to acute danger and gives the notice to show beside the answer.
//!
//! A notice never blocks, replaces or delays an answer. Each text is scanned once, in time that grows linearly with its
//! length. Patterns match on word boundaries; the text is not understood, so the rules err towards a notice too many.
//! Patterns, texts and numbers are data (`data/care.json`) that professionals review and operators can replace.

mod error;
#[cfg(test)]
mod example_sentences;
mod matcher;
mod normalized_text;
mod places;
mod rules_file;

use std::collections::BTreeMap;

use cura_domain::notice::Notice;

pub use self::error::InvalidRules;
use self::matcher::Matcher;
use self::places::Places;

/// The rules that ship with Cura.
const BUILT_IN: &str = include_str!("data/care.json");
/// The language in which every kind of notice exists.
const FALLBACK_LANGUAGE: &str = "en";

/// What to look for, and which notice to show for it. Immutable and large: share it behind an `Arc`.
#[derive(Debug, Clone)]
pub struct CareRules {
    reviewed: bool,
    /// In order of precedence.
    kinds: Vec<Kind>,
    matcher: Matcher,
    places: Places,
    emergency_names: BTreeMap<String, String>,
    general_notice: Notice,
}

/// A kind of danger, and its notice by language.
#[derive(Debug, Clone)]
struct Kind {
    name: String,
    notices: BTreeMap<String, Wording>,
}

#[derive(Debug, Clone)]
struct Wording {
    title: String,
    text: String,
}

impl CareRules {
    /// The rules that ship with Cura.
    ///
    /// # Errors
    /// [`InvalidRules`] if the file in the source tree is broken; a test proves that it is not.
    pub fn built_in() -> Result<Self, InvalidRules> {
        Self::parse(BUILT_IN)
    }

    /// Reads an operator's rules.
    ///
    /// # Errors
    /// [`InvalidRules`], which names the value that is wrong and where it is.
    pub fn parse(json: &str) -> Result<Self, InvalidRules> {
        rules_file::read(json)
    }

    /// Whether professionals have reviewed the rules, as the file itself states.
    pub fn is_reviewed(&self) -> bool {
        self.reviewed
    }

    /// The notice for `text`, if it matches a pattern of danger.
    ///
    /// `language` (BCP 47) and `time_zone` (IANA) come from the user's profile. Patterns of every language are tried; the
    /// notice is in the profile's language, else in the language of the matches, else in English. Its resources are those
    /// of the profile's region and of the time zone's country: of both when they differ, because a language says little
    /// about where the user is, and a number that does not work there is no help.
    pub fn check(&self, text: &str, language: Option<&str>, time_zone: Option<&str>) -> Option<Notice> {
        let matched = self.matcher.find(text);
        let first = matched.first()?;
        let kind = self.kinds.get(first.kind)?;
        let languages = [language, Some(&*first.language), Some(FALLBACK_LANGUAGE)];
        let (spoken, wording) = languages
            .into_iter()
            .flatten()
            .find_map(|tag| by_language(&kind.notices, tag))?;
        let kinds = matched.iter().filter_map(|matched| self.kinds.get(matched.kind));
        let kinds: Vec<&str> = kinds.map(|kind| kind.name.as_str()).collect();
        Some(Notice {
            kind: kind.name.clone(),
            title: wording.title.clone(),
            text: wording.text.clone(),
            resources: self.places.resources(
                language,
                time_zone,
                &kinds,
                emergency_name(&self.emergency_names, spoken),
            ),
        })
    }

    /// The notice to show when a notice is due but neither the kind of danger nor the user's place is known: the gravest
    /// kind, in English, with the international resources for every kind.
    pub fn general_notice(&self) -> &Notice {
        &self.general_notice
    }
}

/// What the emergency services are called in `language`, else in English.
fn emergency_name<'a>(names: &'a BTreeMap<String, String>, language: &str) -> &'a str {
    by_language(names, language)
        .or_else(|| by_language(names, FALLBACK_LANGUAGE))
        .map_or("", |(_, name)| name)
}

/// The entry of `map` for `tag`, or for `tag` with fewer and fewer subtags.
fn by_language<'a, T>(map: &'a BTreeMap<String, T>, mut tag: &str) -> Option<(&'a str, &'a T)> {
    loop {
        if let Some((key, value)) = map.get_key_value(tag) {
            return Some((key, value));
        }
        tag = tag.rsplit_once('-')?.0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DESPAIR: &str = "I don’t want to live anymore";

    fn check(text: &str, language: Option<&str>, time_zone: Option<&str>) -> Notice {
        CareRules::built_in().unwrap().check(text, language, time_zone).unwrap()
    }

    fn contacts(language: Option<&str>, time_zone: Option<&str>) -> Vec<String> {
        let notice = check(DESPAIR, language, time_zone);
        notice.resources.into_iter().map(|resource| resource.contact).collect()
    }

    #[test]
    fn the_built_in_rules_can_be_read_and_are_not_reviewed_yet() {
        let rules = CareRules::parse(BUILT_IN).unwrap();
        let kinds: Vec<_> = rules.kinds.iter().map(|kind| kind.name.as_str()).collect();
        assert_eq!(kinds, ["medical_emergency", "suicide_or_self_harm"]);
        for kind in &rules.kinds {
            assert_eq!(kind.notices.len(), 8, "{}", kind.name);
        }
        assert!(!CareRules::built_in().unwrap().is_reviewed());
    }

    #[test]
    fn a_notice_is_in_the_language_of_the_profile_or_of_the_matches_or_english() {
        let german = "Du musst da nicht allein durch";
        let english = "You do not have to go through this alone";
        for (text, language, title) in [
            (DESPAIR, Some("de"), german),
            (DESPAIR, Some("de-Latn-AT"), german),
            (DESPAIR, Some("ja"), english),
            (DESPAIR, None, english),
            ("Ich will nicht mehr leben", None, german),
            ("Ich will nicht mehr leben", Some("ja"), german),
            ("Ich will nicht mehr leben", Some("en-GB"), english),
            // A word of several languages.
            ("suicidal", None, english),
        ] {
            assert_eq!(check(text, language, None).title, title, "{text} {language:?}");
        }
    }

    #[test]
    fn resources_are_those_of_the_region_or_else_of_the_time_zone() {
        let austria = ["144, 112", "142", "147"];
        assert_eq!(contacts(Some("de-AT"), None), austria);
        assert_eq!(contacts(Some("de-AT"), Some("Europe/Vienna")), austria);
        assert_eq!(contacts(Some("de"), Some("Europe/Vienna")), austria);
        assert_eq!(contacts(None, Some("Europe/Vienna")), austria);
        assert_eq!(
            contacts(Some("de-LI"), Some("Europe/Vienna")),
            austria,
            "no resources for LI"
        );
        assert_eq!(
            contacts(Some("en"), Some("Asia/Calcutta")),
            ["112", "14416, 1800-891-4416"]
        );
    }

    #[test]
    fn both_countries_are_listed_when_language_and_time_zone_differ() {
        let notice = check(DESPAIR, Some("en-US"), Some("Europe/Berlin"));
        let names: Vec<_> = notice.resources.iter().map(|r| (&*r.name, &*r.contact)).collect();
        assert_eq!(names[0], ("Emergency number (DE)", "112"));
        assert_eq!(names[1], ("Emergency number (US)", "911"));
        assert!(names.iter().any(|(_, contact)| contact.starts_with("988")));
        assert!(names.iter().any(|(name, _)| *name == "TelefonSeelsorge"));
    }

    #[test]
    fn without_a_country_the_resources_are_international() {
        for (language, time_zone) in [
            (None, None),
            (Some("en"), Some("UTC")),
            (Some("es-419"), None),
            (Some("no tag"), Some("Mars/Olympus")),
        ] {
            assert_eq!(contacts(language, time_zone)[1], "findahelpline.com");
        }
    }

    #[test]
    fn the_general_notice_names_an_emergency_number_and_a_helpline_for_any_country() {
        let rules = CareRules::built_in().unwrap();
        let everything = check("I took all my pills. I want to die.", None, None);
        assert_eq!(*rules.general_notice(), everything);
        let contacts: Vec<_> = everything.resources.iter().map(|r| r.contact.as_str()).collect();
        assert!(
            contacts[0].starts_with("112 (EU), 911") && contacts[1] == "findahelpline.com",
            "{contacts:?}"
        );
    }

    #[test]
    fn an_emergency_comes_first_and_services_that_listen_are_listed_too() {
        let notice = check("I took all my pills. I want to die.", Some("en-GB"), None);
        assert_eq!(notice.kind, "medical_emergency");
        let contacts: Vec<_> = notice.resources.iter().map(|r| r.contact.as_str()).collect();
        assert_eq!(contacts, ["999", "116 123", "Text SHOUT to 85258"]);
        let notice = check("I can't breathe", Some("en-GB"), None);
        assert_eq!(notice.resources.len(), 1);
    }

    #[test]
    fn every_country_has_an_emergency_number_and_a_service_that_listens() {
        for country in [
            "US", "CA", "GB", "IE", "DE", "AT", "CH", "FR", "ES", "IT", "PT", "NL", "BE", "PL", "AU", "NZ", "IN", "BR",
        ] {
            let contacts = contacts(Some(&format!("en-{country}")), None);
            assert!(
                contacts.len() > 1 && !contacts[1].contains("findahelpline"),
                "{country}"
            );
        }
    }

    #[test]
    fn a_notice_survives_json() {
        let notice = check(DESPAIR, Some("pt-PT"), None);
        let json = serde_json::to_string(&notice).unwrap();
        assert_eq!(serde_json::from_str::<Notice>(&json).unwrap(), notice);
    }

    proptest! {
        #[test]
        fn any_text_can_be_checked(text in ".*", language in ".*", time_zone in ".*") {
            static RULES: std::sync::LazyLock<CareRules> = std::sync::LazyLock::new(|| CareRules::built_in().unwrap());
            let _ = RULES.check(&text, Some(&language), Some(&time_zone));
            let around = format!("{text} kill myself {text}");
            prop_assert!(RULES.check(&around, Some(&language), Some(&time_zone)).is_some());
        }
    }
}
