//! The statements that take an answer and end it do what the transactions do that take their place where more has to be found out.

use cura_answers::{AnswerWriter, Answers, AttemptCost, BeginOptions, FollowUps, WriteError};
use cura_app::chat::{AnswerRequest, BusyPolicy, RequestKind, RequestOrigin};
use cura_app::sign_in_guard::Place;
use cura_app::{App, Caller};
use cura_bin::wiring;
use cura_domain::account::{Email, NewPassword};
use cura_domain::message::{AnswerResult, FinishReason, MessageText, Usage};
use cura_domain::{ConversationId, MessageId, ModelRef, SessionId};
use cura_live::{Live, LiveConfig};
use cura_providers::ai::Ai;
use cura_queue::Claimed;
use cura_store::{Database, owners};
use cura_tests::{TestDatabase, in_process};
use serde_json::Value;
use sqlx::PgPool;

/// The worker that has claimed the jobs of these tests.
const WORKER: &str = "worker";
const OPTIONS: BeginOptions<'static> = BeginOptions {
    max_running: 3,
    can_continue: true,
    worker: "test",
};

struct Scene {
    app: App,
    answers: Answers,
    database: TestDatabase,
}

impl Scene {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let live = Live::in_process(LiveConfig::default());
        let (settings, files) = in_process();
        let store = Database::from(database.pool().clone());
        let insert = "INSERT INTO apalis.workers (id, worker_type, storage_name) VALUES ($1, 'cura', 'cura')";
        sqlx::query(insert).bind(WORKER).execute(database.pool()).await.unwrap();
        Self {
            app: wiring::app(&settings, store.clone(), live.clone(), Ai::demo(), files).unwrap(),
            answers: Answers::new(store, live, wiring::clock(), ModelRef::new("test", "model"), 3, true),
            database,
        }
    }

    fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    async fn caller(&self, name: &str) -> Caller {
        let email = Email::new(&format!("{name}@example.com")).unwrap();
        let password = NewPassword::new("a long password").unwrap();
        let place = Place::new("192.0.2.1".to_owned());
        let registered = self
            .app
            .accounts
            .register(&email, &password, None, &place)
            .await
            .unwrap();
        let phone =
            "INSERT INTO devices (user_id, session_id, platform, kind, address_hash, address, last_active, created_at)
                     SELECT $1, id, 'ios', 'fcm', decode(md5($1::text) || md5('x'), 'hex'), 'x', now(), now()
                     FROM sessions WHERE user_id = $1";
        sqlx::query(phone)
            .bind(registered.user.id.0)
            .execute(self.pool())
            .await
            .unwrap();
        Caller {
            user: registered.user.id,
            session: SessionId(1),
            until: chrono::DateTime::<chrono::Utc>::MAX_UTC,
            oldest_generation: 0,
        }
    }

    async fn ask(&self, caller: Caller, conversation: Option<ConversationId>) -> (ConversationId, MessageId) {
        let request = AnswerRequest {
            kind: RequestKind::Send {
                conversation,
                text: MessageText::new("Hello, how are you?".to_owned()).unwrap(),
                files: Vec::new(),
            },
            busy_policy: BusyPolicy::Queue,
            key: None,
            origin: RequestOrigin::default(),
        };
        let started = self.app.chat.start(caller, &request).await.unwrap();
        (started.conversation, started.answer.id)
    }

    /// Takes an answer and writes some words of it.
    async fn write(&self, id: MessageId) -> AnswerWriter {
        let taken = self.answers.take(id, OPTIONS, 10_000).await.unwrap().unwrap();
        let mut writer = self.answers.writer(id, taken.attempt);
        writer.announce_start().await;
        writer.append("Some words.").await.unwrap();
        writer
    }

    /// Claims the job of an answer.
    async fn claim(&self, id: MessageId) -> Claimed {
        let job_id = sqlx::query_scalar(
            "UPDATE apalis.jobs SET status = 'Running', attempts = 1, lock_by = $2, lock_at = now()
             WHERE job_type = 'generate-answer' AND idempotency_key = $1 RETURNING id",
        )
        .bind(id.to_string())
        .bind(WORKER)
        .fetch_one(self.pool())
        .await
        .unwrap();
        Claimed {
            job_id,
            instance_id: WORKER.into(),
            attempt: 1,
        }
    }

    async fn job_status(&self, id: MessageId) -> String {
        sqlx::query_scalar("SELECT status FROM apalis.jobs WHERE job_type = 'generate-answer' AND idempotency_key = $1")
            .bind(id.to_string())
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    /// All that an end leaves behind, without ids and times.
    async fn left_behind(&self, (conversation, answer): (ConversationId, MessageId)) -> Value {
        sqlx::query_scalar(
            r#"SELECT jsonb_build_object(
                   'message', to_jsonb(m) - ARRAY['id', 'conversation_id', 'user_id', 'parent_id', 'created_at', 'updated_at',
                                                  'started_at', 'latency_ms', 'ttft_ms', 'attempt_starts'],
                   'times', ARRAY[m.latency_ms IS NOT NULL, m.ttft_ms IS NOT NULL, c.last_message_at = m.updated_at,
                                  c.updated_at = m.updated_at],
                   'attempts', (SELECT jsonb_agg(to_jsonb(a) - ARRAY['message_id', 'user_id', 'ended_at', 'ttft_ms']
                                                 || jsonb_build_object('same_ttft', a.ttft_ms = m.ttft_ms))
                                FROM answer_attempts a WHERE a.message_id = m.id AND a.ended_at = m.updated_at),
                   'usage', (SELECT jsonb_agg(to_jsonb(u) - 'user_id') FROM usage_days u WHERE u.user_id = m.user_id),
                   'counter', (SELECT seq FROM event_counters e WHERE e.user_id = m.user_id),
                   'events', (SELECT jsonb_agg(jsonb_build_array(e.seq, e.kind,
                                               (e.payload ->> 'message_id')::bigint = m.id,
                                               (e.payload ->> 'conversation_id')::bigint = c.id) ORDER BY e.seq)
                              FROM events e WHERE e.user_id = m.user_id),
                   'title', (SELECT jsonb_build_object('payload', convert_from(j.job, 'UTF8') = '{"conversation_id":' || c.id || '}',
                                                       'status', j.status, 'attempts', j.attempts, 'max', j.max_attempts,
                                                       'priority', j.priority, 'waits', j.run_at > now() + interval '1 s',
                                                       'key', j.idempotency_key = c.id::text,
                                                       'user', (j.metadata -> 'user')::bigint = c.user_id,
                                                       'conversation', (j.metadata -> 'conversation')::bigint = c.id)
                             FROM apalis.jobs j WHERE j.job_type = 'title-conversation' AND j.idempotency_key = c.id::text),
                   'push', (SELECT jsonb_build_object('payload', convert_from(j.job, 'UTF8') = '{"message_id":' || m.id || '}',
                                                      'status', j.status, 'attempts', j.attempts, 'max', j.max_attempts,
                                                      'priority', j.priority, 'waits', j.run_at > now() + interval '1 s',
                                                      'user', (j.metadata -> 'user')::bigint = c.user_id,
                                                      'conversation', (j.metadata -> 'conversation')::bigint = c.id)
                            FROM apalis.jobs j WHERE j.job_type = 'send-push' AND j.idempotency_key = m.id::text))
               FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = $1 AND c.id = $2"#,
        )
        .bind(answer.0)
        .bind(conversation.0)
        .fetch_one(self.pool())
        .await
        .unwrap()
    }
}

