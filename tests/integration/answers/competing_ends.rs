//! An answer that is cancelled, abandoned, finished, begun again, deleted and erased at the same moment ends once, and no
//! transaction deadlocks.

use cura_answers::{
    AnswerWriter, Answers, AttemptCost, AttemptStart, BeginOptions, CancelMode, CancelOutcome, FollowUps, Outcome,
};
use cura_app::chat::{AnswerRequest, BusyPolicy, RequestKind, RequestOrigin};
use cura_app::conversations::ConversationError;
use cura_app::sign_in_guard::Place;
use cura_app::{App, Caller};
use cura_bin::wiring;
use cura_domain::account::{Email, NewPassword};
use cura_domain::message::{AnswerResult, FinishReason, MessageText, Usage};
use cura_domain::{ConversationId, MessageId, ModelRef, SessionId};
use cura_live::{Live, LiveConfig};
use cura_providers::ai::Ai;
use cura_queue::Claimed;
use cura_store::{Database, StoreError};
use cura_tests::{TestDatabase, eventually, in_process};

const PASSWORD: &str = "a long password";
/// How many users have their answers ended side by side.
const USERS: usize = 4;
/// How many answers of one user are ended, one after the other.
const ROUNDS: usize = 250;

/// One user's answers, and all who end them.
#[derive(Clone)]
struct Arena {
    app: App,
    answers: Answers,
    database: Database,
    caller: Caller,
}

fn home() -> Place {
    Place::new("192.0.2.1".to_owned())
}

impl Arena {
    async fn new(database: Database, n: usize) -> Self {
        let email = format!("user{n}@example.com");
        let live = Live::in_process(LiveConfig::default());
        let (settings, files) = in_process();
        let app = wiring::app(&settings, database.clone(), live.clone(), Ai::demo(), files).unwrap();
        let (email, password) = (Email::new(&email).unwrap(), NewPassword::new(PASSWORD).unwrap());
        let user = app
            .accounts
            .register(&email, &password, None, &home())
            .await
            .unwrap()
            .user
            .id;
        Self {
            app,
            answers: wiring::answers(&settings, database.clone(), live, &Ai::demo()),
            database,
            caller: Caller {
                user,
                session: SessionId(1),
                until: chrono::DateTime::<chrono::Utc>::MAX_UTC,
                oldest_generation: 0,
            },
        }
    }

    async fn ask(&self) -> (ConversationId, MessageId) {
        let request = request(None, BusyPolicy::Reject);
        let started = self.app.chat.start(self.caller, &request).await.unwrap();
        (started.conversation, started.answer.id)
    }

    /// Begins an attempt, if the answer is not final.
    async fn begin(&self, id: MessageId) -> Option<AnswerWriter> {
        let options = BeginOptions {
            max_running: 0,
            // Where it cannot, the row of the answer is written twice.
            can_continue: id.0 % 2 == 0,
            worker: "test",
        };
        let begun = self
            .database
            .transaction(async |connection| self.answers.begin(connection, id, options).await)
            .await
            .unwrap();
        match begun {
            AttemptStart::Started(attempt) => Some(self.answers.writer(id, attempt)),
            AttemptStart::Waiting { .. } | AttemptStart::Ended => None,
        }
    }

    /// An attempt that has saved some text.
    async fn write(&self, id: MessageId) -> AnswerWriter {
        let mut writer = self.begin(id).await.unwrap();
        writer.announce_start().await;
        writer.append("some words").await.unwrap();
        let saved = writer.checkpoint(None, None).unwrap().await;
        writer.record_checkpoint(saved).unwrap();
        writer
    }

    /// Workers that release the answer one after the other, until it is final.
    async fn release_and_begin_again(&self, id: MessageId) {
        while let Some(mut writer) = self.begin(id).await {
            if writer.append(".").await.is_ok() {
                writer
                    .leave((Outcome::Released, "released"), None, Some(&cost()), None)
                    .await;
            }
        }
    }

    /// Discards the waiting job of an answer: otherwise that is not abandoned. No other row, which somebody may discard meanwhile.
    async fn discard_job(&self, id: MessageId) {
        let discarded = self.database.connection(async |connection| {
            let discard = "UPDATE apalis.jobs SET status = 'Killed', done_at = now()
                           WHERE job_type = 'generate-answer' AND idempotency_key = $1 AND status = 'Pending'";
            let discarded = sqlx::query(discard).bind(id.0.to_string()).execute(connection).await?;
            Ok::<_, StoreError>(discarded.rows_affected())
        });
        assert_eq!(discarded.await.unwrap(), 1);
    }

    /// One answer that everything ends at once; returns how often it ended.
    async fn end_at_once(&self) -> usize {
        let (conversation, id) = self.ask().await;
        self.discard_job(id).await;
        let stale = self.write(id).await;
        let newest = self.write(id).await;
        // In one statement, which looks for a job that nobody has.
        let claimed = Claimed {
            job_id: "none".to_owned(),
            instance_id: "nobody".into(),
            attempt: 1,
        };
        let (cancelled, abandoned, by_stale, by_newest, ()) = tokio::join!(
            self.answers
                .cancel(self.caller.user, conversation, id, CancelMode::Force),
            self.answers.fail_abandoned(id),
            finish(&stale, None),
            finish(&newest, Some(&claimed)),
            self.release_and_begin_again(id),
        );
        let ends = [
            cancelled.unwrap() == Some(CancelOutcome::Ended),
            abandoned.unwrap(),
            by_stale,
            by_newest,
        ];
        ends.into_iter().filter(|ended| *ended).count()
    }
}

