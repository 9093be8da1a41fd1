//! A person's view of everything, against a model: whatever happens between a worker, the log, the hints and a reader that
//! is cut, falls behind or comes back with an old cursor, the view is the database in the end, and no event comes twice.

use std::time::Duration;

use cura_answers::{AnswerWriter, Answers, AttemptCost, AttemptStart, BeginOptions, FollowUps};
use cura_app::chat::{AnswerRequest, BusyPolicy, RequestKind, RequestOrigin};
use cura_app::feed::{AnswerEvent, FeedItem, UserEvent, UserFeed};
use cura_app::{App, Caller};
use cura_bin::wiring;
use cura_domain::answer::Fence;
use cura_domain::conversation::{ConversationChanges, Title};
use cura_domain::message::{AnswerResult, FinishReason, MessageStatus, MessageText, Role, Usage};
use cura_domain::{ConversationId, MessageId, ModelRef, SessionId, UserId};
use cura_live::{Live, LiveConfig, Signal};
use cura_providers::ai::Ai;
use cura_store::{Database, answers, messages};
use cura_tests::{TestDatabase, View, in_process};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Somebody asks, here or in a new conversation.
    Ask { anew: bool },
    /// The worker of a running answer writes this many letters.
    Write { which: usize, letters: usize },
    /// It saves what it has written.
    Save { which: usize },
    /// Another worker takes the answer over: where it was, or from its beginning.
    TakeOver { which: usize, from_the_beginning: bool },
    /// What it has written turns out to be none of the answer.
    TakeBack { which: usize },
    /// The same, and its worker dies before `live` learns of it; another one takes over.
    TakeBackAndDie { which: usize },
    /// It becomes final; perhaps nobody is told.
    End { which: usize, fails: bool, silently: bool },
    /// `live` forgets a running answer.
    Forget { which: usize },
    /// A conversation is renamed.
    Rename,
    /// The reader reads this many events.
    Read { events: usize },
    /// The reader is cut, and goes on where it was.
    Cut,
    /// The reader comes back as it was this many events ago.
    CutBack { events: usize },
    /// Hints come that say nothing new.
    OldHints,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0_usize..4;
    prop_oneof![
        3 => any::<bool>().prop_map(|anew| Step::Ask { anew }),
        8 => (which.clone(), 1_usize..9).prop_map(|(which, letters)| Step::Write { which, letters }),
        3 => which.clone().prop_map(|which| Step::Save { which }),
        2 => (which.clone(), any::<bool>())
            .prop_map(|(which, from_the_beginning)| Step::TakeOver { which, from_the_beginning }),
        2 => which.clone().prop_map(|which| Step::TakeBack { which }),
        1 => which.clone().prop_map(|which| Step::TakeBackAndDie { which }),
        3 => (which.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(which, fails, silently)| Step::End { which, fails, silently }),
        1 => which.prop_map(|which| Step::Forget { which }),
        1 => Just(Step::Rename),
        6 => (1_usize..6).prop_map(|events| Step::Read { events }),
        2 => Just(Step::Cut),
        2 => (1_usize..12).prop_map(|events| Step::CutBack { events }),
        1 => Just(Step::OldHints),
    ]
}

/// A running answer and its worker's writer.
struct Running {
    id: MessageId,
    writer: AnswerWriter,
}

struct World {
    app: App,
    answers: Answers,
    database: Database,
    live: Live,
    caller: Caller,
    conversation: Option<ConversationId>,
    running: Vec<Running>,
    written: usize,
    feed: UserFeed,
    view: View,
    /// Where the reader was after each event that moved its cursor.
    before: Vec<(String, View)>,
}

