//! The file of rules: reads it, and refuses what would be wrong, ugly or without effect when somebody is in danger.

mod checks;
mod format;
mod places;

use std::collections::BTreeMap;

use cura_domain::notice::Notice;

use self::checks::{MAX_NAME_CHARS, check_languages, check_languages_are_known, check_text};
use self::format::{ByKey, RulesFile, SignsFile, WordingFile};
use self::places::read_places;
use crate::error::{InvalidRules, MAX_FILE_BYTES, wrong};
use crate::matcher::{Matcher, Meaning};
use crate::normalized_text::NormalizedText;
use crate::places::Places;
use crate::{CareRules, FALLBACK_LANGUAGE, Kind, Wording, emergency_name};

const MAX_PHRASE_CHARS: usize = 100;
const MAX_TITLE_CHARS: usize = 200;
const MAX_TEXT_CHARS: usize = 2_000;

/// Reads and checks a file of rules.
pub(super) fn read(json: &str) -> Result<CareRules, InvalidRules> {
    if json.len() > MAX_FILE_BYTES {
        return Err(InvalidRules::TooLarge);
    }
    let file: RulesFile = serde_json::from_str(json).map_err(|error| InvalidRules::Unreadable(error.to_string()))?;
    if file.kinds.is_empty() {
        return wrong("/kinds", "must have at least one kind");
    }
    let mut kinds: Vec<Kind> = Vec::new();
    let mut phrases = Vec::new();
    for (index, kind) in file.kinds.into_iter().enumerate() {
        let pointer = format!("/kinds/{index}");
        if kinds.iter().any(|earlier| earlier.name == kind.kind) {
            return wrong(format!("{pointer}/kind"), "is there twice");
        }
        check_text(&format!("{pointer}/kind"), &kind.kind, MAX_NAME_CHARS)?;
        phrases.extend(read_signs(&format!("{pointer}/signs"), index, kind.signs)?);
        kinds.push(Kind {
            notices: read_notices(&format!("{pointer}/notices"), kind.notices)?,
            name: kind.kind,
        });
    }
    let matcher = build_matcher(phrases)?;
    check_languages("/emergency_names", &file.emergency_names.0)?;
    for (language, name) in &file.emergency_names.0 {
        check_text(&format!("/emergency_names/{language}"), name, MAX_NAME_CHARS)?;
    }
    let places = read_places(file.international, file.countries.0, &kinds)?;
    Ok(CareRules {
        reviewed: file.reviewed,
        general_notice: general_notice(&kinds, &places, &file.emergency_names.0)?,
        places,
        kinds,
        matcher,
        emergency_names: file.emergency_names.0,
    })
}

/// As if every kind of danger had been found for a user of whom nothing is known.
fn general_notice(
    kinds: &[Kind],
    places: &Places,
    emergency_names: &BTreeMap<String, String>,
) -> Result<Notice, InvalidRules> {
    let gravest = kinds
        .first()
        .and_then(|kind| Some((kind, kind.notices.get(FALLBACK_LANGUAGE)?)));
    let Some((kind, wording)) = gravest else {
        return wrong("/kinds/0/notices", format!("must have \"{FALLBACK_LANGUAGE}\""));
    };
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
    Ok(Notice {
        kind: kind.name.clone(),
        title: wording.title.clone(),
        text: wording.text.clone(),
        resources: places.resources(None, None, &names, emergency_name(emergency_names, FALLBACK_LANGUAGE)),
    })
}

fn read_notices(pointer: &str, notices: ByKey<WordingFile>) -> Result<BTreeMap<String, Wording>, InvalidRules> {
    check_languages(pointer, &notices.0)?;
    let mut read = BTreeMap::new();
    for (language, WordingFile { title, text }) in notices.0 {
        check_text(&format!("{pointer}/{language}/title"), &title, MAX_TITLE_CHARS)?;
        check_text(&format!("{pointer}/{language}/text"), &text, MAX_TEXT_CHARS)?;
        read.insert(language, Wording { title, text });
    }
    Ok(read)
}

