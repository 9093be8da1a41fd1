//! `cura-admin explain`: what became of one answer, without its words.

use std::process::Output;
use std::time::Duration;

use cura_tests::provider::{Latch, Step, answer, chunk, refusal};
use cura_tests::{Client, Cura, ScriptedProvider, Socket, TestDatabase, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::admin::{admin, text};
use super::admin_devices::assert_fails;

/// Words of messages and addresses, which no output may hold.
const SECRETS: [&str; 3] = ["hunter2", "magnesium", "user@"];
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn run(url: &str, arguments: &[&str]) -> Output {
    let arguments = [&["explain"], arguments].concat();
    let prices = r#"{"currency": "EUR", "scripted": {"input": 1, "output": 2}}"#;
    let output = admin(
        &arguments,
        &[("DATABASE_URL", url.to_owned()), ("AI_PRICES", prices.to_owned())],
    );
    let said = text(&output.stdout) + &text(&output.stderr);
    for secret in SECRETS {
        assert!(!said.contains(secret), "{arguments:?}: {said}");
    }
    output
}

fn explained(cura: &Cura, arguments: &[&str]) -> Value {
    let output = run(&cura.database.url(), &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn of_message(cura: &Cura, id: &Value) -> Value {
    explained(cura, &["message", &id.to_string()])
}

/// Asks with these headers; gives the id of the answer, and that of the request as the server says it.
async fn ask(user: &Client, headers: &[(&str, &str)]) -> (Value, String) {
    let mut request = user.request(Method::POST, "/chat/send").header("Prefer", "wait=0");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let reply = user.send(request.json(&json!({ "content": "hunter2" }))).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let request_id = reply.header("x-request-id").unwrap().to_owned();
    (reply.body["assistant_message"]["id"].clone(), request_id)
}

/// The steps as words: `began attempt 2`.
fn steps(answer: &Value) -> Vec<String> {
    let steps = answer["steps"].as_array().unwrap().iter();
    steps
        .map(|step| {
            let what = step["what"].as_str().unwrap();
            step["attempt"]
                .as_i64()
                .map_or_else(|| what.to_owned(), |attempt| format!("{what} {attempt}"))
        })
        .collect()
}

fn notes(answer: &Value) -> Vec<Option<&str>> {
    let attempts = answer["attempts"].as_array().unwrap().iter();
    attempts.map(|attempt| attempt["note"].as_str()).collect()
}

/// Waits until the job of the answer is over.
async fn until_over(cura: &Cura, state: &str, id: &Value) -> Value {
    eventually(state, async || {
        let answer = of_message(cura, id);
        (answer["job"]["state"] == state).then_some(answer)
    })
    .await
}

/// The same value without what differs from run to run.
fn without_times(mut value: Value) -> Value {
    fn walk(name: &str, value: &mut Value) {
        let varies =
            name.ends_with("_at") || name.ends_with("_id") || ["at", "id", "after_ms", "worker"].contains(&name);
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| walk(name, item)),
            Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| walk(name, value)),
            Value::Null => {}
            value if varies => *value = json!(format!("[{name}]")),
            Value::String(said) if name == "detail" => {
                let letters = |c: char| if c.is_ascii_digit() { '0' } else { c };
                *said = match said.split_once(' ') {
                    Some((kind @ ("worker" | "request"), _)) => format!("{kind} [id]"),
                    _ => said.chars().map(letters).collect(),
                };
            }
            _ => {}
        }
    }
    walk("", &mut value);
    value
}

