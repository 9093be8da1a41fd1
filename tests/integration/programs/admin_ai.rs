//! `cura-admin ai status` and `doctor --ai`: what workers say of AI providers, and whether a service does what Cura expects.

use std::process::Output;
use std::time::Duration;

use cura_tests::provider::{Request, Step, answer, chunk, refusal};
use cura_tests::{Cura, ScriptedProvider, TestDatabase, eventually};
use serde_json::{Value, json};

use super::admin::{admin, text};
use super::admin_devices::assert_fails;

/// The key of the service, which no output may hold.
const KEY: &str = "hunter2";

fn status(cura: &Cura) -> Value {
    let output = admin(&["ai", "status", "--json"], &[("DATABASE_URL", cura.database.url())]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn each_worker_says_why_it_asks_a_provider_no_more() {
    let provider = ScriptedProvider::start(|_, _| {
        refusal(
            "503 Service Unavailable",
            "",
            &json!({ "error": { "message": "magnesium" } }),
        )
    })
    .await;
    let cura = Cura::builder().with_provider(&provider).workers(2).start().await;
    let workers = eventually("both say that all is well", async || {
        let status = status(&cura);
        let items = status["items"].as_array()?.clone();
        let is_closed = |worker: &Value| worker["providers"][0]["state"] == "closed";
        (items.len() == 2 && items.iter().all(is_closed)).then_some(status)
    })
    .await;
    assert_eq!(workers["next_cursor"], Value::Null);
    let mut first = workers["items"][0].clone();
    for varies in ["worker", "said_at"] {
        assert!(first[varies].is_string(), "{first}");
        first[varies] = Value::Null;
    }
    insta::assert_snapshot!("ai_status", format!("{first:#}"));

    for email in ["ada@example.com", "bob@example.com", "cy@example.com"] {
        let user = cura.client().register(email).await;
        for _ in 0..2 {
            user.ask("Hi").await;
        }
    }
    let open = eventually("one asks no more", async || {
        let status = status(&cura);
        let providers = status["items"]
            .as_array()?
            .iter()
            .map(|worker| worker["providers"][0].clone());
        providers.into_iter().find(|provider| provider["state"] == "open")
    })
    .await;
    assert_eq!(open["reason"], "provider_unavailable", "{open}");
    assert!(open["retry_after_ms"].is_u64(), "{open}");
    let read = text(&admin(&["ai", "status"], &[("DATABASE_URL", cura.database.url())]).stdout);
    assert!(read.contains("provider_unavailable"), "{read}");
    assert!(!read.contains("magnesium") && !read.contains('@'), "{read}");
}

#[tokio::test]
async fn a_worker_of_a_release_before_says_nothing_and_nobody_there_is_an_empty_list() {
    let database = TestDatabase::create().await;
    let run = |arguments: &[&str]| {
        admin(
            &[&["ai", "status"], arguments].concat(),
            &[("DATABASE_URL", database.url())],
        )
    };
    let listed = |output: Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    assert_eq!(listed(run(&["--json"])), json!({ "items": [], "next_cursor": null }));
    let old = "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen)
               VALUES ('01OLD', 'cura', 'cura', '', now())";
    sqlx::query(old).execute(database.pool()).await.unwrap();
    let worker = listed(run(&["--json"]))["items"][0].clone();
    assert_eq!(
        (&worker["worker"], &worker["providers"]),
        (&json!("01OLD"), &Value::Null)
    );
    let away = |arguments: &[&str]| {
        let url = "postgres://127.0.0.1:1/none".to_owned();
        admin(&[&["ai", "status"], arguments].concat(), &[("DATABASE_URL", url)])
    };
    assert_fails(away, &[], 5, "database_away");
}

/// What `doctor --ai` says of a service, by check: the status and the detail.
async fn held_to_the_contract(
    script: impl Fn(usize, &Request) -> Vec<Step> + Send + Sync + 'static,
    more: &[&str],
) -> (ScriptedProvider, impl Fn(&str) -> (String, String)) {
    let provider = ScriptedProvider::start(script).await;
    let variables = vec![("AI_MODEL_URL", provider.url()), ("AI_MODEL_API_KEY", KEY.to_owned())];
    let arguments: Vec<String> = ["doctor", "--ai", "--json"]
        .iter()
        .chain(more)
        .map(|&a| a.to_owned())
        .collect();
    let output = tokio::task::spawn_blocking(move || {
        admin(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &variables)
    });
    let output = output.await.unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!said.contains(KEY) && !said.contains("magnesium"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let of = move |name: &str| {
        let items = report["items"].as_array().unwrap();
        let check = items.iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("{name} is not in {report:#}"));
        let word = |field: &str| check[field].as_str().unwrap().to_owned();
        (word("status"), word("detail"))
    };
    (provider, of)
}

fn has_key(request: &Request) -> bool {
    request.head.contains(KEY)
}

fn unauthorized() -> Vec<Step> {
    refusal(
        "401 Unauthorized",
        "",
        &json!({ "error": { "message": "magnesium", "code": "invalid_api_key" } }),
    )
}

fn too_long() -> Vec<Step> {
    refusal(
        "400 Bad Request",
        "",
        &json!({ "error": { "message": "magnesium", "code": "context_length_exceeded" } }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_keeps_to_the_contract_passes_for_about_fifty_tokens() {
    let (provider, of) = held_to_the_contract(
        |_, request| match request {
            request if !has_key(request) => unauthorized(),
            request if request.body.to_string().len() > 1_000_000 => too_long(),
            _ => answer(&["1 ", "2 ", "3 ", "4 ", "5"], Duration::from_millis(1)),
        },
        &["--long-prompt"],
    )
    .await;
    for name in [
        "ai",
        "ai_streams",
        "ai_usage",
        "ai_end",
        "ai_hang_up",
        "ai_wrong_key",
        "ai_long_prompt",
    ] {
        assert_eq!(of(name).0, "ok", "{name}: {}", of(name).1);
    }
    let asked = provider.requests();
    assert_eq!(asked.len(), 4, "two answers, a wrong key, a long prompt");
    assert!(
        asked
            .iter()
            .all(|request| request.body["max_completion_tokens"].as_i64().unwrap() <= 10)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_being_told_nothing_long_is_sent() {
    let (provider, of) = held_to_the_contract(
        |_, request| {
            if has_key(request) {
                answer(&["1 ", "2"], Duration::ZERO)
            } else {
                unauthorized()
            }
        },
        &[],
    )
    .await;
    assert_eq!(of("ai_long_prompt").0, "skipped");
    assert!(
        provider
            .requests()
            .iter()
            .all(|request| request.body.to_string().len() < 1000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_does_otherwise_is_named() {
    let at_once_without_usage = |_: usize, request: &Request| {
        if request.body.to_string().len() > 1_000_000 {
            // In words of its own.
            return refusal("418 I'm a teapot", "", &json!({ "error": "magnesium" }));
        }
        let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        vec![Step::Head, Step::Write(chunk("1 2 3 4 5") + end), Step::End]
    };
    let (_provider, of) = held_to_the_contract(at_once_without_usage, &["--long-prompt"]).await;
    for (name, word) in [
        ("ai_streams", "one piece"),
        ("ai_usage", "no tokens"),
        ("ai_wrong_key", "answers to a wrong key"),
        ("ai_long_prompt", "do not understand"),
    ] {
        let (status, detail) = of(name);
        assert_eq!(status, "warn", "{name}: {detail}");
        assert!(detail.contains(word), "{name}: {detail}");
    }
    assert_eq!(of("ai_end").0, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer_fails() {
    let broken = |_: usize, _: &Request| vec![Step::Head, Step::Write(chunk("1 ")), Step::Cut];
    let (_provider, of) = held_to_the_contract(broken, &[]).await;
    assert_eq!(of("ai_streams").0, "fail");
    let refuses = |_: usize, _: &Request| unauthorized();
    let (_provider, of) = held_to_the_contract(refuses, &[]).await;
    assert_eq!(of("ai_streams").0, "fail");
    assert_eq!(of("ai_wrong_key").0, "ok");
}

#[test]
fn without_a_provider_there_is_nothing_to_hold_to_anything() {
    let output = admin(&["doctor", "--ai", "--json"], &[]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["items"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "ai_streams").unwrap();
    assert_eq!(check["status"], "skipped");
    let alone = admin(&["doctor", "--long-prompt"], &[]);
    assert_eq!(alone.status.code(), Some(2), "--ai is needed");
}
