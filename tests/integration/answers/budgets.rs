//! Usage, quotas, and the order in which answers are written.

use std::time::Duration;

use cura_domain::MessageId;
use cura_store::answers::{self, AttemptStart};
use cura_tests::provider::{Latch, Step, answer, anthropic, chunk, event, refusal};
use cura_tests::{Client, Cura, ScriptedProvider, eventually, interrupted_answer};
use serde_json::{Value, json};

/// Sends a message and returns the id of its answer without waiting for it.
async fn ask(client: &Client, content: &str) -> Value {
    let sent = client.send_without_waiting(&json!({ "content": content })).await;
    sent.body["assistant_message"]["id"].clone()
}

/// A provider that hangs after its first word until the test releases it.
async fn held(release: std::sync::Arc<std::sync::atomic::AtomicBool>) -> ScriptedProvider {
    ScriptedProvider::start(move |_, _| {
        let mut steps = vec![Step::Head];
        let open = release.load(std::sync::atomic::Ordering::SeqCst);
        if open {
            return answer(&["ok"], Duration::ZERO);
        }
        steps.push(Step::Write(chunk("ok")));
        steps.push(Step::Hang);
        steps
    })
    .await
}

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
async fn a_user_over_the_daily_quota_sees_when_it_resets() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("USER_DAILY_TOKENS", "15")
        .start()
        .await;
    let user = cura.user().await;
    for _ in 0..2 {
        let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await;
        assert_eq!(sent.status, 200, "as long as anything is left: {}", sent.body);
    }
    let refused = user.post("/chat/send", &json!({ "content": "Hi" })).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "quota_exceeded"));
    assert!(
        refused.body["resets_at"].as_str().unwrap().contains("T00:00:00"),
        "{}",
        refused.body
    );
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&seconds));
    assert_eq!(refused.header("ratelimit-limit"), Some("15"));
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    assert_eq!(refused.header("ratelimit-reset"), refused.header("retry-after"));
    let other = cura.client().register("other@example.com").await;
    assert_eq!(other.post("/chat/send", &json!({ "content": "Hi" })).await.status, 200);
    assert_eq!(provider.requests().len(), 3);
    cura.check_invariants().await;
}

#[tokio::test]
async fn twenty_questions_at_once_do_not_get_around_the_quota() {
    // Final, an answer has nothing reserved any more, and another one may be asked for.
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&["Hello"], Duration::ZERO, &latch).await;
    let cura = Cura::builder()
        .servers(2)
        .with_provider(&provider)
        .with("USER_DAILY_TOKENS", "100")
        .start()
        .await;
    let user = cura.user().await;
    let there = user.at(&cura.servers[1].base);
    let hi = json!({ "content": "Hi" });
    let sends = (0..20).map(|n| [&user, &there][n % 2].try_send_without_waiting(&hi));
    let replies = futures_util::future::join_all(sends).await;
    let taken = replies.iter().filter(|reply| reply.status == 202).count();
    assert_eq!(taken, 1, "the first reserves what is left");
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == 202 || reply.code() == "quota_exceeded")
    );
    latch.open();
    let first = replies.iter().find(|reply| reply.status == 202).unwrap();
    user.until_final(&first.body["assistant_message"]["id"]).await;
    let again = user.post("/chat/send", &json!({ "content": "Hi" })).await;
    assert_eq!(again.status, 200, "what it did not use is there again: {}", again.body);
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
    let again = ask(&user, "Ho").await;
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
        let answer = ask(&user, &"word ".repeat(400)).await;
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
    for (steps, counted) in [(vec![Step::Head, Step::Cut], 4), (refused, 0)] {
        let provider = ScriptedProvider::start(move |_, _| steps.clone()).await;
        let cura = Cura::with_provider(&provider).await;
        let user = cura.user().await;
        let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
        let message = &sent["assistant_message"];
        assert_eq!(message["metadata"]["error"], "provider_unavailable", "{message}");
        assert_eq!(provider.requests().len(), 4);
        let attempts = "SELECT count(*) FROM answer_attempts WHERE input_tokens > 50 AND output_tokens = 0";
        assert_eq!(cura.database.count(attempts).await, counted);
        let (tokens, answers) = used(&user).await;
        assert_eq!((tokens > 4 * 50, answers), (counted == 4, 0), "{tokens}");
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
async fn a_limited_number_of_answers_of_one_user_is_written_at_a_time_and_the_rest_wait() {
    let release = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let provider = held(std::sync::Arc::clone(&release)).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("USER_RUNNING_ANSWERS", "2")
        .start()
        .await;
    let user = cura.user().await;
    let mut answers = Vec::new();
    for n in 0..5 {
        answers.push(ask(&user, &n.to_string()).await);
        if n < 2 {
            eventually("it is written", async || (provider.requests().len() > n).then_some(())).await;
        }
    }
    let other = cura.client().register("other@example.com").await;
    ask(&other, "mine").await;
    provider.wait_for_requests(3).await;
    release.store(true, std::sync::atomic::Ordering::SeqCst);
    for answer in &answers[..2] {
        user.cancel(answer).await;
    }
    for answer in &answers[2..] {
        assert_eq!(user.until_final(answer).await["content"], "ok");
    }
}

#[tokio::test]
async fn attempts_that_start_at_the_same_instant_do_not_get_around_the_limit() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let mut waiting = Vec::new();
    for n in 0..4 {
        let answer = ask(&user, &n.to_string()).await;
        waiting.push(MessageId(answer.as_i64().unwrap()));
    }
    let pool = cura.database.pool();
    let now = chrono::DateTime::from(std::time::SystemTime::now());
    let take = async |id: MessageId| {
        let mut transaction = pool.begin().await.unwrap();
        let taken = answers::start_attempt(&mut transaction, id, 2, now).await.unwrap();
        transaction.commit().await.unwrap();
        matches!(taken, AttemptStart::Started(_))
    };
    let mut first = pool.begin().await.unwrap();
    let taken = answers::start_attempt(&mut first, waiting[0], 2, now).await.unwrap();
    assert!(matches!(taken, AttemptStart::Started(_)));
    let commit = async {
        cura.database.wait_for_lock_waiter().await;
        first.commit().await.unwrap();
    };
    let (second, third, fourth, ()) = tokio::join!(take(waiting[1]), take(waiting[2]), take(waiting[3]), commit);
    let began = [second, third, fourth].into_iter().filter(|began| *began).count();
    assert_eq!(began, 1, "the first has one of the two places");
}