/// A phrase, where it stands in the file, and what it means.
struct Phrase {
    pointer: String,
    words: NormalizedText,
    meaning: Meaning,
}

fn read_signs(pointer: &str, kind: usize, signs: ByKey<SignsFile>) -> Result<Vec<Phrase>, InvalidRules> {
    check_languages_are_known(pointer, &signs.0)?;
    let mut phrases = Vec::new();
    for (language, signs) in signs.0 {
        for (list, texts) in [
            ("phrases", signs.phrases),
            ("words", signs.words),
            ("except", signs.except),
        ] {
            for (index, text) in texts.iter().enumerate() {
                let pointer = format!("{pointer}/{language}/{list}/{index}");
                check_text(&pointer, text, MAX_PHRASE_CHARS)?;
                let words = NormalizedText::of(text);
                if words.as_str().is_empty() {
                    return wrong(pointer, "must have letters or digits");
                }
                if list == "words" && !words.is_one_word() {
                    return wrong(pointer, "must be one word; several belong into phrases");
                }
                let meaning = Meaning {
                    kind,
                    language: language.clone(),
                    excepts: list == "except",
                };
                phrases.push(Phrase {
                    pointer,
                    words,
                    meaning,
                });
            }
        }
    }
    if !phrases.iter().any(|phrase| !phrase.meaning.excepts) {
        return wrong(pointer, "must have at least one phrase or word");
    }
    Ok(phrases)
}

