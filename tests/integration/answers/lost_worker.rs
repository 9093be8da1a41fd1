//! A worker that is killed, frozen or not there: its answer goes on elsewhere, and no reader sees a wrong word.

use std::time::{Duration, Instant};

use cura_tests::client::{names, text_after};
use cura_tests::provider::{Latch, Step, answer, chunk, words};
use cura_tests::{Cura, Program, ScriptedProvider, eventually, interrupted_answer};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn without_a_worker_the_stream_stays_open_and_the_answer_comes_when_one_starts() {
    let provider = ScriptedProvider::answering(&["Here ", "I am"], Duration::ZERO).await;
    let mut cura = Cura::builder().workers(0).with_provider(&provider).start().await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    assert_eq!(stream.next().await.unwrap().name, "ack");
    let begun = Instant::now();
    let request = user
        .request(Method::POST, "/chat/send")
        .header("Prefer", "wait=1")
        .json(&json!({ "content": "Ho" }));
    let sent = user.send(request).await;
    assert_eq!(sent.status, 202);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // Ten seconds apart: one from the start, and at least one more.
    let mut keepalives = stream.comments;
    while keepalives < 2 {
        let frame = tokio::time::timeout(Duration::from_secs(30), stream.next_frame()).await;
        let frame = frame.expect("a keepalive").expect("the stream stays open");
        assert!(frame.starts_with(':'), "no event comes: {frame}");
        keepalives += 1;
    }
    cura.add_worker().await;
    assert_eq!(text_after("", &stream.rest().await), "Here I am");
    let path = sent.header("location").unwrap().to_owned();
    eventually("the other is answered too", async || {
        (user.get(&path).await.body["content"] == "Here I am").then_some(())
    })
    .await;
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_is_noticed_and_the_text_stays_correct() {
    let mut answer = interrupted_answer().read(29).start().await;
    answer.cura.add_worker().await;
    answer.cura.workers[0].kill();
    answer.let_finish();
    let killed = Instant::now();
    answer.read_until("start").await;
    assert_eq!(answer.last().data["attempt"], 2);
    assert!(
        killed.elapsed() < Duration::from_secs(20),
        "noticed after {:?}",
        killed.elapsed()
    );
    answer.read_rest().await;
    assert_eq!(answer.text_seen(), answer.text(), "continuous, or cut back explicitly");
    let last = answer.last();
    assert_eq!(last.name, "complete");
    assert_eq!(last.data["message"]["content"], answer.text());
    assert_eq!(last.data["message"]["metadata"]["attempts"], 2);
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn after_a_kill_the_answer_goes_on_where_readers_saw_it_end() {
    // The provider does not continue an answer; it always starts again.
    let mut answer = interrupted_answer().words(60, Duration::from_millis(20)).start().await;
    answer.cura.add_worker().await;
    answer.cura.workers[0].kill();
    answer.let_finish();
    let killed = Instant::now();
    answer.read_until("start").await;
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
    answer.read_rest().await;
    let names = names(&answer.seen);
    assert!(!names.contains(&"reset"), "{names:?}");
    assert_eq!(answer.text_seen(), answer.text());
    let requests = answer.provider.requests();
    let prompt = requests[1].body["messages"].as_array().unwrap();
    let continued = &prompt[prompt.len() - 2];
    assert_eq!(continued["role"], "assistant", "the model is shown what it has written");
    let written = continued["content"].as_str().unwrap();
    assert!(answer.text().starts_with(written) && !written.is_empty(), "{written}");
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_worker_that_is_frozen_and_woken_writes_nothing_and_counts_nothing() {
    let mut answer = interrupted_answer().words(80, Duration::from_millis(30)).start().await;
    answer.cura.workers[0].signal("STOP");
    answer.cura.add_worker().await;
    answer.read_until("start").await;
    answer.cura.workers[0].signal("CONT");
    answer.finish().await;
    assert_eq!(answer.text_seen(), answer.text());
    answer.cura.check_invariants().await;
    let counted = "SELECT sum(messages)::bigint FROM usage_days";
    assert_eq!(answer.cura.database.count(counted).await, 1);
}

#[tokio::test]
async fn answers_survive_workers_that_are_killed_one_after_the_other() {
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&words(100), Duration::from_millis(8), &latch).await;
    let mut cura = Cura::builder().workers(2).with_provider(&provider).start().await;
    let user = cura.user().await;
    let streams = (0..8).map(|n| {
        let user = user.clone();
        async move { user.stream(&format!("Hi {n}")).await.rest().await }
    });
    let all = futures_util::future::join_all(streams);
    let killing = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut victim: Program = cura.workers.remove(0);
            victim.kill();
            cura.add_worker().await;
        }
        latch.open();
    };
    for seen in tokio::join!(all, killing).0 {
        assert_eq!(text_after("", &seen), words(100).concat());
        assert_eq!(seen.iter().filter(|event| event.name == "complete").count(), 1);
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_that_kills_its_workers_fails_in_the_end_and_delays_no_other() {
    let provider = ScriptedProvider::start(|_, asked| {
        if asked.body.to_string().contains("poison") {
            vec![Step::Head, Step::Write(chunk("gulp")), Step::Hang]
        } else {
            answer(&["fine"], Duration::ZERO)
        }
    })
    .await;
    let mut cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut poisoned = user.stream("poison").await;
    let mut seen = Vec::new();
    // Every worker that starts it is killed.
    for attempt in 1..=4 {
        loop {
            let event = poisoned.next().await.unwrap();
            let begun = event.name == "start" && event.data["attempt"] == attempt;
            seen.push(event);
            if begun {
                break;
            }
        }
        cura.add_worker().await;
        let last = cura.workers.len() - 2;
        cura.workers[last].kill();
        let begun = Instant::now();
        let sent = user.post("/chat/send", &json!({ "content": "Hi" })).await;
        assert_eq!(sent.body["assistant_message"]["content"], "fine");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
    seen.extend(poisoned.rest().await);
    let last = seen.last().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["code"]),
        ("error", &json!("generation_failed"))
    );
    let message = user
        .get(&format!("/chat/messages/{}", seen[0].data["message_id"]))
        .await
        .body;
    assert_eq!(
        (&message["status"], &message["metadata"]["error"]),
        (&json!("error"), &json!("generation_failed"))
    );
    assert_eq!(text_after("", &seen), message["content"].as_str().unwrap());
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_that_lost_its_job_is_closed() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let sent = user.send_without_waiting(&json!({ "content": "Hi" })).await;
    for lost in [
        "DELETE FROM apalis.jobs WHERE job_type = 'generate-answer'",
        "UPDATE messages SET updated_at = now() - interval '1 hour'",
    ] {
        sqlx::query(lost).execute(cura.database.pool()).await.unwrap();
    }
    let mut cura = cura;
    cura.add_worker().await;
    let closed = user.until_final(&sent.body["assistant_message"]["id"]).await;
    assert_eq!(closed["status"], "error");
    cura.check_invariants().await;
}