const TITLE: FollowUps = FollowUps {
    title: true,
    summarize_up_to: None,
};

fn cost(reasoning_tokens: Option<i64>) -> AttemptCost {
    AttemptCost {
        model: ModelRef::new("test", "model"),
        usage: Usage {
            input_tokens: 11,
            output_tokens: 7,
            estimated: false,
        },
        reasoning_tokens,
    }
}

#[tokio::test]
async fn an_end_in_one_statement_leaves_what_one_in_a_transaction_leaves() {
    let scene = Scene::new().await;
    let results = [
        (AnswerResult::Completed(FinishReason::Stop), Some(cost(None))),
        (AnswerResult::Completed(FinishReason::Length), Some(cost(Some(3)))),
        (AnswerResult::Cancelled, Some(cost(None))),
        (AnswerResult::Cancelled, None),
        (AnswerResult::Failed("provider_unavailable"), Some(cost(Some(1)))),
        (AnswerResult::Failed("provider_unavailable"), None),
    ];
    for (number, (result, cost)) in results.iter().enumerate() {
        let mut left = Vec::new();
        for alone in [true, false] {
            let caller = scene.caller(&format!("{number}.{alone}")).await;
            let asked = scene.ask(caller, None).await;
            let job = scene.claim(asked.1).await;
            let writer = scene.write(asked.1).await;
            let finished = writer.finish(*result, cost.as_ref(), TITLE, alone.then_some(&job));
            assert_eq!(finished.await.unwrap().job_is_completed(), alone);
            let status = if alone { "Done" } else { "Running" };
            assert_eq!(scene.job_status(asked.1).await, status);
            left.push(scene.left_behind(asked).await);
        }
        assert_eq!(left[0], left[1], "{result:?}");
        assert_eq!(left[0]["message"]["content"], "Some words.");
        let counted = left[0]["attempts"].is_array();
        assert_eq!(counted, cost.is_some(), "{}", left[0]);
        let is_pushed = left[0]["push"]["payload"] == true;
        assert_eq!(is_pushed, *result != AnswerResult::Cancelled, "{}", left[0]);
    }
}