fn request(conversation: Option<ConversationId>, busy_policy: BusyPolicy) -> AnswerRequest {
    AnswerRequest {
        kind: RequestKind::Send {
            conversation,
            text: MessageText::new("Hi".to_owned()).unwrap(),
            files: Vec::new(),
        },
        busy_policy,
        key: None,
        origin: RequestOrigin::default(),
    }
}

/// Ends the answer, if the attempt still has it.
async fn finish(writer: &AnswerWriter, job: Option<&Claimed>) -> bool {
    let result = AnswerResult::Completed(FinishReason::Stop);
    match writer.finish(result, Some(&cost()), FollowUps::default(), job).await {
        Ok(finished) => {
            drop(finished);
            true
        }
        Err(cura_answers::WriteError::Superseded) => false,
        Err(error) => panic!("an answer could not be finished: {error:?}"),
    }
}

fn cost() -> AttemptCost {
    AttemptCost {
        model: ModelRef::new("test", "test"),
        usage: Usage {
            input_tokens: 1,
            output_tokens: 1,
            estimated: false,
        },
        reasoning_tokens: None,
    }
}

/// How many people's accounts are erased in the middle of everything.
const ERASURES: usize = 25;
/// How many answers such a person has, in as many conversations.
const ANSWERS: usize = 4;

impl Arena {
    async fn erase(&self) {
        let erased = self.app.accounts.erase(self.caller, PASSWORD, &home()).await;
        erased.unwrap_or_else(|error| panic!("an account could not be erased: {error:?}"));
    }

    async fn delete(&self, conversation: ConversationId) {
        match self.app.conversations.delete(self.caller, conversation).await {
            Ok(()) | Err(ConversationError::NotFound | ConversationError::Store(StoreError::UserGone)) => {}
            Err(error) => panic!("a conversation could not be deleted: {error:?}"),
        }
    }

    /// Cancels, abandons, finishes and deletes everything while the account is erased.
    async fn erase_in_the_middle(&self) {
        let mut answers = Vec::new();
        for _ in 0..ANSWERS {
            let (conversation, id) = self.ask().await;
            answers.push((conversation, id, self.write(id).await));
        }
        // Waiting jobs, which each end makes ready.
        let waiting = self.ask().await;
        let ends = answers.iter().enumerate().map(async |(n, (conversation, id, writer))| {
            let cancelled = self
                .answers
                .cancel(self.caller.user, *conversation, *id, CancelMode::Force);
            let deleted = async {
                if n % 2 == 0 {
                    self.delete(*conversation).await;
                }
            };
            let (cancelled, abandoned, ..) = tokio::join!(
                cancelled,
                self.answers.fail_abandoned(*id),
                finish(writer, None),
                deleted
            );
            cancelled.unwrap();
            abandoned.unwrap();
        });
        let interrupted = async {
            // Refused once the account is being erased.
            let _ = self
                .app
                .chat
                .start(self.caller, &request(Some(waiting.0), BusyPolicy::Interrupt))
                .await;
        };
        tokio::join!(futures_util::future::join_all(ends), self.erase(), interrupted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_that_are_erased_while_their_answers_end_are_erased_at_the_first_try_and_nothing_deadlocks() {
    let test_database = TestDatabase::create().await;
    let database = Database::connect_lazy(&test_database.url(), "test", 24).unwrap();
    for n in 0..ERASURES {
        let arena = Arena::new(database.clone(), n).await;
        arena.erase_in_the_middle().await;
    }
    database.close().await;
    assert_no_deadlocks(&test_database).await;
    let erasing = "SELECT count(*) FROM users WHERE erased_at IS NOT NULL";
    assert_eq!(test_database.count(erasing).await, i64::try_from(ERASURES).unwrap());
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE status = 'Pending' AND job_type NOT IN ('erase-user', 'purge-conversation')";
    assert_eq!(test_database.count(jobs).await, 0, "no job of theirs waits");
    let twice = "SELECT count(*) FROM (SELECT payload -> 'message_id' FROM events WHERE kind = 'ended'
                 GROUP BY 1 HAVING count(*) > 1) twice";
    assert_eq!(test_database.count(twice).await, 0, "an answer ends once");
}

/// Backends report their deadlocks when they exit.
async fn assert_no_deadlocks(test_database: &TestDatabase) {
    eventually("all connections are closed", async || {
        let open =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'test'";
        (test_database.count(open).await == 0).then_some(())
    })
    .await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(test_database.count(deadlocks).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_everything_ends_at_once_end_once_and_nothing_deadlocks() {
    let test_database = TestDatabase::create().await;
    let database = Database::connect_lazy(&test_database.url(), "test", 24).unwrap();
    let mut users = tokio::task::JoinSet::new();
    for n in 0..USERS {
        let arena = Arena::new(database.clone(), n).await;
        users.spawn(async move {
            for _ in 0..ROUNDS {
                assert_eq!(arena.end_at_once().await, 1, "an answer ends once");
            }
        });
    }
    while let Some(user) = users.join_next().await {
        user.unwrap();
    }
    database.close().await;
    assert_no_deadlocks(&test_database).await;
    let answers = i64::try_from(USERS * ROUNDS).unwrap();
    let final_answers = "SELECT count(*) FROM messages WHERE role = 'assistant' AND status IN ('sent', 'error')";
    assert_eq!(test_database.count(final_answers).await, answers);
    let ends = "SELECT count(*) FROM events WHERE kind = 'ended'";
    assert_eq!(test_database.count(ends).await, answers, "each end is one event");
    let uncounted = "SELECT (SELECT sum(input_tokens + output_tokens) FROM answer_attempts)::bigint
                          - (SELECT sum(input_tokens + output_tokens) FROM usage_days)::bigint";
    assert_eq!(test_database.count(uncounted).await, 0, "each attempt is counted once");
}
