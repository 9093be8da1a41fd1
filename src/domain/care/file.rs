//! The file of rules: reads it, and refuses what would be wrong, ugly or without effect when somebody is in danger.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::problem::{InvalidRules, MAX_FILE_BYTES, wrong};
use super::signs::{Meaning, Signs};
use super::words::Words;
use super::{CareRules, FALLBACK_LANGUAGE, Kind, Places, Resource, Wording, places};
use crate::profile::{Language, TimeZone};

const MAX_PHRASE_CHARS: usize = 100;
const MAX_TITLE_CHARS: usize = 200;
const MAX_TEXT_CHARS: usize = 2_000;
const MAX_NAME_CHARS: usize = 200;
const MAX_URL_CHARS: usize = 500;
const MAX_RESOURCES: usize = 10;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    reviewed: bool,
    /// For people.
    #[serde(rename = "note")]
    _note: String,
    kinds: Vec<KindFile>,
    emergency_names: ByKey<String>,
    international: PlaceFile,
    countries: ByKey<PlaceFile>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct KindFile {
    kind: String,
    notices: ByKey<WordingFile>,
    signs: ByKey<SignsFile>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WordingFile {
    title: String,
    text: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SignsFile {
    #[serde(default)]
    phrases: Vec<String>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceFile {
    emergency: String,
    #[serde(default)]
    time_zones: Vec<String>,
    resources: ByKey<Vec<ResourceFile>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceFile {
    name: String,
    contact: String,
    url: Option<String>,
}

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
    let signs = build_signs(phrases)?;
    check_languages("/emergency_names", &file.emergency_names.0)?;
    for (language, name) in &file.emergency_names.0 {
        check_text(&format!("/emergency_names/{language}"), name, MAX_NAME_CHARS)?;
    }
    Ok(CareRules {
        reviewed: file.reviewed,
        places: read_places(file.international, file.countries.0, &kinds)?,
        kinds,
        signs,
        emergency_names: file.emergency_names.0,
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
    words: Words,
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
                let words = Words::of(text);
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
fn build_signs(phrases: Vec<Phrase>) -> Result<Signs, InvalidRules> {
    let exceptions = phrases.iter().filter(|phrase| phrase.meaning.excepts);
    let exceptions: Vec<(String, Words, usize)> = exceptions
        .map(|phrase| (phrase.pointer.clone(), phrase.words.clone(), phrase.meaning.kind))
        .collect();
    let signs = Signs::new(
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

fn read_places(
    international: PlaceFile,
    countries: BTreeMap<String, PlaceFile>,
    kinds: &[Kind],
) -> Result<Places, InvalidRules> {
    if !international.time_zones.is_empty() {
        return wrong("/international/time_zones", "must not be there");
    }
    let mut places = Places {
        international: read_place(
            "/international",
            international.emergency,
            international.resources,
            kinds,
        )?,
        ..Places::default()
    };
    for (code, country) in countries {
        let pointer = format!("/countries/{code}");
        if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return wrong(pointer, "must be a country code of two capital letters, like DE");
        }
        for (index, zone) in country.time_zones.into_iter().enumerate() {
            let pointer = format!("{pointer}/time_zones/{index}");
            if let Err(error) = TimeZone::new(&zone) {
                return wrong(pointer, error.to_string());
            }
            if let Some(other) = places.by_time_zone.insert(zone, code.clone()) {
                return wrong(pointer, format!("is a time zone of {other} already"));
            }
        }
        let place = read_place(&pointer, country.emergency, country.resources, kinds)?;
        places.countries.insert(code, place);
    }
    Ok(places)
}

fn read_place(
    pointer: &str,
    emergency: String,
    resources: ByKey<Vec<ResourceFile>>,
    kinds: &[Kind],
) -> Result<places::Place, InvalidRules> {
    check_text(&format!("{pointer}/emergency"), &emergency, MAX_NAME_CHARS)?;
    let mut by_kind = BTreeMap::new();
    for (kind, resources) in resources.0 {
        let pointer = format!("{pointer}/resources/{kind}");
        if !kinds.iter().any(|known| known.name == kind) {
            return wrong(pointer, "must be the name of a kind");
        }
        if resources.len() > MAX_RESOURCES {
            return wrong(pointer, format!("must have at most {MAX_RESOURCES} resources"));
        }
        let mut read = Vec::new();
        for (index, ResourceFile { name, contact, url }) in resources.into_iter().enumerate() {
            check_text(&format!("{pointer}/{index}/name"), &name, MAX_NAME_CHARS)?;
            check_text(&format!("{pointer}/{index}/contact"), &contact, MAX_NAME_CHARS)?;
            if url.as_deref().is_some_and(|url| !is_https(url)) {
                return wrong(
                    format!("{pointer}/{index}/url"),
                    "must be an address that begins with https://",
                );
            }
            read.push(Resource { name, contact, url });
        }
        by_kind.insert(kind, read);
    }
    Ok(places::Place {
        emergency,
        resources: by_kind,
    })
}

fn is_https(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .and_then(|rest| rest.split(['/', '?', '#']).next());
    url.len() <= MAX_URL_CHARS
        && url.bytes().all(|byte| byte.is_ascii_graphic())
        && host.is_some_and(|host| !host.starts_with('.') && host.contains('.') && !host.contains('@'))
}

fn check_text(pointer: &str, text: &str, max: usize) -> Result<(), InvalidRules> {
    if crate::text::is_blank(text) {
        return wrong(pointer, "must not be empty");
    }
    if text.chars().count() > max {
        return wrong(pointer, format!("must have at most {max} characters"));
    }
    Ok(())
}

fn check_languages<T>(pointer: &str, map: &BTreeMap<String, T>) -> Result<(), InvalidRules> {
    check_languages_are_known(pointer, map)?;
    if !map.contains_key(FALLBACK_LANGUAGE) {
        return wrong(
            pointer,
            format!("must have \"{FALLBACK_LANGUAGE}\", for everybody whose language is not there"),
        );
    }
    Ok(())
}

fn check_languages_are_known<T>(pointer: &str, map: &BTreeMap<String, T>) -> Result<(), InvalidRules> {
    let is_known = |tag: &&String| Language::new(tag).is_ok_and(|known| known.as_str() == *tag);
    match map.keys().find(|tag| !is_known(tag)) {
        Some(tag) => wrong(
            format!("{pointer}/{tag}"),
            "must be a language tag of BCP 47, like de or pt-BR",
        ),
        None => Ok(()),
    }
}

/// A map that refuses a key that is there twice: the later one would silently replace the earlier one.
struct ByKey<T>(BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByKey<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeyVisitor(PhantomData))
    }
}

struct KeyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for KeyVisitor<T> {
    type Value = ByKey<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry::<String, T>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("\"{key}\" is there twice")));
            }
            map.insert(key, value);
        }
        Ok(ByKey(map))
    }
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
