//! What happens to people when parts of Cura, or the services it needs, are away, slow, killed or wrong.

use std::time::{Duration, Instant};

use cura_tests::client::{Events, text_after};
use cura_tests::provider::{Gate, Step, chunk, finish, refusal, words};
use cura_tests::{Cura, Event, Program, ScriptedProvider, eventually};
use reqwest::Method;
use serde_json::json;

/// Events until this word is there; how many they are is nobody's business, as words that wait are told together.
pub(crate) async fn until_word(stream: &mut Events, word: &str) -> Vec<Event> {
    let mut seen = Vec::new();
    while !text_after("", &seen).contains(word) {
        let next = stream.next().await;
        seen.push(next.unwrap_or_else(|| panic!("the stream ended before {word:?}: {seen:?}")));
    }
    seen
}

#[tokio::test]
async fn without_a_worker_the_stream_stays_open_and_the_answer_comes_when_one_starts() {
    let provider = ScriptedProvider::saying(&["Here ", "I am"], Duration::ZERO).await;
    let mut cura = Cura::builder().workers(0).answering(&provider).start().await;
    let somebody = cura.somebody().await;
    let mut stream = somebody.stream("Hi").await;
    assert_eq!(stream.next().await.unwrap().name, "ack");
    let begun = Instant::now();
    let request = somebody
        .request(Method::POST, "/chat/send")
        .header("Prefer", "wait=1")
        .json(&json!({ "content": "Ho" }));
    let sent = somebody.send(request).await;
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
        (somebody.get(&path).await.body["content"] == "Here I am").then_some(())
    })
    .await;
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_is_noticed_and_the_text_stays_correct() {
    let words = words(100);
    let text = words.concat();
    let gate = Gate::default();
    let provider = ScriptedProvider::holding(&words, Duration::from_millis(20), &gate).await;
    let mut cura = Cura::answering(&provider).await;
    let somebody = cura.somebody().await;
    let mut stream = somebody.stream("Hi").await;
    let mut seen = until_word(&mut stream, &words[28]).await;
    cura.add_worker().await;
    cura.workers[0].kill();
    gate.open();
    let killed = Instant::now();
    let again = loop {
        let event = stream.next().await.unwrap();
        seen.push(event.clone());
        if event.name == "start" {
            break event;
        }
    };
    assert_eq!(again.data["attempt"], 2);
    assert!(
        killed.elapsed() < Duration::from_secs(20),
        "noticed after {:?}",
        killed.elapsed()
    );
    seen.extend(stream.rest().await);
    assert_eq!(text_after("", &seen), text, "continuous, or cut back explicitly");
    let last = seen.last().unwrap();
    assert_eq!(last.name, "complete");
    assert_eq!(last.data["message"]["content"], text);
    assert_eq!(last.data["message"]["metadata"]["attempts"], 2);
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_server_killed_in_the_middle_is_left_for_the_other_one() {
    let words = words(100);
    let text = words.concat();
    let gate = Gate::default();
    let provider = ScriptedProvider::holding(&words, Duration::from_millis(10), &gate).await;
    let mut cura = Cura::builder().servers(2).answering(&provider).start().await;
    let somebody = cura.somebody().await;
    let mut stream = somebody.stream("Hi").await;
    let mut seen = until_word(&mut stream, &words[28]).await;
    cura.servers[0].program.kill();
    gate.open();
    seen.extend(stream.rest().await);
    let (answer, cursor) = (
        seen[0].data["message_id"].as_i64().unwrap(),
        seen.last().unwrap().id.clone(),
    );
    let mut there = somebody.at(&cura.servers[1].base).resume(answer, Some(&cursor)).await;
    seen.extend(there.rest().await);
    assert_eq!(text_after("", &seen), text);
    assert_eq!(provider.asked().len(), 1, "the generation went on by itself");
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_ends_its_streams_and_the_other_one_goes_on() {
    let words = words(100);
    let text = words.concat();
    let gate = Gate::default();
    let provider = ScriptedProvider::holding(&words, Duration::from_millis(10), &gate).await;
    let mut cura = Cura::builder().servers(2).answering(&provider).start().await;
    let somebody = cura.somebody().await;
    let mut stream = somebody.stream("Hi").await;
    let mut seen = vec![stream.next().await.unwrap(), stream.next().await.unwrap()];
    cura.servers[0].program.signal("TERM");
    seen.extend(stream.rest().await);
    assert_ne!(seen.last().unwrap().name, "complete");
    assert_eq!(cura.servers[0].program.ended().await, Some(0));
    gate.open();
    let answer = seen[0].data["message_id"].as_i64().unwrap();
    let cursor = seen.last().unwrap().id.clone();
    seen.extend(
        somebody
            .at(&cura.servers[1].base)
            .resume(answer, Some(&cursor))
            .await
            .rest()
            .await,
    );
    assert_eq!(text_after("", &seen), text);
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_worker_that_is_asked_to_stop_hands_its_answers_over() {
    let words = words(100);
    let text = words.concat();
    let gate = Gate::default();
    let provider = ScriptedProvider::holding(&words, Duration::from_millis(20), &gate).await;
    let mut cura = Cura::builder()
        .answering(&provider)
        .with("SHUTDOWN_GRACE_SECONDS", "0")
        .start()
        .await;
    let somebody = cura.somebody().await;
    let mut stream = somebody.stream("Hi").await;
    let mut seen = until_word(&mut stream, &words[18]).await;
    cura.add_worker().await;
    cura.workers[0].signal("TERM");
    assert_eq!(cura.workers[0].ended().await, Some(0));
    gate.open();
    seen.extend(stream.rest().await);
    assert_eq!(text_after("", &seen), text);
    assert_eq!(seen.last().unwrap().name, "complete");
    cura.check_invariants().await;
}

#[tokio::test]
async fn redis_killed_in_the_middle_costs_no_word() {
    let words = words(100);
    let text = words.concat();
    let gate = Gate::default();
    let provider = ScriptedProvider::holding(&words, Duration::from_millis(20), &gate).await;
    let mut cura = Cura::answering(&provider).await;
    let somebody = cura.somebody().await;
    let mut stream = somebody.stream("Hi").await;
    let mut seen = until_word(&mut stream, &words[18]).await;
    cura.redis.kill();
    eventually("it is noticed", async || {
        (somebody.get("/health").await.body["status"] == "degraded").then_some(())
    })
    .await;
    cura.redis.restart();
    gate.open();
    seen.extend(stream.rest().await);
    assert_eq!(text_after("", &seen), text);
    assert_eq!(seen.last().unwrap().data["message"]["content"], text);
    cura.check_invariants().await;
}

#[tokio::test]
async fn without_redis_the_answer_still_comes() {
    let provider = ScriptedProvider::saying(&["Here ", "I am"], Duration::from_millis(50)).await;
    let mut cura = Cura::answering(&provider).await;
    let somebody = cura.somebody().await;
    cura.redis.kill();
    let seen = somebody.stream("Hi").await.rest().await;
    assert_eq!(text_after("", &seen), "Here I am");
    assert_eq!(seen.last().unwrap().name, "complete");
    cura.check_invariants().await;
}

/// The code of the `error` event somebody gets from this provider, and how often it was asked.
async fn fails(provider: ScriptedProvider, settings: &[(&'static str, &str)]) -> (String, bool, usize) {
    let mut builder = Cura::builder().answering(&provider);
    for (name, value) in settings {
        builder = builder.with(name, *value);
    }
    let cura = builder.start().await;
    let somebody = cura.somebody().await;
    let seen = somebody.stream("Hi").await.rest().await;
    let last = seen.last().unwrap().clone();
    assert_eq!(last.name, "error", "{seen:?}");
    let message = somebody
        .get(&format!("/chat/messages/{}", seen[0].data["message_id"]))
        .await
        .body;
    assert_eq!(
        (&message["status"], &message["metadata"]["error"]),
        (&json!("error"), &last.data["code"])
    );
    let conversation = somebody
        .get(&format!("/conversations/{}", seen[0].data["conversation_id"]))
        .await
        .body;
    assert_eq!(conversation["busy"], false, "one can go on");
    cura.check_invariants().await;
    (
        last.data["code"].as_str().unwrap().to_owned(),
        last.data["retryable"].as_bool().unwrap(),
        provider.asked().len(),
    )
}

#[tokio::test]
async fn a_provider_that_refuses_our_key_is_an_error_at_once() {
    let body = json!({ "error": { "message": "Incorrect API key provided: sk-secret", "code": "invalid_api_key" } });
    let provider = ScriptedProvider::start(move |_, _| refusal("401 Unauthorized", "", &body)).await;
    assert_eq!(
        fails(provider, &[]).await,
        ("provider_unauthorized".to_owned(), false, 1)
    );
}

#[tokio::test]
async fn a_provider_that_dies_every_time_is_an_error_in_the_end() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Head, Step::Write(chunk("I am ")), Step::Cut]).await;
    let (code, retryable, asked) = fails(provider, &[]).await;
    assert_eq!((code.as_str(), retryable), ("provider_unavailable", true));
    assert!(asked > 1, "it was tried again");
}

#[tokio::test]
async fn a_provider_that_hangs_is_given_up() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Hang]).await;
    let (code, retryable, _) = fails(provider, &[("AI_FIRST_BYTE_TIMEOUT_SECONDS", "1")]).await;
    assert_eq!((code.as_str(), retryable), ("provider_timeout", true));
}