#[tokio::test]
async fn when_all_workers_are_busy_users_see_their_position_and_none_waits_for_another_users_backlog() {
    let release = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let provider = held(std::sync::Arc::clone(&release)).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "1")
        .start()
        .await;
    let (ann, bob) = (
        cura.client().register("ann@example.com").await,
        cura.client().register("bob@example.com").await,
    );
    let busy = ask(&ann, "busy").await;
    provider.wait_for_requests(1).await;
    for n in 0..5 {
        ask(&ann, &format!("ann {n}")).await;
    }
    let mut bobs = bob.stream("bob").await;
    let seen = bobs.until("queued").await;
    assert_eq!(
        seen.last().unwrap().data["position"],
        1,
        "before all that Ann has heaped up"
    );
    release.store(true, std::sync::atomic::Ordering::SeqCst);
    ann.cancel(&busy).await;
    bobs.until("complete").await;
    let order: Vec<String> = provider
        .requests()
        .iter()
        .map(|asked| {
            let messages = asked.body["messages"].as_array().unwrap();
            messages.last().unwrap()["content"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(order[..2], ["busy", "bob"], "{order:?}");
    eventually("all are answered", async || {
        let running = "SELECT count(*) FROM messages WHERE status = 'sending'";
        (cura.database.count(running).await == 0).then_some(())
    })
    .await;
    let order: Vec<Value> = provider
        .requests()
        .iter()
        .map(|asked| asked.body["messages"].clone())
        .collect();
    for (n, messages) in order[2..].iter().enumerate() {
        let last = messages.as_array().unwrap().last().unwrap();
        assert_eq!(last["content"], format!("ann {n}"), "in their order");
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_that_a_worker_had_time_for_is_not_called_queued() {
    let release = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let provider = held(std::sync::Arc::clone(&release)).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "1")
        .start()
        .await;
    let (ann, bob, eve) = (
        cura.client().register("ann@example.com").await,
        cura.client().register("bob@example.com").await,
        cura.client().register("eve@example.com").await,
    );
    let busy = ask(&ann, "busy").await;
    eventually("the worker is busy", async || {
        (provider.requests().len() == 1).then_some(())
    })
    .await;
    let postponed = ask(&eve, "postponed").await;
    let note = "UPDATE messages SET started_at = now() WHERE id = $1";
    let noted = sqlx::query(note).bind(postponed.as_i64()).execute(cura.database.pool());
    assert_eq!(noted.await.unwrap().rows_affected(), 1);
    let mut of_postponed = eve.resume(postponed.as_i64().unwrap(), None).await;
    let mut of_waiting = bob.stream("waiting").await;
    of_waiting.until("queued").await;
    release.store(true, std::sync::atomic::Ordering::SeqCst);
    ann.cancel(&busy).await;
    let seen = of_postponed.until("complete").await;
    assert!(seen.iter().all(|event| event.name != "queued"), "{seen:?}");
    of_waiting.until("complete").await;
    cura.check_invariants().await;
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
