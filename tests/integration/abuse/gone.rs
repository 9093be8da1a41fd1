//! Words that a person deleted reach nobody any more: no job that waits, runs or was frozen sends or keeps them.

use std::time::Duration;

use cura_domain::answer::{AttemptOffsets, Fence, Position};
use cura_domain::{ConversationId, MessageId, UserId};
use cura_live::{AppendError, Live, LiveConfig, Progress};
use cura_providers::ai::{Ai, Call, Failure, NoPermission, Permission};
use cura_queue::{EnqueueOptions, JobOwner, SummarizeConversation, TitleConversation, enqueue_or_renew, enqueue_with};
use cura_tests::completion::{new_request_key, openai, prompt};
use cura_tests::provider::{answer, refusal, words};
use cura_tests::{Client, Cura, InterruptedAnswer, ScriptedProvider, Step, TestRedis, eventually, interrupted_answer};
use reqwest::Method;
use serde_json::{Value, json};

/// How a person deletes words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deletion {
    OfTheAccount,
    OfTheConversation,
}

const DELETIONS: [Deletion; 2] = [Deletion::OfTheAccount, Deletion::OfTheConversation];

/// The jobs that work with words, and those alone.
const WORDS: &str = "job_type IN ('generate-answer', 'title-conversation', 'summarize-conversation', 'export-account')";

impl Deletion {
    async fn by(self, user: &Client, conversation: &Value) {
        let request = match self {
            Self::OfTheAccount => user
                .request(Method::DELETE, "/users/me")
                .json(&json!({ "password": "a long password" })),
            Self::OfTheConversation => user.request(Method::DELETE, &format!("/conversations/{conversation}")),
        };
        assert_eq!(user.send(request).await.status, 204);
    }

    /// The jobs that work with what was deleted.
    fn jobs(self) -> String {
        match self {
            Self::OfTheAccount => WORDS.to_owned(),
            // An archive has the rest of what the person has.
            Self::OfTheConversation => format!("{WORDS} AND job_type <> 'export-account'"),
        }
    }
}

/// A conversation with an answer, and its person.
struct Conversation {
    user: Client,
    id: Value,
    answer: MessageId,
}

impl Conversation {
    async fn begin(cura: &Cura) -> Self {
        let user = cura.user().await;
        let sent = user.send_message(&Value::Null, "my secret words").await;
        Self {
            user,
            id: sent["conversation_id"].clone(),
            answer: MessageId(sent["assistant_message"]["id"].as_i64().unwrap()),
        }
    }

    async fn options(&self) -> EnqueueOptions {
        let user = UserId(self.user.get("/users/me").await.body["id"].as_i64().unwrap());
        EnqueueOptions {
            owner: Some(JobOwner::conversation(user, ConversationId(self.id.as_i64().unwrap()))),
            ..EnqueueOptions::default()
        }
    }

    async fn enqueue_title(&self, cura: &Cura) {
        let mut connection = cura.database.pool().acquire().await.unwrap();
        let conversation_id = self.id.as_i64().unwrap();
        let title = TitleConversation { conversation_id };
        let options = self.options().await;
        enqueue_with(&mut connection, &title, options).await.unwrap();
    }

    async fn enqueue_summary(&self, cura: &Cura) {
        let mut connection = cura.database.pool().acquire().await.unwrap();
        let summary = SummarizeConversation {
            conversation_id: self.id.as_i64().unwrap(),
            message_id: self.answer.0,
        };
        let options = self.options().await;
        enqueue_or_renew(&mut connection, &summary, options).await.unwrap();
    }
}

async fn execute(cura: &Cura, statement: String) {
    let statement = sqlx::AssertSqlSafe(statement);
    sqlx::query(statement).execute(cura.database.pool()).await.unwrap();
}

async fn count(cura: &Cura, rows: &str) -> i64 {
    let statement = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {rows}"));
    sqlx::query_scalar(statement)
        .fetch_one(cura.database.pool())
        .await
        .unwrap()
}

/// One waiting job of each kind that works with words, and no worker.
async fn one_job_of_each_kind(cura: &mut Cura) -> Conversation {
    let conversation = Conversation::begin(cura).await;
    cura.workers.clear();
    let question = json!({ "conversation_id": conversation.id, "content": "more secret words" });
    conversation.user.send_without_waiting(&question).await;
    conversation.enqueue_title(cura).await;
    conversation.enqueue_summary(cura).await;
    assert_eq!(conversation.user.get("/users/me/export").await.status, 202);
    let waiting = format!("apalis.jobs WHERE {WORDS} AND status = 'Pending'");
    assert_eq!(count(cura, &waiting).await, 4, "one of each kind");
    conversation
}