impl World {
    async fn new(database: &TestDatabase) -> Self {
        let pool = database.pool().clone();
        let user: i64 = sqlx::query_scalar(
            "INSERT INTO users (email, password_hash, created_at, updated_at) VALUES ('a@example.com', 'x', now(), now())
             RETURNING id",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        let live = Live::in_process(LiveConfig::default());
        let (settings, files) = in_process();
        let database = Database::from(pool);
        let app = wiring::app(&settings, database.clone(), live.clone(), Ai::demo(), files).unwrap();
        let answers = wiring::answers(&settings, database.clone(), live.clone(), &Ai::demo());
        let caller = Caller {
            user: UserId(user),
            session: SessionId(1),
            until: chrono::DateTime::<chrono::Utc>::MAX_UTC,
            oldest_generation: 0,
        };
        let feed = app.feed.open(caller, None, None).await.unwrap();
        let before = vec![(feed.cursor().to_string(), View::default())];
        Self {
            app,
            answers,
            database,
            live,
            caller,
            conversation: None,
            running: Vec::new(),
            written: 0,
            feed,
            view: View::default(),
            before,
        }
    }

    async fn does(&mut self, step: Step) {
        match step {
            Step::Ask { anew } => self.ask(anew).await,
            Step::Write { which, letters } => self.write(which, letters).await,
            Step::Save { which } => {
                if let Some(at) = self.at(which) {
                    let writer = &mut self.running[at].writer;
                    if let Some(checkpoint) = writer.checkpoint(None, None) {
                        writer.record_checkpoint(checkpoint.await).unwrap();
                    }
                }
            }
            Step::TakeOver {
                which,
                from_the_beginning,
            } => self.take_over(which, from_the_beginning).await,
            Step::TakeBack { which } => {
                if let Some(at) = self.at(which) {
                    self.running[at].writer.take_back(None).await.unwrap();
                }
            }
            Step::TakeBackAndDie { which } => self.take_back_and_die(which).await,
            Step::End { which, fails, silently } => self.end(which, fails, silently).await,
            Step::Forget { which } => {
                if let Some(at) = self.at(which) {
                    self.live.delete(self.running[at].id).await.unwrap();
                }
            }
            Step::Rename => {
                if let Some(conversation) = self.conversation {
                    self.written += 1;
                    let title = Title::new(&format!("title {}", self.written)).unwrap();
                    let renamed = ConversationChanges {
                        title: Some(title),
                        ..ConversationChanges::default()
                    };
                    let changed = self.app.conversations.update(self.caller, conversation, &renamed);
                    changed.await.unwrap();
                }
            }
            Step::Read { events } => {
                for _ in 0..events {
                    let soon = tokio::time::timeout(Duration::from_millis(5), self.feed.next());
                    let Ok(told) = soon.await else { break };
                    self.sees(told);
                }
            }
            Step::Cut => self.come_back(0).await,
            Step::CutBack { events } => self.come_back(events).await,
            Step::OldHints => {
                for signal in [Signal::ReadLog, Signal::Logged(1), Signal::Logged(0)] {
                    self.live.publish_to_user(self.caller.user, signal).await.unwrap();
                }
            }
        }
    }

    fn at(&self, which: usize) -> Option<usize> {
        (!self.running.is_empty()).then(|| which % self.running.len())
    }

    async fn ask(&mut self, anew: bool) {
        if self.running.len() >= 4 {
            return;
        }
        self.written += 1;
        let wish = AnswerRequest {
            kind: RequestKind::Send {
                conversation: self.conversation.filter(|_| !anew),
                text: MessageText::new(format!("question {}", self.written)).unwrap(),
                files: Vec::new(),
            },
            busy_policy: BusyPolicy::Reject,
            key: None,
            origin: RequestOrigin::default(),
        };
        if let Ok(started) = self.app.chat.start(self.caller, &wish).await {
            self.conversation = Some(started.conversation);
            let writer = self.begin(started.answer.id, false).await;
            self.running.push(Running {
                id: started.answer.id,
                writer,
            });
        }
    }

    /// A new attempt, as `GenerateAnswer` begins it.
    async fn begin(&self, id: MessageId, from_the_beginning: bool) -> AnswerWriter {
        let options = BeginOptions {
            max_running: 0,
            can_continue: !from_the_beginning,
            worker: "test",
        };
        let begun = self
            .database
            .transaction(async |connection| self.answers.begin(connection, id, options).await)
            .await
            .unwrap();
        let AttemptStart::Started(attempt) = begun else {
            panic!("the answer is running: {begun:?}");
        };
        let mut writer = self.answers.writer(id, attempt);
        writer.announce_start().await;
        writer
    }

    async fn write(&mut self, which: usize, letters: usize) {
        let Some(at) = self.at(which) else { return };
        self.written += 1;
        let piece: String = format!("{:x}ü", self.written).repeat(letters);
        self.running[at].writer.append(&piece).await.unwrap();
    }

    async fn take_over(&mut self, which: usize, from_the_beginning: bool) {
        let Some(at) = self.at(which) else { return };
        let id = self.running.swap_remove(at).id;
        let writer = self.begin(id, from_the_beginning).await;
        self.running.push(Running { id, writer });
    }

    async fn take_back_and_die(&mut self, which: usize) {
        let Some(at) = self.at(which) else { return };
        let Running { id, writer } = self.running.swap_remove(at);
        let kept = writer.text()[..writer.text().len() - writer.written_bytes()].to_owned();
        let taken = self.database.connection(async |connection| {
            let fence: i32 = sqlx::query_scalar("SELECT attempt FROM messages WHERE id = $1")
                .bind(id.0)
                .fetch_one(&mut *connection)
                .await?;
            let fence = Fence(fence.unsigned_abs());
            answers::take_back(connection, id, fence, (&kept, 1), wiring::clock().now()).await
        });
        assert!(taken.await.unwrap().is_some(), "nobody else has the answer");
        let writer = self.begin(id, false).await;
        let whole = if kept.trim().is_empty() { "" } else { &kept };
        assert_eq!(writer.text(), whole, "what was taken back stays away");
        self.running.push(Running { id, writer });
    }

    async fn end(&mut self, which: usize, fails: bool, silently: bool) {
        let Some(at) = self.at(which) else { return };
        let answer = self.running.swap_remove(at);
        let result = if fails {
            AnswerResult::Failed("generation_failed")
        } else {
            AnswerResult::Completed(FinishReason::Stop)
        };
        let cost = AttemptCost {
            model: ModelRef::new("test", "test"),
            usage: Usage {
                input_tokens: 1,
                output_tokens: 1,
                estimated: false,
            },
            reasoning_tokens: None,
        };
        let finished = answer.writer.finish(result, Some(&cost), FollowUps::default(), None);
        let finished = finished.await.unwrap();
        if !silently {
            finished.publish(&self.live).await;
        }
    }

    fn sees(&mut self, told: FeedItem) {
        self.view.apply(&as_an_app_gets_it(told.event));
        if let Some(cursor) = told.cursor {
            self.before.push((cursor.to_string(), self.view.clone()));
        }
    }

    async fn come_back(&mut self, events_ago: usize) {
        let keep = self.before.len().saturating_sub(events_ago).max(1);
        self.before.truncate(keep);
        let (cursor, view) = self.before.last().unwrap().clone();
        self.view = view;
        let cursor = Some(cursor.parse().unwrap());
        self.feed = self.app.feed.open(self.caller, None, cursor).await.unwrap();
    }

    /// What the database says that an app should show.
    async fn truth(&self) -> View {
        let mut truth = View::default();
        let mut connection = self.database.pool().acquire().await.unwrap();
        let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM messages ORDER BY id")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let ids: Vec<MessageId> = ids.into_iter().map(MessageId).collect();
        for message in messages::list_owned(&mut connection, self.caller.user, &ids, &ids)
            .await
            .unwrap()
        {
            // Of a running answer, what its worker has written.
            let running = self.running.iter().find(|running| running.id == message.id);
            let text = running.map_or(message.content, |running| running.writer.text().to_owned());
            let shown = cura_tests::view::Shown {
                text,
                status: message.status.as_str().to_owned(),
            };
            truth.messages.insert(message.id.0, shown);
        }
        let titles: Vec<(i64, Option<String>)> = sqlx::query_as("SELECT id, title FROM conversations")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        truth.titles = titles.into_iter().collect();
        truth
    }

    /// Reads until the view is the database.
    async fn settles(&mut self) {
        // The workers write on, which restores what `live` has lost.
        for answer in &mut self.running {
            answer.writer.append(".").await.unwrap();
        }
        self.live
            .publish_to_user(self.caller.user, Signal::ReadLog)
            .await
            .unwrap();
        let truth = self.truth().await;
        while self.view != truth {
            let next = tokio::time::timeout(Duration::from_secs(10), self.feed.next()).await;
            let Ok(told) = next else {
                panic!("the view stays wrong: {:#?}\nit should be {truth:#?}", self.view);
            };
            self.sees(told);
        }
        // And nothing more comes.
        while let Ok(told) = tokio::time::timeout(Duration::from_millis(20), self.feed.next()).await {
            self.sees(told);
            assert_eq!(self.view, truth);
        }
    }
}

/// An event as the strict view reads it.
fn as_an_app_gets_it(event: UserEvent) -> Value {
    match event {
        UserEvent::Message(message) => json!({
            "type": "message", "message_id": message.id.0,
            "message": { "content": message.content, "status": message.status.as_str() },
        }),
        UserEvent::Conversation(id, found) => json!({
            "type": "conversation", "conversation_id": id.0, "deleted": found.is_none(),
            "conversation": { "title": found.and_then(|found| found.title) },
        }),
        UserEvent::Answer(id, event) => match event {
            AnswerEvent::Chunk { offset, content, .. } => {
                json!({ "type": "chunk", "message_id": id.0, "offset": offset, "content": content })
            }
            AnswerEvent::Reset { offset, .. } => json!({ "type": "reset", "message_id": id.0, "offset": offset }),
            AnswerEvent::Ended { message, .. } if message.status == MessageStatus::Error => {
                json!({ "type": "error", "message_id": id.0 })
            }
            AnswerEvent::Ended { message, .. } => {
                json!({ "type": "complete", "message_id": id.0, "message": { "content": message.content } })
            }
            _ => json!({ "type": "start" }),
        },
        UserEvent::Typing(_, Role::User | Role::Assistant | Role::System, _) => json!({ "type": "typing" }),
        UserEvent::Read(..)
        | UserEvent::Export(_)
        | UserEvent::Push(_)
        | UserEvent::Upload(..)
        | UserEvent::Resync(_) => {
            panic!("nobody did that: {event:?}")
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_view_is_the_database_and_nothing_comes_twice(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let database = TestDatabase::create().await;
            let mut world = World::new(&database).await;
            for step in steps {
                world.does(step).await;
            }
            world.settles().await;
        });
    }
}
