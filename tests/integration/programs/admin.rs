//! `cura-admin`: migrations, secrets, the OpenAPI document, and exit codes.

use std::process::{Command, Output};

use cura_providers::push::VapidKey;
use cura_tests::{TestDatabase, program};
use serde_json::Value;

pub(super) fn admin(arguments: &[&str], variables: &[(&str, String)]) -> Output {
    let mut command = Command::new(program::path("cura-admin"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (*name, value)));
    command.current_dir("/tmp").output().unwrap()
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn migrations_go_up_down_and_tell_how_they_stand() {
    let database = TestDatabase::empty().await;
    let variables = [("DATABASE_URL", database.url())];
    let status = |code| {
        let output = admin(&["migrate", "status", "--json"], &variables);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let before = status(3);
    let all = before["items"].as_array().unwrap().len();
    assert_eq!(before["pending"], all);
    assert_eq!(admin(&["migrate", "up"], &variables).status.code(), Some(0));
    assert_eq!(status(0)["pending"], 0);
    assert_eq!(
        admin(&["migrate", "up"], &variables).status.code(),
        Some(0),
        "again changes nothing"
    );
    let refused = admin(&["migrate", "down"], &variables);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--yes"));
    let down = admin(&["migrate", "down", "--steps", "99", "--yes", "--json"], &variables);
    assert_eq!(down.status.code(), Some(0), "{}", text(&down.stderr));
    let taken_back = serde_json::from_slice::<Value>(&down.stdout).unwrap();
    assert!(taken_back["reverted"].as_array().unwrap().len() >= 3, "{taken_back}");
    assert_eq!(status(3)["pending"], taken_back["reverted"].as_array().unwrap().len());
    assert_eq!(admin(&["migrate", "up"], &variables).status.code(), Some(0));
    assert_eq!(status(0)["pending"], 0);
    for line in text(&admin(&["migrate", "status"], &variables).stdout).lines().skip(1) {
        assert!(line.starts_with("applied"), "{line}");
    }
}

#[tokio::test]
async fn a_migration_may_take_its_time() {
    let database = TestDatabase::empty().await;
    let migrating = cura_store::Database::connect_for_migrations(&database.url(), "test").unwrap();
    for limit in [
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
    ] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(limit)
            .fetch_one(migrating.pool())
            .await
            .unwrap();
        assert_eq!(value, "0", "{limit}");
    }
}

#[test]
fn secrets_are_random_and_the_document_is_the_committed_one() {
    let secret = || text(&admin(&["secret"], &[]).stdout).trim().to_owned();
    assert!(secret().len() == 64 && secret() != secret());
    let told: Value = serde_json::from_slice(&admin(&["secret", "--json"], &[]).stdout).unwrap();
    assert_eq!(told["secret_key"].as_str().unwrap().len(), 64);
    let printed: Value = serde_json::from_slice(&admin(&["openapi"], &[]).stdout).unwrap();
    let committed = include_str!("../../../openapi/openapi.json");
    assert_eq!(
        printed,
        serde_json::from_str::<Value>(committed).unwrap(),
        "run `make generate`"
    );
}

#[test]
fn a_vapid_key_is_printed_alone_and_its_public_half_is_explained() {
    let printed = admin(&["secret", "--vapid"], &[]);
    let (private, said) = (text(&printed.stdout), text(&printed.stderr));
    let key = VapidKey::parse(private.trim_end()).unwrap();
    assert_eq!(private.lines().count(), 1);
    assert!(
        said.contains(&key.public_text()) && said.contains("VAPID_SUBJECT"),
        "{said}"
    );
    assert!(!said.contains(private.trim_end()), "{said}");
    let pair: Value = serde_json::from_slice(&admin(&["secret", "--vapid", "--json"], &[]).stdout).unwrap();
    let other = VapidKey::parse(pair["private_key"].as_str().unwrap()).unwrap();
    assert_eq!(pair["public_key"], other.public_text());
    assert_ne!(other.public_text(), key.public_text());
}

#[test]
fn wrong_usage_has_its_own_exit_code_and_is_told_to_programs_as_json() {
    for wrong in [
        &["migrate", "sideways"][..],
        &[],
        &["audit", "list", "--limit", "0"],
        &["secret", "--what"],
    ] {
        let plain = admin(wrong, &[]);
        assert_eq!(plain.status.code(), Some(2), "{wrong:?}");
        let told = admin(&[wrong, &["--json"]].concat(), &[]);
        assert_eq!(told.status.code(), Some(2), "{wrong:?}");
        let error: Value = serde_json::from_slice(&told.stderr).unwrap();
        assert_eq!(error["error"]["code"], "usage", "{wrong:?}: {error}");
    }
}

#[test]
fn the_manual_lists_every_command_and_shells_complete_them() {
    let reference = text(&admin(&["reference"], &[]).stdout);
    let manual = include_str!("../../../docs/CLI.md");
    assert!(manual.ends_with(&reference), "docs/CLI.md is old: run `make generate`");
    let exit_codes = text(&admin(&["--help"], &[]).stdout);
    assert!(exit_codes.contains("3 the answer is no"), "{exit_codes}");
    let folder = tempfile::tempdir().unwrap();
    let written = admin(&["man", folder.path().to_str().unwrap()], &[]);
    assert_eq!(written.status.code(), Some(0), "{}", text(&written.stderr));
    let pages = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(pages > reference.matches("\n### ").count(), "{pages} pages");
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            text(&admin(&["completions", shell], &[]).stdout).contains("cura-admin"),
            "{shell}"
        );
    }
}
