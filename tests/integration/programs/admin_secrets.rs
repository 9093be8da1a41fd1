//! Nothing that any command prints or logs holds a hash, a token, a key or a word of a message.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;

use cura_tests::{Cura, FcmServer, Form, ScriptedProvider};
use reqwest::Method;
use serde_json::json;

use super::admin::{admin, text};
use crate::files::samples;

/// Words of the person, and what they call things.
const WORDS: [&str; 5] = ["magnesium", "diazepam", "my-diagnosis", "biopsy", "ada-s-phone"];
/// Secrets of the installation and of the person.
const KEYS: [&str; 5] = [
    "an-installation-s-secret-of-more-than-thirty-two-bytes",
    "key-of-the-ai-service",
    "token-of-a-phone",
    "a long password",
    "$argon2",
];
const ADDRESS: &str = "ada@example.com";

/// Every command, in an order in which what it is about is still there. `{…}` is filled in.
const COMMANDS: &[&str] = &[
    "migrate status",
    "migrate up",
    "users list",
    "users list --search ada",
    "users show ada@example.com",
    "users create --email bob@example.com --name Bob",
    "users promote bob@example.com",
    "users demote bob@example.com",
    "users suspend bob@example.com --reason spam",
    "users restore bob@example.com",
    "users set-password bob@example.com",
    "users sign-out bob@example.com",
    "users verify-erased 1",
    "devices list",
    "devices show {device}",
    "devices why {answer}",
    "devices prune",
    "files list",
    "files show {file}",
    "files rescan {file}",
    "jobs stats",
    "jobs list",
    "jobs show {job}",
    "jobs workers",
    "jobs pause send-push --reason test",
    "jobs resume send-push",
    "jobs retry {job}",
    "jobs cancel {job}",
    "jobs prune --state done --before 2000-01-01T00:00:00Z",
    "switch",
    "switch uploads off --reason test",
    "switch uploads on --reason test",
    "announce --title Maintenance --text Soon --until 2h",
    "announce list",
    "announce end 1",
    "explain message {answer}",
    "explain request {request}",
    "ai status",
    "usage",
    "usage --by user",
    "usage --by model --csv",
    "doctor",
    "doctor --ai",
    "config show",
    "config check",
    "audit list",
    "backup --output {archive}",
    "backup verify {archive}",
    "restore --input {archive}",
    "openapi",
    "secret",
    "completions bash",
    "files delete {file}",
    "users delete ada@example.com",
    "migrate down",
];

/// The commands whose data are addresses.
fn may_name_people(command: &str) -> bool {
    ["users list", "users show", "users create"]
        .iter()
        .any(|which| command.starts_with(which))
}

/// The names of all commands, as they say themselves.
fn all_commands() -> BTreeSet<String> {
    let reference = text(&admin(&["reference"], &[]).stdout);
    let names = reference
        .lines()
        .filter_map(|line| line.strip_prefix("### `cura-admin ")?.strip_suffix('`'));
    names.map(str::to_owned).collect()
}

#[test]
fn every_command_is_among_those_that_are_read() {
    let missing: Vec<String> = all_commands()
        .into_iter()
        .filter(|name| {
            !COMMANDS
                .iter()
                .any(|command| *command == name || command.starts_with(&format!("{name} ")))
        })
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_prints_a_secret_or_a_word_of_anybody() {
    let provider = ScriptedProvider::answering(&["diazepam ", "helps"], Duration::ZERO).await;
    let fcm = FcmServer::start().await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with_fcm(&fcm)
        .with("SECRET_KEY", KEYS[0])
        .with("AI_MODEL_API_KEY", KEYS[1])
        .start()
        .await;
    let user = cura.client().register(ADDRESS).await;
    let titled = user.post("/conversations", &json!({ "title": "my-diagnosis" })).await;
    let device = json!({ "platform": "ios", "fcm_token": KEYS[2], "device_name": "ada-s-phone" });
    let device = user.post("/devices/register", &device).await;
    let upload = user.upload(Form::of("biopsy.jpg", samples::JPEG)).await;
    assert_eq!(upload.status, 201, "{}", upload.body);
    user.until_scanned(&upload.body["id"]).await;
    let request = user.request(Method::POST, "/chat/send");
    let body = json!({ "content": "magnesium", "conversation_id": titled.body["id"] });
    let sent = user.send(request.json(&body)).await;
    let job: String = sqlx::query_scalar("SELECT id FROM apalis.jobs WHERE job_type = 'generate-answer'")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let values = [
        ("{archive}", folder.path().join("a.tar").display().to_string()),
        ("{device}", device.body["id"].to_string()),
        ("{file}", upload.body["id"].to_string()),
        ("{answer}", sent.body["assistant_message"]["id"].to_string()),
        ("{request}", sent.header("x-request-id").unwrap_or_default().to_owned()),
        ("{job}", job),
    ];
    for (name, value) in &values {
        assert!(
            !value.is_empty() && value != "null",
            "{name}: {} {} {}",
            device.body,
            upload.body,
            sent.body
        );
    }
    let variables = cura.variables_with(&[
        ("CURA_OPERATOR", "night".to_owned()),
        ("CURA_PASSWORD", "a long password of bob".to_owned()),
        ("RUST_LOG", "trace".to_owned()),
    ]);
    for command in COMMANDS {
        let filled = values.iter().fold((*command).to_owned(), |command, (name, value)| {
            command.replace(name, value)
        });
        for more in [&["--yes"][..], &["--yes", "--json"][..]] {
            let is_csv = filled.contains("--csv") && more.len() == 2;
            if is_csv {
                continue;
            }
            let arguments: Vec<&str> = filled.split(' ').chain(more.iter().copied()).collect();
            let output = admin(&arguments, &variables);
            assert_holds_nothing(&filled, &output);
            // It did something, rather than to fail before it could print anything.
            assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{filled}");
            // Wrong usage, or a dependency that is away, would have kept it from that.
            let code = output.status.code();
            assert!(code != Some(2) && code != Some(5), "{filled}: {}", text(&output.stderr));
        }
    }
}

fn assert_holds_nothing(command: &str, output: &Output) {
    let said = text(&output.stdout) + &text(&output.stderr);
    for secret in WORDS.iter().chain(&KEYS) {
        assert!(!said.contains(secret), "{command} says {secret}: {said}");
    }
    assert!(
        may_name_people(command) || !said.contains('@') || names_nobody(command),
        "{command}: {said}"
    );
    assert!(
        !text(&output.stderr).contains("ada@"),
        "{command}: {}",
        text(&output.stderr)
    );
}

/// Documents of ours have example addresses, and settings the hosts of connections.
fn names_nobody(command: &str) -> bool {
    ["openapi", "completions", "config", "doctor", "migrate"]
        .iter()
        .any(|which| command.starts_with(which))
}
