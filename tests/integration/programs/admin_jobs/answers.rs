//! Answers whose jobs are dead, retried beside people who watch: each is made once, and one that dies again is an error again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cura_tests::provider::{Step, answer, chunk};
use cura_tests::{Cura, FcmServer, ScriptedProvider, View, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::admin::text;
use super::{job_of, json_of, refused, run_beside, run_with, sql};

/// Refuses what it is asked until it is let.
struct Moody {
    provider: ScriptedProvider,
    works: Arc<AtomicBool>,
}

impl Moody {
    async fn start() -> Self {
        let works = Arc::new(AtomicBool::new(false));
        let does = Arc::clone(&works);
        let provider = ScriptedProvider::start(move |_, _| {
            if does.load(Ordering::SeqCst) {
                answer(&["magnesium ", "helps"], Duration::ZERO)
            } else {
                refused()
            }
        })
        .await;
        Self { provider, works }
    }

    fn work(&self, works: bool) {
        self.works.store(works, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_failed_answer_is_made_again_and_whoever_watches_sees_it_as_a_new_one() {
    let moody = Moody::start().await;
    let cura = Cura::with_provider(&moody.provider).await;
    let user = cura.user().await;
    let (mut feed, mut view) = (user.watch(None).await, View::default());
    let asked = user.ask("Hi").await;
    let failed = user.until_final(&asked).await;
    assert_eq!(
        (&failed["status"], &failed["metadata"]["error"]),
        (&json!("error"), &json!("provider_refused"))
    );
    for event in feed.until("error").await {
        view.apply(&event.data);
    }
    let job = job_of(&cura.database, &asked).await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);

    // It dies again, and is an error again.
    assert_eq!(json_of(run, &["retry", &job]), json!({ "retried": 1, "refused": {} }));
    for event in feed.until("error").await {
        view.apply(&event.data);
    }
    let id = asked.as_i64().unwrap();
    assert_eq!(view.messages[&id].status, "error");
    eventually("its job is dead again", async || {
        let shown = json_of(run, &["show", &job]);
        (shown["state"] == "dead").then_some(())
    })
    .await;

    moody.work(true);
    assert_eq!(json_of(run, &["retry", &job])["retried"], 1);
    for event in feed.until("complete").await {
        view.apply(&event.data);
    }
    assert_eq!(
        (view.messages[&id].text.as_str(), view.messages[&id].status.as_str()),
        ("magnesium helps", "sent")
    );
    let made = user.until_final(&asked).await;
    assert_eq!(
        (&made["content"], &made["metadata"]["error"]),
        (&json!("magnesium helps"), &Value::Null)
    );
    assert_eq!(run(&["retry", &job]).status.code(), Some(3), "it is done");

    // A reader that comes back from before it all sees the same.
    let mut replay = View::default();
    let mut again = user.watch(None).await;
    again.wait_for_cursor().await;
    drop(again);
    let mut stream = user.resume(id, None).await;
    for event in stream.rest().await {
        if event.name == "chunk" {
            replay
                .messages
                .entry(id)
                .or_default()
                .text
                .push_str(event.data["content"].as_str().unwrap());
        }
    }
    assert_eq!(replay.messages[&id].text, "magnesium helps");
    cura.check_invariants().await;
    let audited = "SELECT count(*) FROM operator_actions
                   WHERE action = 'jobs.retry' AND operator = 'ada' AND failure IS NULL AND arguments ? 'message_id'";
    assert_eq!(cura.database.count(audited).await, 2);
}

#[tokio::test]
async fn an_answer_that_broke_off_goes_on_under_a_later_attempt_although_its_text_had_ended() {
    let works = Arc::new(AtomicBool::new(false));
    let does = Arc::clone(&works);
    let provider = ScriptedProvider::start(move |_, _| {
        if does.load(Ordering::SeqCst) {
            answer(&["I am ", "here"], Duration::ZERO)
        } else {
            vec![Step::Head, Step::Write(chunk("I am ")), Step::Cut]
        }
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let asked = user.ask("Hi").await;
    let failed = user.until_final(&asked).await;
    assert_eq!(failed["status"], "error");
    let attempts = failed["metadata"]["attempts"].as_i64().unwrap();
    works.store(true, Ordering::SeqCst);
    let job = job_of(&cura.database, &asked).await;
    // Redis keeps the end of the text for a minute, and cannot be asked from where the operator is.
    let variables = [
        ("DATABASE_URL", cura.database.url()),
        ("REDIS_URL", "redis://127.0.0.1:9".to_owned()),
    ];
    let output = run_with(&variables, &["retry", &job]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut stream = user.resume(asked.as_i64().unwrap(), None).await;
    let seen = stream.rest().await;
    let last = seen.last().unwrap();
    assert_eq!(last.name, "complete", "{seen:?}");
    let message = &last.data["message"];
    assert_eq!(message["content"], "I am here");
    assert_eq!(
        message["metadata"]["attempts"].as_i64(),
        Some(attempts + 1),
        "one more was enough"
    );
    cura.check_invariants().await;
}

/// `CURA_DEAD_ANSWERS` (500 unless said otherwise) of a hundredth of as many people, whose provider was away. How soon people who ask
/// meanwhile, and before, see the first text is printed: `make chaos` shows it for ten thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_answers_are_each_made_once_by_two_operators_at_once_while_people_ask() {
    #[expect(clippy::disallowed_methods, reason = "`make chaos` says how many")]
    let dead: u64 = std::env::var("CURA_DEAD_ANSWERS").map_or(500, |answers| answers.parse().unwrap());
    let (people, over) = (dead / 5, format!("{}s", 3 * dead / 500));
    let provider = ScriptedProvider::start(|number, _| {
        // A few die once more.
        if (60..70).contains(&number) {
            refused()
        } else {
            answer(&["magnesium"], Duration::ZERO)
        }
    })
    .await;
    let cura = Cura::builder().workers(2).with_provider(&provider).start().await;
    let fill_people = format!(
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         SELECT n || '@example.com', 'x', now(), now() FROM generate_series(1, {people}) n"
    );
    let fill_conversations = format!(
        "INSERT INTO conversations (user_id, message_count, last_message_at, created_at, updated_at)
         SELECT 1 + n % {people}, 2, now(), now(), now() FROM generate_series(1, {dead}) n"
    );
    for fill in [
        fill_people.as_str(),
        fill_conversations.as_str(),
        "INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
         SELECT id, user_id, 'user', 'hunter2', 'sent', now(), now() FROM conversations",
        "INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, error_code, attempt, attempt_offsets, started_at,
                               created_at, updated_at)
         SELECT conversation_id, user_id, id, 'assistant', '', 'error', 'generation_failed', 4, '{0,0,0,0}', now() - interval '1 hour',
                now() - interval '1 hour', now() - interval '1 hour' FROM messages",
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, done_at, priority, idempotency_key, last_result,
                                  metadata)
         SELECT '01K2ZZZZZZ' || lpad(id::text, 16, '0'), convert_to(format('{\"message_id\":%s}', id), 'UTF8'), 'generate-answer', 'Killed', 4, 4,
                now(), now(), 1, id::text, '{\"Err\": \"the worker died\"}',
                hstore(ARRAY['on_failure', 'on_failure_attempts', 'user', 'conversation'],
                       ARRAY['fail-abandoned-answer', '25', user_id::text, conversation_id::text])
         FROM messages WHERE role = 'assistant'",
    ] {
        sql(&cura.database, fill).await;
    }
    let retry_all = |reason: &'static str| {
        let variables = [("DATABASE_URL", cura.database.url()), ("REDIS_URL", cura.redis.url())];
        let over = over.clone();
        tokio::task::spawn_blocking(move || {
            let arguments = [
                "retry",
                "--all",
                "--queue",
                "generate-answer",
                "--reason",
                reason,
                "--over",
                &over,
                "--json",
            ];
            let output = run_with(&variables, &arguments);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            let said: Value = serde_json::from_slice(&output.stdout).unwrap();
            said["retried"].as_u64().unwrap()
        })
    };
    let user = cura.user().await;
    let first_text = async |n: u64| {
        let begun = Instant::now();
        let mut stream = user.stream(&format!("question {n}")).await;
        // To its end, whichever that is.
        stream.rest().await;
        begun.elapsed()
    };
    let mut before = Vec::new();
    for n in 0..40 {
        before.push(first_text(n).await);
    }
    let retrying = async { tokio::join!(retry_all("the worker died"), retry_all("the worker died")) };
    tokio::pin!(retrying);
    let mut meanwhile = Vec::new();
    let (first, second) = loop {
        tokio::select! {
            both = &mut retrying => break both,
            took = first_text(100) => meanwhile.push(took),
        }
    };
    assert_eq!(first.unwrap() + second.unwrap(), dead);
    let p95 = |mut times: Vec<Duration>| {
        times.sort();
        times.get(times.len() * 95 / 100).copied().unwrap_or_default()
    };
    let (usual, busy) = (p95(before), p95(meanwhile));
    println!("answered within: usually {usual:?}, while {dead} are retried {busy:?} (p95)");
    assert!(
        busy < Duration::from_secs(20),
        "people who ask meanwhile are answered: {busy:?}"
    );
    cura.check_invariants().await;
    let died = "SELECT count(*) FROM messages m JOIN apalis.jobs j ON j.idempotency_key = m.id::text AND j.job_type = 'generate-answer'
                WHERE m.status = 'error' AND m.error_code = 'provider_refused' AND j.status = 'Killed'";
    let died_again = cura.database.count(died).await;
    let again = retry_all("refused").await.unwrap();
    assert_eq!(i64::try_from(again), Ok(died_again));
    cura.check_invariants().await;
    let made = "SELECT count(*) FROM messages WHERE role = 'assistant' AND status = 'sent' AND content = 'magnesium' AND user_id <= $1";
    let made: i64 = sqlx::query_scalar(made)
        .bind(i64::try_from(people).unwrap())
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(u64::try_from(made), Ok(dead), "each is made");
    let twice = "SELECT count(*) FROM (SELECT message_id FROM answer_attempts WHERE outcome = 'completed'
                                       GROUP BY message_id HAVING count(*) > 1) twice";
    assert_eq!(cura.database.count(twice).await, 0, "and once");
    assert!(!cura.logs().contains("hunter2"));
}

#[tokio::test]
async fn a_retried_answer_is_pushed_once_more_and_never_twice_for_one_end() {
    let moody = Moody::start().await;
    let fcm = FcmServer::start().await;
    let cura = Cura::builder()
        .with_provider(&moody.provider)
        .with_fcm(&fcm)
        .start()
        .await;
    let user = cura.user().await;
    let device = json!({ "fcm_token": "phone", "platform": "android" });
    assert_eq!(user.post("/devices/register", &device).await.status, 201);
    let asked = user.ask("Hi").await;
    let conversation = user.until_final(&asked).await["conversation_id"].clone();
    let sent = fcm.wait_for_sends_to("phone", 1).await;
    assert_eq!(sent[0].message["data"]["type"], "answer_failed");
    // Who has read that it failed has not read what it becomes.
    let read = user.request(Method::POST, &format!("/conversations/{conversation}/read"));
    user.send(read.json(&json!({ "message_id": asked }))).await;
    moody.work(true);
    let job = job_of(&cura.database, &asked).await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    assert_eq!(json_of(run, &["retry", &job])["retried"], 1);
    let answers = async || {
        let sends = fcm.sends();
        let answers = sends.iter().filter(|send| send.message["data"]["type"] == "answer");
        answers.count()
    };
    eventually("it is pushed", async || (answers().await == 1).then_some(())).await;
    eventually("all pushes are decided", async || {
        let waiting =
            "SELECT count(*) FROM apalis.jobs WHERE job_type = 'send-push' AND status NOT IN ('Done', 'Killed')";
        (cura.database.count(waiting).await == 0).then_some(())
    })
    .await;
    assert_eq!(answers().await, 1);
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_operator_cancels_an_answer_as_its_person_does() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Head, Step::Write(chunk("Some words")), Step::Hang]).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    stream.until_text("Some words").await;
    let asked: Value = sqlx::query_scalar::<_, i64>("SELECT id FROM messages WHERE role = 'assistant'")
        .fetch_one(cura.database.pool())
        .await
        .unwrap()
        .into();
    let job = job_of(&cura.database, &asked).await;
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    assert_eq!(provider.open_connections(), 1);
    let cancelling = {
        let (url, redis, job) = (cura.database.url(), cura.redis.url(), job.clone());
        tokio::task::spawn_blocking(move || {
            run_with(
                &[("DATABASE_URL", url), ("REDIS_URL", redis)],
                &["cancel", &job, "--json"],
            )
        })
    };
    let marked = eventually("it is to be cancelled", async || {
        let marked = "SELECT count(*) FROM messages WHERE cancel_requested_at IS NOT NULL";
        (cura.database.count(marked).await == 1).then(Instant::now)
    })
    .await;
    eventually("the provider is left", async || {
        (provider.open_connections() == 0).then_some(())
    })
    .await;
    assert!(marked.elapsed() < Duration::from_secs(1), "{:?}", marked.elapsed());
    let output = cancelling.await.unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        said["items"][0],
        json!({ "id": job, "state": "done", "message_id": asked })
    );
    let ended = user.until_final(&asked).await;
    assert_eq!(
        (&ended["status"], &ended["metadata"]["finish_reason"], &ended["content"]),
        (&json!("sent"), &json!("cancelled"), &json!("Some words"))
    );
    assert_eq!(stream.rest().await.last().unwrap().name, "complete");
    assert_eq!(run(&["retry", &job]).status.code(), Some(3));
    assert_eq!(run(&["cancel", &job]).status.code(), Some(3));
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_answer_whose_worker_does_not_stop_is_ended_without_it() {
    let mut cura = Cura::without_workers().await;
    let user = cura.user().await;
    let waiting = user.ask("Hi").await;
    let job = job_of(&cura.database, &waiting).await;
    let cancelled = json_of(|arguments| run_beside(&cura, arguments), &["cancel", &job]);
    assert_eq!(cancelled["items"][0]["state"], "cancelled");
    assert_eq!(
        user.until_final(&waiting).await["metadata"]["finish_reason"],
        "cancelled"
    );

    let running = user.ask("Ho").await;
    sql(
        &cura.database,
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at)
         VALUES ('frozen', 'other', 'other', '', now(), now())",
    )
    .await;
    sql(
        &cura.database,
        "UPDATE apalis.jobs SET status = 'Running', lock_by = 'frozen', lock_at = now(), attempts = 1 WHERE status = 'Pending'",
    )
    .await;
    let job = job_of(&cura.database, &running).await;
    let cancelled = json_of(|arguments| run_beside(&cura, arguments), &["cancel", &job]);
    assert_eq!(cancelled["items"][0]["message_id"], running);
    assert_eq!(
        user.until_final(&running).await["metadata"]["finish_reason"],
        "cancelled"
    );
    let forced = "SELECT count(*) FROM operator_actions WHERE action = 'jobs.cancel' AND arguments ? 'forced'";
    assert_eq!(cura.database.count(forced).await, 1);
    sql(
        &cura.database,
        "UPDATE apalis.jobs SET status = 'Done', lock_by = NULL, done_at = now() WHERE lock_by = 'frozen'",
    )
    .await;
    cura.add_worker().await;
    cura.check_invariants().await;
}
