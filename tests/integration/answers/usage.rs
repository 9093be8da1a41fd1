//! Usage: what each attempt cost is recorded once, exact when the provider states it, else estimated.

use std::time::Duration;

use cura_tests::provider::{Step, answer, anthropic, chunk, event, refusal};
use cura_tests::{Client, Cura, ScriptedProvider, eventually, interrupted_answer};
use serde_json::json;

/// The tokens and answers of the account, of all days and models.
async fn used(client: &Client) -> (i64, i64) {
    let usage = client.get("/users/me/usage").await.body;
    let sum = |field: &str| {
        usage["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|day| day[field].as_i64().unwrap())
            .sum::<i64>()
    };
    (sum("input_tokens") + sum("output_tokens"), sum("messages"))
}

#[tokio::test]
async fn the_usage_the_provider_states_is_counted() {
    let provider = ScriptedProvider::answering(&["a", "b", "c"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    let usage = json!({ "input_tokens": 7, "output_tokens": 3, "total_tokens": 10, "estimated": false });
    assert_eq!(sent["assistant_message"]["metadata"]["usage"], usage);
    assert_eq!(used(&user).await, (10, 1));
    cura.check_invariants().await;
}

#[tokio::test]
async fn every_attempt_is_counted_and_an_estimate_says_so() {
    let provider = ScriptedProvider::start(|number, _| {
        if number == 0 {
            vec![
                Step::Head,
                Step::Write(chunk("one two three four ")),
                Step::Pause(Duration::from_millis(50)),
                Step::Cut,
            ]
        } else {
            answer(&["one two three four ", "five"], Duration::ZERO)
        }
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    let message = &sent["assistant_message"];
    assert_eq!(message["content"], "one two three four five");
    let usage = &message["metadata"]["usage"];
    assert_eq!(usage["estimated"], true);
    let attempts = cura
        .database
        .count("SELECT count(*) FROM answer_attempts WHERE estimated = (outcome = 'retried')")
        .await;
    assert_eq!(attempts, 2);
    assert_eq!(used(&user).await, (usage["total_tokens"].as_i64().unwrap(), 1));
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_cancelled_and_a_killed_answer_are_counted_too() {
    let provider = ScriptedProvider::start(|number, _| match number {
        0 | 1 => vec![Step::Head, Step::Write(chunk(&"words ".repeat(40))), Step::Hang],
        _ => answer(&["ok"], Duration::ZERO),
    })
    .await;
    let mut first = interrupted_answer()
        .by(provider)
        .with("AI_CONTINUATION", "off")
        .with("USER_DAILY_TOKENS", "1000000")
        .start()
        .await;
    let user = first.user.clone();
    let stopped = first.cancel().await.body;
    assert_eq!(stopped["metadata"]["usage"]["output_tokens"], 60, "four bytes a token");
    let (before, _) = used(&user).await;
    assert_eq!(before, stopped["metadata"]["usage"]["total_tokens"].as_i64().unwrap());
    let again = user.ask("Ho").await;
    first.until_checkpointed().await;
    first.cura.workers[0].kill();
    first.cura.add_worker().await;
    let done = user.until_final(&again).await;
    assert_eq!(done["content"], "ok");
    let lost = "SELECT output_tokens FROM answer_attempts WHERE outcome = 'lost'";
    assert_eq!(first.cura.database.count(lost).await, 60);
    let (both, answers) = used(&user).await;
    assert_eq!(
        both - before,
        done["metadata"]["usage"]["total_tokens"].as_i64().unwrap()
    );
    assert_eq!(answers, 2);
    first.cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_cancelled_before_its_first_word_is_counted_all_the_same() {
    for steps in [vec![Step::Hang], vec![Step::Head, Step::Hang]] {
        let provider = ScriptedProvider::start(move |_, _| steps.clone()).await;
        let cura = Cura::with_provider(&provider).await;
        let user = cura.user().await;
        let answer = user.ask(&"word ".repeat(400)).await;
        eventually("the provider is asked", async || {
            (provider.requests().len() == 1).then_some(())
        })
        .await;
        let stopped = user.cancel(&answer).await.body;
        let usage = &stopped["metadata"]["usage"];
        assert_eq!(
            (&usage["output_tokens"], &usage["estimated"]),
            (&json!(0), &json!(true))
        );
        assert!(usage["input_tokens"].as_i64().unwrap() > 500, "{usage}");
        assert_eq!(used(&user).await, (usage["total_tokens"].as_i64().unwrap(), 1));
        cura.check_invariants().await;
    }
}

#[tokio::test]
async fn a_prompt_costs_something_once_the_provider_took_it_and_nothing_when_it_refused() {
    let refused = refusal("503 Service Unavailable", "", &json!({}));
    for (steps, counted) in [(vec![Step::Head, Step::Cut], 2), (refused, 0)] {
        let provider = ScriptedProvider::start(move |_, _| steps.clone()).await;
        let cura = Cura::with_provider(&provider).await;
        let user = cura.user().await;
        let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
        let message = &sent["assistant_message"];
        assert_eq!(message["metadata"]["error"], "provider_unavailable", "{message}");
        assert_eq!(provider.requests().len(), if counted == 2 { 2 } else { 4 });
        let attempts = "SELECT count(*) FROM answer_attempts WHERE input_tokens > 50 AND output_tokens = 0";
        assert_eq!(cura.database.count(attempts).await, counted);
        let (tokens, answers) = used(&user).await;
        assert_eq!((tokens > 2 * 50, answers), (counted == 2, 0), "{tokens}");
        cura.check_invariants().await;
    }
}

#[tokio::test]
async fn what_the_provider_stated_counts_also_when_its_answer_is_cut_short() {
    let provider = ScriptedProvider::start(|_, _| {
        let mut steps = anthropic::begin();
        steps.push(Step::Write(anthropic::delta("twelve bytes")));
        steps.push(Step::Hang);
        steps
    })
    .await;
    let answer = interrupted_answer()
        .by(provider)
        .with("AI_MODEL_PROVIDER", "anthropic")
        .start()
        .await;
    let stopped = answer.cancel().await.body;
    let usage = json!({ "input_tokens": 7, "output_tokens": 3, "total_tokens": 10, "estimated": true });
    assert_eq!(
        stopped["metadata"]["usage"], usage,
        "the prompt is stated, the rest is not"
    );
    assert_eq!(stopped["metadata"]["model"], "claude-scripted");
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn without_a_word_on_usage_it_is_estimated() {
    let provider = ScriptedProvider::start(|_, _| {
        let stop = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
        vec![
            Step::Head,
            Step::Write(chunk("twelve bytes") + &event(&stop) + "data: [DONE]\n\n"),
            Step::End,
        ]
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    let usage = &sent["assistant_message"]["metadata"]["usage"];
    assert_eq!(
        (&usage["estimated"], &usage["output_tokens"]),
        (&json!(true), &json!(3))
    );
    assert!(
        usage["input_tokens"].as_i64().unwrap() > 50,
        "the system message counts: {usage}"
    );
    cura.check_invariants().await;
}