/// Builds what finds the phrases, and lets it find those within exceptions: an exception without any has no effect.
fn build_matcher(phrases: Vec<Phrase>) -> Result<Matcher, InvalidRules> {
    let exceptions = phrases.iter().filter(|phrase| phrase.meaning.excepts);
    let exceptions: Vec<(String, NormalizedText, usize)> = exceptions
        .map(|phrase| (phrase.pointer.clone(), phrase.words.clone(), phrase.meaning.kind))
        .collect();
    let signs = Matcher::new(
        phrases
            .into_iter()
            .map(|phrase| (phrase.words, phrase.meaning))
            .collect(),
    )
    .or_else(|error| wrong("/kinds", format!("too many phrases: {error}")))?;
    for (pointer, words, kind) in exceptions {
        let all = 0..words.as_str().len();
        if words.has_stop(&all) {
            return wrong(
                pointer,
                "must have no punctuation between its words, as it would never be found",
            );
        }
        let within = signs
            .matches(&words)
            .filter(|(_, meaning)| meaning.kind == kind && !meaning.excepts);
        let spans: Vec<_> = within.map(|(span, _)| span).collect();
        if spans.is_empty() {
            return wrong(
                pointer,
                "must contain a phrase or word of its kind, as an exception cancels those it contains",
            );
        }
        if spans.contains(&all) {
            return wrong(
                pointer,
                "is itself a phrase or word of its kind, which would never count",
            );
        }
    }
    Ok(signs)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn small() -> Value {
        json!({
            "reviewed": true,
            "note": "for tests",
            "kinds": [{
                "kind": "danger",
                "notices": {"en": {"title": "Title", "text": "Text"}},
                "signs": {"en": {"phrases": ["a b"], "words": ["c"], "except": ["a b d"]}},
            }],
            "emergency_names": {"en": "Emergency"},
            "international": {"emergency": "112", "resources": {}},
            "countries": {"DE": {"emergency": "112", "time_zones": ["Europe/Berlin"], "resources": {"danger": [
                {"name": "N", "contact": "1", "url": "https://example.org/"}
            ]}}},
        })
    }

    #[test]
    fn an_operators_rules_replace_ours() {
        let rules = read(&small().to_string()).unwrap();
        assert!(rules.is_reviewed());
        assert_eq!(rules.check("kill myself", None, None), None);
        assert_eq!(rules.check("a b", Some("de-DE"), None).unwrap().resources.len(), 2);
        assert_eq!(rules.check("A-B D", None, None), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (pointer, value, said) in [
            ("/kinds", json!([]), "/kinds: must have at least one kind"),
            ("/kinds/0/notices", json!({}), "/kinds/0/notices: must have \"en\""),
            (
                "/kinds/0/notices/en/title",
                json!(" "),
                "/kinds/0/notices/en/title: must not be empty",
            ),
            (
                "/kinds/0/notices/en/text",
                json!("x".repeat(2001)),
                "text: must have at most 2000 characters",
            ),
            (
                "/kinds/0/signs",
                json!({}),
                "/kinds/0/signs: must have at least one phrase",
            ),
            (
                "/kinds/0/signs",
                json!({"german": {}}),
                "/kinds/0/signs/german: must be a language tag",
            ),
            (
                "/kinds/0/signs/en/phrases/0",
                json!("?!"),
                "/phrases/0: must have letters",
            ),
            ("/kinds/0/signs/en/words/0", json!("c-d"), "/words/0: must be one word"),
            (
                "/kinds/0/signs/en/except/0",
                json!("a bc"),
                "/except/0: must contain a phrase",
            ),
            (
                "/kinds/0/signs/en/except/0",
                json!("A b!"),
                "/except/0: is itself a phrase",
            ),
            (
                "/kinds/0/signs/en/except/0",
                json!("a b, d"),
                "/except/0: must have no punctuation",
            ),
            (
                "/emergency_names",
                json!({"de": "Notruf"}),
                "/emergency_names: must have \"en\"",
            ),
            (
                "/international/emergency",
                json!(""),
                "/international/emergency: must not be empty",
            ),
            (
                "/international/resources",
                json!({"x": []}),
                "/resources/x: must be the name of a kind",
            ),
            (
                "/countries/DE/time_zones/0",
                json!("Berlin"),
                "/time_zones/0: must be a time zone",
            ),
            (
                "/countries/DE/resources/danger/0/url",
                json!("http://example.org"),
                "/danger/0/url: must be an address",
            ),
            (
                "/countries/DE/resources/danger/0/url",
                json!("https://me@x.org"),
                "/danger/0/url: must be an address",
            ),
            (
                "/countries",
                json!({"Germany": {"emergency": "112", "resources": {}}}),
                "/countries/Germany: must be",
            ),
            (
                "/reviewed",
                json!("yes"),
                "invalid type: string \"yes\", expected a boolean at line 1",
            ),
        ] {
            let mut rules = small();
            *rules.pointer_mut(pointer).unwrap() = value;
            let error = read(&rules.to_string()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_line() {
        for (json, said) in [
            ("", "line 1"),
            ("{\n\"reviewed\": false,\n\"colour\": 1}", "unknown field `colour`"),
            (
                "{\n\"emergency_names\": {\"en\": \"a\",\n\"en\": \"b\"}}",
                "\"en\" is there twice at line 3",
            ),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("line"), "{error}");
        }
        assert_eq!(
            read(&" ".repeat(MAX_FILE_BYTES + 1)).unwrap_err(),
            InvalidRules::TooLarge
        );
    }

    #[test]
    fn a_time_zone_has_one_country_and_a_kind_one_place() {
        let mut rules = small();
        rules["countries"]["AT"] = rules["countries"]["DE"].clone();
        let error = read(&rules.to_string()).unwrap_err().to_string();
        assert!(error.contains("is a time zone of AT already"), "{error}");
        let mut rules = small();
        rules["kinds"] = json!([rules["kinds"][0], rules["kinds"][0]]);
        let error = read(&rules.to_string()).unwrap_err().to_string();
        assert!(error.contains("/kinds/1/kind: is there twice"), "{error}");
    }
}