#[tokio::test]
async fn an_end_that_is_repeated_changes_nothing() {
    let scene = Scene::new().await;
    let asked = scene.ask(scene.caller("a").await, None).await;
    let job = scene.claim(asked.1).await;
    let writer = scene.write(asked.1).await;
    let result = AnswerResult::Completed(FinishReason::Stop);
    let first = writer.finish(result, Some(&cost(None)), TITLE, Some(&job)).await;
    assert!(first.unwrap().job_is_completed());
    let left = scene.left_behind(asked).await;
    let again = writer.finish(result, Some(&cost(None)), TITLE, Some(&job)).await;
    assert!(matches!(again, Err(WriteError::Superseded)));
    assert_eq!(scene.left_behind(asked).await, left);
}

#[tokio::test]
async fn a_job_that_another_has_claimed_stays_theirs() {
    let scene = Scene::new().await;
    let caller = scene.caller("a").await;
    let wrong: [fn(&mut Claimed); 3] = [
        |job| job.attempt = 2,
        |job| job.instance_id = "another".into(),
        |job| job.job_id = "another".to_owned(),
    ];
    for change in wrong {
        let asked = scene.ask(caller, None).await;
        let mut job = scene.claim(asked.1).await;
        change(&mut job);
        let writer = scene.write(asked.1).await;
        let result = AnswerResult::Completed(FinishReason::Stop);
        let finished = writer.finish(result, None, FollowUps::default(), Some(&job)).await;
        assert!(!finished.unwrap().job_is_completed());
        assert_eq!(scene.job_status(asked.1).await, "Running");
        assert_eq!(scene.left_behind(asked).await["message"]["status"], "sent");
    }
}

#[tokio::test]
async fn an_end_that_others_wait_for_lets_them_start() {
    let scene = Scene::new().await;
    let caller = scene.caller("a").await;
    let first = scene.ask(caller, None).await;
    let writer = scene.write(first.1).await;
    let job = scene.claim(first.1).await;
    let second = scene.ask(caller, Some(first.0)).await;
    let ready = "SELECT count(*) FROM apalis.jobs WHERE idempotency_key = $1 AND run_at <= now()";
    let is_ready = async || -> i64 {
        let key = second.1.to_string();
        sqlx::query_scalar(ready)
            .bind(key)
            .fetch_one(scene.pool())
            .await
            .unwrap()
    };
    assert_eq!(is_ready().await, 0);
    assert!(
        scene.answers.take(second.1, OPTIONS, 1).await.unwrap().is_none(),
        "not its turn"
    );
    let result = AnswerResult::Completed(FinishReason::Stop);
    let finished = writer.finish(result, Some(&cost(None)), TITLE, Some(&job)).await;
    assert!(!finished.unwrap().job_is_completed(), "the queue does that");
    assert_eq!(is_ready().await, 1);
    let taken = scene.answers.take(second.1, OPTIONS, 10_000).await.unwrap().unwrap();
    let said: Vec<_> = taken
        .history
        .newest_first
        .iter()
        .map(|said| &*said.message.content)
        .collect();
    assert_eq!(said, ["Hello, how are you?", "Some words.", "Hello, how are you?"]);
    assert!(taken.attempt.text.is_empty());
    assert!(
        scene.answers.take(second.1, OPTIONS, 1).await.unwrap().is_none(),
        "it was taken"
    );
}

