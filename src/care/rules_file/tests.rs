//! Rules files that are accepted and such that are refused.

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
fn an_operators_rules_replace_the_built_in_ones() {
    let rules = read(&small().to_string()).unwrap();
    assert!(rules.is_reviewed());
    assert_eq!(rules.check("kill myself", None, None), None);
    assert_eq!(rules.check("a b", Some("de-DE"), None).unwrap().resources.len(), 2);
    assert_eq!(rules.check("A-B D", None, None), None);
}

#[test]
fn errors_name_the_place_in_the_file() {
    for (pointer, value, expected) in [
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
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn syntax_errors_name_the_line() {
    for (json, expected) in [
        ("", "line 1"),
        ("{\n\"reviewed\": false,\n\"colour\": 1}", "unknown field `colour`"),
        (
            "{\n\"emergency_names\": {\"en\": \"a\",\n\"en\": \"b\"}}",
            "\"en\" is there twice at line 3",
        ),
    ] {
        let error = read(json).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("line"), "{error}");
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
