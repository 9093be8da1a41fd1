//! `cura-admin config`: the settings as they are, and everything that is wrong with them at once.

use std::process::{Command, Output};

use cura_tests::program;
use serde_json::{Value, json};

use super::admin::text;

/// Runs a command in a folder with this `.env`.
fn run(dot_env: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), dot_env).unwrap();
    let mut command = Command::new(program::path("cura-admin"));
    command
        .arg("config")
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied());
    let output = command.current_dir(folder.path()).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!said.contains("hunter2"), "{said}");
    output
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_setting_is_shown_with_its_source_and_secrets_are_not() {
    let dot_env = "PORT=9000\nREDIS_URL=redis://:hunter2@cache\nSECRET_KEY_FILE=/run/secrets/key\nRATE_LIMIT_CAHT=3\n";
    let variables = [("PORT", "9001"), ("AI_MODEL_URL", "https://me:hunter2@ai.example/v1")];
    let shown = run(dot_env, &variables, &["show", "--json"]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let shown = json_of(&shown);
    let of = |name: &str| {
        let items = shown["items"].as_array().unwrap();
        items.iter().find(|item| item["name"] == name).unwrap().clone()
    };
    assert_eq!(
        of("PORT"),
        json!({ "name": "PORT", "section": "Server", "value": "9001", "source": "environment" })
    );
    assert_eq!(
        (&of("REDIS_URL")["value"], &of("REDIS_URL")["source"]),
        (&json!("********"), &json!("dot_env"))
    );
    assert_eq!(
        (&of("SECRET_KEY")["value"], &of("SECRET_KEY")["source"]),
        (&json!("********"), &json!("file"))
    );
    assert_eq!(of("AI_MODEL_URL")["value"], "https://********@ai.example/v1");
    assert_eq!(
        (&of("HOST")["value"], &of("HOST")["source"]),
        (&json!("127.0.0.1"), &json!("default"))
    );
    let unknown = json!([{ "name": "RATE_LIMIT_CAHT", "source": "dot_env", "similar": "RATE_LIMIT_CHAT" }]);
    assert_eq!(shown["unknown"], unknown);
    let set = json_of(&run(dot_env, &variables, &["show", "--set", "--json"]));
    assert_eq!(set["items"].as_array().unwrap().len(), 5);
    let read = run(dot_env, &variables, &["show"]);
    assert!(text(&read.stderr).contains("RATE_LIMIT_CAHT is no setting; RATE_LIMIT_CHAT may be meant"));
}

#[test]
fn all_that_is_wrong_is_named_at_once() {
    let good = [("DATABASE_URL", "postgres://db/cura"), ("REDIS_URL", "redis://cache")];
    let checked = run("", &good, &["check", "--json"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
    assert_eq!(
        json_of(&checked),
        json!({ "items": [], "next_cursor": null, "unknown": [] })
    );
    assert_eq!(
        run("", &[], &["check", "--program", "dev"]).status.code(),
        Some(0),
        "development needs none"
    );

    let dot_env = "PORT=hunter2\nENVIRONMENT=production\nRATE_LIMIT_CHAT=many\n";
    let checked = run(dot_env, &[("REDIS_URL", "http://hunter2")], &["check", "--json"]);
    assert_eq!(checked.status.code(), Some(3));
    let mut named: Vec<String> = json_of(&checked)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["name"].as_str().unwrap().to_owned())
        .collect();
    named.sort();
    named.dedup();
    assert_eq!(
        named,
        [
            "AI_MODEL_URL",
            "DATABASE_URL",
            "PORT",
            "RATE_LIMIT_CHAT",
            "REDIS_URL",
            "SECRET_KEY"
        ]
    );
    let error: Value = serde_json::from_slice(&checked.stderr).unwrap();
    assert_eq!(error["error"]["code"], "settings_wrong");
    let unreadable = run("not a setting\n", &[], &["check", "--json"]);
    assert_eq!(unreadable.status.code(), Some(1), "{}", text(&unreadable.stderr));
}

#[test]
fn the_page_for_the_queue_needs_a_program_that_was_built_with_it() {
    let variables = [
        ("ADMIN_PORT", "9100"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/none"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
    ];
    for (asked, faults) in [("server", 1), ("worker", 0), ("all", 1)] {
        let checked = run("", &variables, &["check", "--json", "--program", asked]);
        let items = json_of(&checked)["items"].as_array().unwrap().clone();
        assert_eq!(items.len(), faults, "{asked}: {items:?}");
        assert!(items.iter().all(|fault| fault["name"] == "ADMIN_PORT"), "{items:?}");
        assert_eq!(checked.status.code(), Some(if faults > 0 { 3 } else { 0 }), "{asked}");
    }
}