#[tokio::test]
async fn a_provider_that_wants_an_hour_is_not_waited_for() {
    let body = json!({ "error": { "message": "slow down", "type": "requests" } });
    let provider =
        ScriptedProvider::start(move |_, _| refusal("429 Too Many Requests", "Retry-After: 3600\r\n", &body)).await;
    assert_eq!(
        fails(provider, &[]).await,
        ("provider_rate_limited".to_owned(), true, 1)
    );
}

#[tokio::test]
async fn a_provider_that_dies_once_is_tried_again_without_a_wrong_word() {
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => vec![
            Step::Head,
            Step::Write(chunk("I was ")),
            Step::Write(chunk("goi")),
            Step::Cut,
        ],
        1 => refusal("503 Service Unavailable", "Retry-After: 1\r\n", &json!({})),
        _ => {
            let mut steps = vec![Step::Head, Step::Write(chunk("All ")), Step::Write(chunk("is well"))];
            steps.extend(finish(2));
            steps
        }
    })
    .await;
    let cura = Cura::builder()
        .answering(&provider)
        .with("AI_CONTINUATION", "off")
        .start()
        .await;
    let seen = cura.somebody().await.stream("Hi").await.rest().await;
    let last = seen.last().unwrap();
    assert_eq!(last.name, "complete", "{seen:?}");
    assert_eq!(text_after("", &seen), last.data["message"]["content"].as_str().unwrap());
    assert_eq!(text_after("", &seen), "All is well");
    cura.check_invariants().await;
}