#[tokio::test]
async fn an_answer_is_explained_from_its_request_to_its_being_read() {
    let provider = ScriptedProvider::answering(&["magnesium ", "helps"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let trace = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let (id, request) = ask(&user, &[("traceparent", &trace)]).await;
    let last = user.until_final(&id).await;
    let conversation = &last["conversation_id"];
    let read = json!({ "message_id": id });
    let marked = user.post(&format!("/conversations/{conversation}/read"), &read).await;
    assert_eq!(marked.status, 204, "{}", marked.body);

    let explained_request = explained(&cura, &["request", &request]);
    let answer = of_message(&cura, &id);
    assert_eq!(explained_request, json!({ "items": [answer], "next_cursor": null }));
    assert_eq!(
        (&answer["request_id"], &answer["trace_id"]),
        (&json!(request), &json!(TRACE))
    );
    assert_eq!(
        steps(&answer),
        [
            "asked",
            "event_logged",
            "attempt_began 1",
            "first_text 1",
            "attempt_ended 1",
            "ended",
            "event_logged",
            "read"
        ]
    );
    let attempt = &answer["attempts"][0];
    assert_eq!(attempt["outcome"], "completed");
    assert!(attempt["cost"].as_f64().unwrap() > 0.0, "{attempt}");
    let worker = attempt["worker"].as_str().unwrap();
    let known = json_of_workers(&cura);
    assert_eq!(known["items"][0]["id"], worker, "it is the one of `jobs workers`");
    insta::assert_snapshot!("explained_answer", format!("{:#}", without_times(answer.clone())));

    // By the question, the same.
    assert_eq!(of_message(&cura, &last["parent_id"]), answer);
    let said = text(&run(&cura.database.url(), &["message", &id.to_string()]).stdout);
    for part in [&request, "first text of attempt 1", "COST EUR", "read", "final"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.lines().count() <= 24, "one screen: {said}");
    // The ids are with the job as well.
    let with_job = format!(
        "SELECT count(*) FROM apalis.jobs WHERE metadata -> 'request_id' = '{request}' AND metadata -> 'trace_id' = '{TRACE}'"
    );
    let counted: i64 = sqlx::query_scalar(AssertSqlSafe(with_job))
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(counted, 1);
}

fn json_of_workers(cura: &Cura) -> Value {
    let output = admin(&["jobs", "workers", "--json"], &[("DATABASE_URL", cura.database.url())]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn of_an_answer_whose_provider_failed_twice_each_attempt_says_why() {
    // Twice it breaks off, then it works.
    let provider = ScriptedProvider::start(|n, _| match n {
        0 => vec![Step::Head, Step::Write(chunk("magnesium ")), Step::Cut],
        1 => refusal(
            "503 Service Unavailable",
            "",
            &json!({ "error": { "message": "hunter2" } }),
        ),
        _ => answer(&["helps"], Duration::ZERO),
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let (id, _) = ask(&cura.user().await, &[]).await;
    let answer = until_over(&cura, "done", &id).await;
    let notes = notes(&answer);
    let last = notes.len() - 1;
    assert!(notes.len() >= 3, "{answer:#}");
    assert!(notes[0].unwrap().contains("the provider"), "{answer:#}");
    assert!(notes[..last].iter().all(Option::is_some), "{answer:#}");
    assert_eq!(notes[last], None);
    assert_eq!(answer["attempts"][0]["outcome"], "retried");
    assert_eq!(answer["attempts"][last]["outcome"], "completed");
    assert!(
        answer["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .all(|attempt| attempt["began_at"].is_string())
    );
}

#[tokio::test]
async fn of_an_answer_that_failed_the_reason_is_told_in_our_words() {
    let provider =
        ScriptedProvider::start(|_, _| refusal("400 Bad Request", "", &json!({ "error": { "message": "hunter2" } })))
            .await;
    let cura = Cura::with_provider(&provider).await;
    let (id, _) = ask(&cura.user().await, &[]).await;
    let answer = until_over(&cura, "dead", &id).await;
    assert_eq!(
        (&answer["status"], &answer["error_code"]),
        (&json!("error"), &json!("provider_refused"))
    );
    assert!(notes(&answer)[0].unwrap().contains("refused the request"), "{answer:#}");
    assert!(
        answer["job"]["reason"].as_str().unwrap().contains("refused"),
        "{answer:#}"
    );
}

#[tokio::test]
async fn of_an_answer_that_died_twice_both_deaths_are_told_and_that_it_was_read_before() {
    let provider =
        ScriptedProvider::start(|_, _| refusal("400 Bad Request", "", &json!({ "error": { "message": "hunter2" } })))
            .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let (id, _) = ask(&user, &[]).await;
    let first = until_over(&cura, "dead", &id).await;
    let path = format!("/conversations/{}/read", first["conversation_id"]);
    let read = user.post(&path, &json!({ "message_id": id })).await;
    assert_eq!(read.status, 204, "{}", read.body);
    assert_eq!(of_message(&cura, &id)["is_read"], true);
    let variables = [("DATABASE_URL", cura.database.url()), ("REDIS_URL", cura.redis.url())];
    let job = first["job"]["id"].as_str().unwrap();
    let retried = admin(&["jobs", "retry", job], &variables);
    assert_eq!(retried.status.code(), Some(0), "{}", text(&retried.stderr));
    let answer = eventually("it is dead again", async || {
        let answer = of_message(&cura, &id);
        let attempts = answer["attempts"].as_array()?.len();
        (attempts == 2 && answer["job"]["state"] == "dead").then_some(answer)
    })
    .await;
    assert!(
        notes(&answer)
            .iter()
            .all(|note| note.is_some_and(|note| note.contains("refused"))),
        "{answer:#}"
    );
    assert_eq!(answer["is_read"], false, "what it has become was not read");
    let steps = steps(&answer);
    let at = |what: &str| {
        steps
            .iter()
            .position(|step| step == what)
            .unwrap_or_else(|| panic!("{what}: {steps:?}"))
    };
    assert!(at("read") < at("attempt_began 2"), "{steps:?}");
}

#[tokio::test]
async fn an_answer_that_was_handed_over_names_both_workers() {
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&["magnesium ", "helps"], Duration::ZERO, &latch).await;
    let mut cura = Cura::builder()
        .with_provider(&provider)
        .with("SHUTDOWN_GRACE_SECONDS", "1")
        .start()
        .await;
    let (id, _) = ask(&cura.user().await, &[]).await;
    provider.wait_for_requests(1).await;
    cura.add_worker().await;
    let old = cura.workers.remove(0);
    // What still runs when its time is over is released.
    old.signal("TERM");
    provider.wait_for_requests(2).await;
    latch.open();
    let answer = until_over(&cura, "done", &id).await;
    let attempts = answer["attempts"].as_array().unwrap();
    assert!(attempts.len() >= 2, "{answer:#}");
    let workers: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt["worker"].as_str().unwrap())
        .collect();
    assert_ne!(workers.first(), workers.last(), "{answer:#}");
    assert_eq!(notes(&answer)[0], Some("its worker stopped"), "{answer:#}");
}

#[tokio::test]
async fn an_answer_whose_worker_was_killed_names_both_workers() {
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&["magnesium ", "helps"], Duration::ZERO, &latch).await;
    let mut cura = Cura::with_provider(&provider).await;
    let (id, _) = ask(&cura.user().await, &[]).await;
    provider.wait_for_requests(1).await;
    let mut killed = cura.workers.remove(0);
    killed.kill();
    cura.add_worker().await;
    provider.wait_for_requests(2).await;
    latch.open();
    let answer = until_over(&cura, "done", &id).await;
    let attempts = answer["attempts"].as_array().unwrap();
    let workers: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt["worker"].as_str().unwrap())
        .collect();
    assert_eq!(workers.len(), 2, "{answer:#}");
    assert_ne!(workers[0], workers[1]);
}

#[tokio::test]
async fn an_answer_that_failed_over_names_the_provider_that_failed() {
    let first = ScriptedProvider::start(|_, _| {
        refusal(
            "429 Too Many Requests",
            "",
            &json!({ "error": { "message": "hunter2" } }),
        )
    })
    .await;
    let second = ScriptedProvider::answering(&["magnesium"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&first)
        .with("AI_FALLBACK_URL", second.url())
        .with("AI_FALLBACK_PROVIDER", "custom")
        .with("AI_FALLBACK_NAME", "second")
        .start()
        .await;
    let (id, _) = ask(&cura.user().await, &[]).await;
    let answer = until_over(&cura, "done", &id).await;
    assert_eq!(answer["attempts"][0]["provider"], "custom", "{answer:#}");
    let note = notes(&answer)[0].expect("a note").to_owned();
    assert!(note.contains("the provider limits our rate"), "{answer:#}");
}

#[tokio::test]
async fn an_answer_that_was_cancelled_says_when() {
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&["magnesium ", "helps"], Duration::ZERO, &latch).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let (id, _) = ask(&user, &[]).await;
    provider.wait_for_requests(1).await;
    assert_eq!(user.cancel(&id).await.status, 200);
    user.until_final(&id).await;
    let answer = of_message(&cura, &id);
    assert_eq!(answer["finish_reason"], "cancelled", "{answer:#}");
    assert!(steps(&answer).contains(&"cancel_requested".to_owned()), "{answer:#}");
}

#[tokio::test]
async fn what_was_pruned_is_named_and_the_rest_is_told() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let (id, request) = ask(&user, &[]).await;
    until_over(&cura, "done", &id).await;
    for statement in [
        "DELETE FROM apalis.jobs WHERE job_type = 'generate-answer'",
        "UPDATE messages SET created_at = created_at - interval '31 days', started_at = started_at - interval '31 days'",
        "DELETE FROM events",
    ] {
        sqlx::query(statement).execute(cura.database.pool()).await.unwrap();
    }
    let answer = of_message(&cura, &id);
    assert_eq!(answer["forgotten"], json!(["job", "events", "pushes"]), "{answer:#}");
    assert_eq!(answer["request_id"], request);
    assert!(steps(&answer).contains(&"attempt_ended 1".to_owned()), "{answer:#}");
    let said = text(&run(&cura.database.url(), &["message", &id.to_string()]).stdout);
    assert!(said.contains("not kept: its job"), "{said}");

    // One of a release before has none of it.
    let forget = "UPDATE messages SET request_id = NULL, attempt_starts = NULL, attempt_workers = NULL";
    sqlx::query(forget).execute(cura.database.pool()).await.unwrap();
    let answer = of_message(&cura, &id);
    assert_eq!(
        answer["forgotten"],
        json!(["request", "job", "attempts", "events", "pushes"])
    );
}

#[tokio::test]
async fn a_message_over_a_socket_has_the_id_of_the_request_that_opened_it() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let conversation = user.post("/conversations", &json!({})).await.body["id"].clone();
    let mut socket = Socket::of(&user, &conversation, None).await;
    socket.send(&json!({ "type": "message", "content": "hunter2" })).await;
    let events = socket.until("complete").await;
    let id = events.last().unwrap()["message_id"].clone();
    let answer = until_over(&cura, "done", &id).await;
    let request = answer["request_id"].as_str().unwrap();
    assert_eq!(explained(&cura, &["request", request])["items"][0]["message_id"], id);
}

#[tokio::test]
async fn what_is_not_there_is_said_and_nothing_strange_is_looked_up() {
    let database = TestDatabase::create().await;
    let run = |arguments: &[&str]| run(&database.url(), arguments);
    assert_fails(run, &["message", "1"], 4, "message_not_found");
    assert_fails(run, &["message", "9223372036854775807"], 4, "message_not_found");
    assert_fails(run, &["request", "none"], 4, "request_not_found");
    assert_fails(run, &["request", "' OR 1=1"], 2, "usage");
    assert_fails(run, &["request", &"a".repeat(129)], 2, "usage");
    assert_fails(run, &["message", "x"], 2, "usage");
    let away = |arguments: &[&str]| super::admin_explain::run("postgres://127.0.0.1:1/none", arguments);
    assert_fails(away, &["message", "1"], 5, "database_away");
}