#[tokio::test]
async fn deleting_words_cancels_the_waiting_jobs_of_every_kind_in_the_same_transaction() {
    for deletion in DELETIONS {
        let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
        let mut cura = Cura::with_provider(&provider).await;
        let conversation = one_job_of_each_kind(&mut cura).await;
        let neighbour = cura.client().register("neighbour@example.com").await;
        neighbour.ask("words that stay").await;
        deletion.by(&conversation.user, &conversation.id).await;
        let jobs = deletion.jobs();
        let left = format!("apalis.jobs WHERE {jobs} AND status = 'Pending'");
        assert_eq!(count(&cura, &left).await, 1, "{deletion:?}: only the neighbour's");
        cura.add_worker().await;
        eventually("nothing is left of the words", async || {
            let rows = format!("messages WHERE conversation_id = {}", conversation.id);
            (count(&cura, &rows).await == 0).then_some(())
        })
        .await;
        eventually("the neighbour is answered", async || {
            (provider.requests().len() == 2).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_job_that_was_not_cancelled_finds_no_words_after_they_were_deleted() {
    for deletion in DELETIONS {
        let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
        let mut cura = Cura::with_provider(&provider).await;
        let conversation = one_job_of_each_kind(&mut cura).await;
        deletion.by(&conversation.user, &conversation.id).await;
        // The rows stay, and the jobs come back as a version before this one has left them: with no owner.
        let jobs = deletion.jobs();
        execute(
            &cura,
            "UPDATE apalis.jobs SET status = 'Killed' WHERE status = 'Pending'".to_owned(),
        )
        .await;
        let back = format!(
            "UPDATE apalis.jobs SET status = 'Pending', attempts = 0, run_at = now(), done_at = NULL, metadata = NULL
             WHERE {jobs} AND idempotency_key <> '{}'",
            conversation.answer
        );
        execute(&cura, back).await;
        cura.add_worker().await;
        eventually("all have run", async || {
            let open = format!("apalis.jobs WHERE {jobs} AND status IN ('Pending', 'Running')");
            (count(&cura, &open).await == 0).then_some(())
        })
        .await;
        assert_eq!(provider.requests().len(), 1, "{deletion:?}: nothing more was sent");
        assert_eq!(count(&cura, "summaries").await, 0);
        assert_eq!(count(&cura, "exports WHERE state = 'ready'").await, 0);
        assert_eq!(
            count(&cura, "messages WHERE content = 'my secret words'").await,
            1,
            "the words were still there"
        );
    }
}

#[tokio::test]
async fn a_request_under_way_is_dropped_when_its_words_are_deleted_whatever_it_is_for() {
    for deletion in DELETIONS {
        for kind in ["answer", "title", "summary"] {
            let provider = ScriptedProvider::start(|number, _| match number {
                0 => answer(&["Hello"], Duration::ZERO),
                _ => vec![Step::Hang],
            })
            .await;
            let cura = Cura::with_provider(&provider).await;
            let conversation = Conversation::begin(&cura).await;
            match kind {
                "answer" => {
                    let question = json!({ "conversation_id": conversation.id, "content": "more" });
                    conversation.user.send_without_waiting(&question).await;
                }
                "title" => conversation.enqueue_title(&cura).await,
                _ => conversation.enqueue_summary(&cura).await,
            }
            provider.wait_for_requests(2).await;
            deletion.by(&conversation.user, &conversation.id).await;
            provider.wait_for_disconnect().await;
            eventually("the words are gone", async || {
                let rows = format!("messages WHERE conversation_id = {}", conversation.id);
                (count(&cura, &rows).await == 0).then_some(())
            })
            .await;
            let open = format!("apalis.jobs WHERE {WORDS} AND status IN ('Pending', 'Running')");
            eventually("its job is over", async || {
                (count(&cura, &open).await == 0).then_some(())
            })
            .await;
            assert_eq!(
                provider.requests().len(),
                2,
                "{deletion:?}, {kind}: nothing is tried again"
            );
        }
    }
}

/// A permission that is given `times` times.
fn permission(times: usize, refusal: NoPermission) -> Permission {
    let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(times));
    Permission::new(move || {
        let left = std::sync::Arc::clone(&left);
        Box::pin(async move {
            let order = std::sync::atomic::Ordering::SeqCst;
            let given = left.try_update(order, order, |left| left.checked_sub(1));
            given.map(drop).map_err(|_| refusal)
        })
    })
}

#[tokio::test]
async fn the_permission_to_send_words_is_asked_before_each_request_and_each_fallback() {
    for (refused, failure) in [
        (NoPermission::Withdrawn, Failure::Withdrawn),
        (NoPermission::Unknown, Failure::Unconfirmed),
    ] {
        let broken = ScriptedProvider::start(|_, _| refusal("503 Service Unavailable", "", &json!({}))).await;
        let fallback = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
        let ai = Ai::openai(openai(&broken.url())).unwrap();
        let ai = ai.with_fallback(Ai::openai(openai(&fallback.url())).unwrap());
        let ask = async |times| {
            let call = Call::new(new_request_key(), permission(times, refused));
            ai.open_completion(&call, prompt()).await
        };
        assert_eq!(ask(0).await.unwrap_err().failure(), &failure);
        assert_eq!((broken.requests().len(), fallback.requests().len()), (0, 0));
        assert_eq!(ask(1).await.unwrap_err().failure(), &failure);
        assert_eq!((broken.requests().len(), fallback.requests().len()), (1, 0));
        assert!(ask(2).await.is_ok());
        assert_eq!((broken.requests().len(), fallback.requests().len()), (2, 1));
    }
}

#[tokio::test]
async fn a_withdrawn_permission_says_nothing_about_the_provider() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let ai = Ai::openai(openai(&provider.url())).unwrap();
    for _ in 0..20 {
        let call = Call::new(new_request_key(), permission(0, NoPermission::Withdrawn));
        ai.open_completion(&call, prompt()).await.unwrap_err();
    }
    let call = Call::new(new_request_key(), permission(1, NoPermission::Withdrawn));
    assert!(ai.open_completion(&call, prompt()).await.is_ok());
}

#[tokio::test]
async fn an_archive_of_an_erased_person_never_appears() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    // The job has packed everything, and waits to name the place where it puts it.
    let mut holder = cura.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE export_objects IN EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    assert_eq!(user.get("/users/me/export").await.status, 202);
    cura.database.wait_for_lock_waiter().await;
    Deletion::OfTheAccount.by(&user, &Value::Null).await;
    holder.commit().await.unwrap();
    eventually("the user is gone", async || {
        (count(&cura, "users").await == 0).then_some(())
    })
    .await;
    for table in ["export_objects", "object_deletions"] {
        assert_eq!(count(&cura, table).await, 0, "{table}");
    }
    assert!(!cura.data.path().join("files/1").exists(), "nothing is in the store");
    assert_eq!(count(&cura, "events").await, 0);
}

/// The keys of texts in Redis.
async fn texts(cura: &Cura) -> Vec<String> {
    let redis = redis::Client::open(cura.redis.url()).unwrap();
    let mut connection = redis.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("KEYS")
        .arg("cura:answer:*:text")
        .query_async(&mut connection)
        .await
        .unwrap()
}

/// An answer whose worker was frozen in the middle of it; another worker is there.
async fn frozen() -> InterruptedAnswer {
    let mut answer = interrupted_answer().words(400, Duration::from_millis(20)).start().await;
    answer.cura.workers[0].signal("STOP");
    answer.cura.add_worker().await;
    answer
}

#[tokio::test]
async fn a_worker_that_was_frozen_while_words_were_deleted_does_not_write_them_again() {
    for deletion in DELETIONS {
        let answer = frozen().await;
        deletion.by(&answer.user, &answer.conversation_id()).await;
        assert_eq!(texts(&answer.cura).await, Vec::<String>::new(), "gone with the 204");
        eventually("the rows are gone", async || {
            (count(&answer.cura, "messages").await == 0).then_some(())
        })
        .await;
        answer.cura.workers[0].signal("CONT");
        answer.let_finish();
        answer.provider.wait_for_disconnect().await;
        answer.cura.workers[0]
            .wait_for_log("this worker was declared dead")
            .await;
        assert_eq!(texts(&answer.cura).await, Vec::<String>::new(), "{deletion:?}");
    }
}

#[tokio::test]
async fn a_forgotten_text_is_gone_at_once_and_cannot_be_written_again() {
    let redis = TestRedis::start();
    let shared = Live::redis(&redis.url(), LiveConfig::default()).unwrap();
    let elsewhere = Live::redis(&redis.url(), LiveConfig::default()).unwrap();
    let alone = Live::in_process(LiveConfig::default());
    for (writer, other) in [(&alone, &alone), (&shared, &elsewhere)] {
        let (id, first, text) = (MessageId(7), Fence::FIRST, words(3).concat());
        let offsets = AttemptOffsets(vec![0]);
        eventually("live is there", async || writer.check().await.ok()).await;
        writer.begin(id, first, &offsets, "").await.unwrap();
        writer.append(id, first, 0, &text).await.unwrap();
        other.forget(id).await.unwrap();
        let end = text.len() as u64;
        assert_eq!(writer.append(id, first, end, "x").await, Err(AppendError::Stale));
        assert_eq!(
            writer.restore(id, first, &offsets, &text).await,
            Err(AppendError::Stale)
        );
        let next = writer.begin(id, Fence(2), &offsets, &text).await;
        assert_eq!(next, Err(AppendError::Stale), "an attempt that begins later neither");
        assert_eq!(writer.read(id).await, Ok(None));
        assert_eq!(other.read(id).await, Ok(None));
        // What is forgotten before anything was written, too.
        other.forget(MessageId(8)).await.unwrap();
        let late = writer.begin(MessageId(8), first, &offsets, "late").await;
        assert_eq!(late, Err(AppendError::Stale));
        let mut follower = alone.follow(id, Position::START);
        let seen = tokio::time::timeout(Duration::from_secs(60), follower.next()).await;
        assert_eq!(seen, Ok(Progress::Ended), "Postgres says why");
    }
}