#[tokio::test]
async fn while_postgres_is_away_requests_are_told_when_to_come_back_and_all_recovers_by_itself() {
    let provider = ScriptedProvider::saying(&["Here ", "I am"], Duration::ZERO).await;
    let (cura, wire) = Cura::builder().answering(&provider).start_behind_wire().await;
    let somebody = cura.somebody().await;
    assert_eq!(
        somebody.post("/chat/send", &json!({ "content": "Hi" })).await.status,
        200
    );
    wire.cut();
    let cut = Instant::now();
    while cut.elapsed() < Duration::from_secs(10) {
        for reply in [
            somebody.get("/conversations").await,
            somebody.post("/chat/send", &json!({ "content": "Hi" })).await,
            cura.client()
                .post("/auth/login", &json!({ "email": "a@example.com", "password": "b" }))
                .await,
        ] {
            assert_eq!(
                (reply.status.as_u16(), reply.code()),
                (503, "database_unavailable"),
                "{}",
                reply.body
            );
            assert!(reply.header("retry-after").is_some());
        }
        assert_eq!(somebody.get("/health").await.status, 503);
        assert_eq!(somebody.get("/health/ready").await.status, 503);
        assert_eq!(somebody.get("/health/live").await.status, 200);
    }
    wire.restore();
    let sent = eventually("it answers again", async || {
        let sent = somebody.post("/chat/send", &json!({ "content": "Hi again" })).await;
        (sent.status == 200).then_some(sent)
    })
    .await;
    assert_eq!(sent.body["assistant_message"]["content"], "Here I am");
    let messages: i64 = sqlx::query_scalar("SELECT count(*) FROM messages")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(messages, 4, "what was refused was not stored");
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_survives_an_outage_of_postgres_in_its_middle() {
    let words = words(100);
    let text = words.concat();
    let gate = Gate::default();
    let provider = ScriptedProvider::holding(&words, Duration::from_millis(20), &gate).await;
    let (cura, wire) = Cura::builder().answering(&provider).start_behind_wire().await;
    let somebody = cura.somebody().await;
    let mut stream = somebody.stream("Hi").await;
    let mut seen = until_word(&mut stream, &words[18]).await;
    wire.cut();
    while !text_after("", &seen).contains(&words[58]) {
        seen.push(stream.next().await.unwrap());
    }
    wire.restore();
    gate.open();
    seen.extend(stream.rest().await);
    assert_eq!(text_after("", &seen), text);
    assert_eq!(seen.last().unwrap().name, "complete");
    assert_eq!(provider.asked().len(), 1, "it was not generated twice");
    cura.check_invariants().await;
}

#[tokio::test]
async fn answers_survive_workers_that_are_killed_one_after_the_other() {
    let gate = Gate::default();
    let provider = ScriptedProvider::holding(&words(100), Duration::from_millis(8), &gate).await;
    let mut cura = Cura::builder().workers(2).answering(&provider).start().await;
    let somebody = cura.somebody().await;
    let streams = (0..8).map(|n| {
        let somebody = somebody.clone();
        async move { somebody.stream(&format!("Hi {n}")).await.rest().await }
    });
    let all = futures_util::future::join_all(streams);
    let killing = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut victim: Program = cura.workers.remove(0);
            victim.kill();
            cura.add_worker().await;
        }
        gate.open();
    };
    for seen in tokio::join!(all, killing).0 {
        assert_eq!(text_after("", &seen), words(100).concat());
        assert_eq!(seen.iter().filter(|event| event.name == "complete").count(), 1);
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn many_answers_that_end_while_they_are_being_saved_all_end() {
    // They last a second, after which the text so far is saved; and the worker has few connections, but not the server,
    // which is asked sixty times at once.
    let provider = ScriptedProvider::saying(&words(50), Duration::from_millis(20)).await;
    let mut cura = Cura::builder().workers(0).answering(&provider).start().await;
    let few = cura.variables_with(&[("DATABASE_POOL_SIZE", "2".to_owned())]);
    cura.workers
        .push(Program::start("cura-worker", &["--wait", "20"], &few));
    cura.workers[0].says("working").await;
    let somebody = cura.somebody().await;
    let streams = (0..60).map(|_| {
        let somebody = somebody.clone();
        async move { somebody.stream("Hi").await.rest().await }
    });
    for seen in futures_util::future::join_all(streams).await {
        assert_eq!(seen.last().unwrap().name, "complete");
    }
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_server_without_descriptors_waits_for_better_times() {
    let cura = Cura::without_workers().await;
    let pid = rustix::process::Pid::from_raw(cura.servers[0].program.pid().cast_signed()).unwrap();
    let few = rustix::process::Rlimit {
        current: Some(40),
        maximum: Some(40),
    };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, few).unwrap();
    let address = cura.servers[0].base.trim_start_matches("http://").to_owned();
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    cura.servers[0].program.says("no connection can be accepted").await;
    drop(sockets);
    eventually("it accepts again", async || {
        let client = cura.client();
        let asked = client.request(Method::GET, "/health/live").send().await;
        asked.is_ok_and(|response| response.status() == 200).then_some(())
    })
    .await;
    let complaints = cura.said().matches("no connection can be accepted").count();
    assert!(complaints < 100, "it loops: {complaints}");
}