#[tokio::test]
async fn nobody_takes_or_ends_what_is_being_erased_or_cancelled() {
    let scene = Scene::new().await;
    for change in [
        "UPDATE users SET erased_at = now() WHERE id = $1",
        "UPDATE conversations SET deleted_at = now() WHERE user_id = $1",
        "UPDATE messages SET cancel_requested_at = now() WHERE user_id = $1 AND role = 'assistant'",
    ] {
        let caller = scene.caller(&change.len().to_string()).await;
        let (_, id) = scene.ask(caller, None).await;
        let change = sqlx::query(sqlx::AssertSqlSafe(change)).bind(caller.user.0);
        change.execute(scene.pool()).await.unwrap();
        assert!(scene.answers.take(id, OPTIONS, 1).await.unwrap().is_none());
    }
    let caller = scene.caller("erased").await;
    let asked = scene.ask(caller, None).await;
    let job = scene.claim(asked.1).await;
    let writer = scene.write(asked.1).await;
    let erase = sqlx::query("UPDATE users SET erased_at = now() WHERE id = $1").bind(caller.user.0);
    erase.execute(scene.pool()).await.unwrap();
    let finished = writer
        .finish(AnswerResult::Cancelled, None, FollowUps::default(), Some(&job))
        .await;
    assert!(matches!(finished, Err(WriteError::Superseded)));
    let mut connection = scene.pool().acquire().await.unwrap();
    assert_eq!(owners::find(&mut connection, asked.0).await.unwrap(), None);
}

#[tokio::test]
async fn an_end_that_comes_too_late_changes_nothing() {
    let scene = Scene::new().await;
    let asked = scene.ask(scene.caller("a").await, None).await;
    let job = scene.claim(asked.1).await;
    let writer = scene.write(asked.1).await;
    let left = scene.left_behind(asked).await;
    // Another attempt takes over while the end waits for the conversation.
    let mut other = scene.pool().begin().await.unwrap();
    let lock = sqlx::query("SELECT FROM conversations WHERE id = $1 FOR UPDATE").bind(asked.0.0);
    lock.execute(&mut *other).await.unwrap();
    let result = AnswerResult::Completed(FinishReason::Stop);
    let (cost, taking_over) = (cost(None), async {
        scene.database.wait_for_lock_waiter().await;
        let begin = sqlx::query("UPDATE messages SET attempt = 2 WHERE id = $1").bind(asked.1.0);
        begin.execute(&mut *other).await.unwrap();
        other.commit().await.unwrap();
    });
    let (finished, ()) = tokio::join!(writer.finish(result, Some(&cost), TITLE, Some(&job)), taking_over);
    assert!(matches!(finished, Err(WriteError::Superseded)));
    let mut after = scene.left_behind(asked).await;
    assert_eq!(after["message"]["attempt"].take(), 2);
    after["message"]["attempt"] = 1.into();
    assert_eq!(after, left, "not even that the conversation changed");
}

#[tokio::test]
async fn a_worker_that_was_lost_before_an_answer_was_retried_writes_nothing_of_it() {
    for job in [false, true] {
        let scene = Scene::new().await;
        let caller = scene.caller("ada").await;
        let (_, id) = scene.ask(caller, None).await;
        let writer = scene.write(id).await;
        // Its job has died, and an operator has it run again.
        let died = "UPDATE messages SET status = 'error', error_code = 'generation_failed' WHERE id = $1";
        sqlx::query(died).bind(id.0).execute(scene.pool()).await.unwrap();
        let mut connection = scene.pool().acquire().await.unwrap();
        let now = wiring::clock().now();
        assert!(cura_store::answers::retry(&mut connection, id, 0, now).await.unwrap());
        // No provider can be asked for now: its turn is noted, and nothing has begun.
        let eligible = cura_store::answers::record_eligible(&mut connection, id, 3, now)
            .await
            .unwrap();
        assert!(eligible.is_some());
        drop(connection);

        let claimed = Claimed {
            job_id: "none".to_owned(),
            instance_id: WORKER.into(),
            attempt: 1,
        };
        let result = AnswerResult::Completed(FinishReason::Stop);
        let late = writer
            .finish(result, None, FollowUps::default(), job.then_some(&claimed))
            .await;
        assert!(matches!(late, Err(WriteError::Superseded)), "{:?}", late.err());
        writer
            .leave((cura_answers::Outcome::Retried, "late"), None, None, None)
            .await;
        let untouched =
            "SELECT count(*) FROM messages WHERE status = 'sending' AND attempt = 1 AND attempt_notes IS NULL";
        assert_eq!(scene.database.count(untouched).await, 1);

        let store = Database::from(scene.pool().clone());
        let begun = store
            .transaction(async |connection| scene.answers.begin(connection, id, OPTIONS).await)
            .await
            .unwrap();
        assert!(matches!(begun, cura_answers::AttemptStart::Started(_)), "{begun:?}");
    }
}
