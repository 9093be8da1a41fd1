//! An answer that is half written: the provider has sent a part, a reader has received it, and the rest comes only when
//! the test lets it. In between the test kills, stops or cuts off whatever it is about.

use std::time::Duration;

use serde_json::Value;

use crate::client::{Events, text_after};
use crate::provider::{Latch, Step, chunk, finish, words};
use crate::{Client, Cura, CuraBuilder, Event, PoolMode, Proxy, Reply, ScriptedProvider, TestDatabase, eventually};

/// An answer that is being written, and its reader.
pub struct InterruptedAnswer {
    /// The processes that write and send it.
    pub cura: Cura,
    /// The user whose answer it is.
    pub user: Client,
    /// The provider that writes it.
    pub provider: ScriptedProvider,
    /// The reader's stream.
    pub stream: Events,
    /// Everything the reader has received so far.
    pub seen: Vec<Event>,
    /// The words of the whole answer.
    pub words: Vec<String>,
    latch: Latch,
}

/// How an answer begins and how far it is read.
pub struct InterruptedAnswerBuilder {
    cura: CuraBuilder,
    script: Script,
    read: usize,
}

enum Script {
    /// These words, this far apart, the last one only when the test lets it.
    Words(Vec<String>, Duration),
    /// These words at once, and the end only when the test lets it.
    StallAfter(Vec<String>),
    /// Whatever this provider does; read until the first chunk.
    Provider(ScriptedProvider),
}

/// An answer of a hundred words, of which a reader has received nineteen.
pub fn interrupted_answer() -> InterruptedAnswerBuilder {
    InterruptedAnswerBuilder {
        cura: Cura::builder(),
        script: Script::Words(words(100), Duration::from_millis(20)),
        read: 19,
    }
}

impl InterruptedAnswerBuilder {
    /// An answer of so many words, this far apart.
    pub fn words(mut self, count: usize, apart: Duration) -> Self {
        self.script = Script::Words(words(count), apart);
        self
    }

    /// The number of words that are received before the test goes on; words that wait are sent together, so there may be
    /// more.
    pub fn read(mut self, words: usize) -> Self {
        self.read = words;
        self
    }

    /// An answer of these words, all of which are received before the test goes on; only the end is missing.
    pub fn stalling_after(mut self, words: &[&str]) -> Self {
        self.script = Script::StallAfter(words.iter().map(|&word| word.to_owned()).collect());
        self
    }

    /// An answer of this provider, read until the first chunk.
    pub fn by(mut self, provider: ScriptedProvider) -> Self {
        self.script = Script::Provider(provider);
        self
    }

    /// The number of servers; the reader is at the first one.
    pub fn servers(mut self, servers: usize) -> Self {
        self.cura = self.cura.servers(servers);
        self
    }

    /// Sets an environment variable of all processes.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.cura = self.cura.with(name, value);
        self
    }

    /// Puts a pooler in front of Postgres.
    pub fn behind_pooler(mut self, mode: PoolMode) -> Self {
        self.cura = self.cura.behind_pooler(mode);
        self
    }

    /// Asks and reads the first part of the answer, on this database.
    pub async fn start_on_database(self, database: TestDatabase) -> InterruptedAnswer {
        let asking = Asking::prepare(self.script, self.read).await;
        let cura = self.cura.with_provider(&asking.provider);
        asking.ask(cura.start_on_database(database).await).await
    }

    /// Asks and reads the first part of the answer.
    pub async fn start(self) -> InterruptedAnswer {
        let asking = Asking::prepare(self.script, self.read).await;
        let cura = self.cura.with_provider(&asking.provider).start().await;
        asking.ask(cura).await
    }

    /// The same with a proxy in front of Postgres.
    pub async fn start_behind_proxy(self) -> (InterruptedAnswer, Proxy) {
        let asking = Asking::prepare(self.script, self.read).await;
        let (cura, proxy) = self.cura.with_provider(&asking.provider).start_behind_proxy().await;
        (asking.ask(cura).await, proxy)
    }
}

/// A provider that is ready to be asked, and what its reader waits for.
struct Asking {
    provider: ScriptedProvider,
    words: Vec<String>,
    until: Until,
    latch: Latch,
}

enum Until {
    Word(String),
    Text(String),
    Chunk,
}

impl Asking {
    async fn prepare(script: Script, read: usize) -> Self {
        let latch = Latch::default();
        let (provider, words, until) = match script {
            Script::Words(words, apart) => {
                let provider = ScriptedProvider::answering_until(&words, apart, &latch).await;
                let until = Until::Word(words[read - 1].clone());
                (provider, words, until)
            }
            Script::StallAfter(words) => {
                let mut steps = vec![Step::Head];
                steps.extend(words.iter().map(|word| Step::Write(chunk(word))));
                steps.push(Step::Wait(latch.clone()));
                steps.extend(finish(words.len()));
                let until = Until::Text(words.concat());
                (ScriptedProvider::start(move |_, _| steps.clone()).await, words, until)
            }
            Script::Provider(provider) => (provider, Vec::new(), Until::Chunk),
        };
        Self {
            provider,
            words,
            until,
            latch,
        }
    }

    async fn ask(self, cura: Cura) -> InterruptedAnswer {
        let user = cura.user().await;
        let mut stream = user.stream("Hi").await;
        let seen = match &self.until {
            Until::Word(word) => stream.until_word(word).await,
            Until::Text(text) => stream.until_text(text).await,
            Until::Chunk => stream.until("chunk").await,
        };
        InterruptedAnswer {
            cura,
            user,
            provider: self.provider,
            stream,
            seen,
            words: self.words,
            latch: self.latch,
        }
    }
}

impl InterruptedAnswer {
    /// The message id of the answer.
    pub fn id(&self) -> Value {
        self.seen[0].data["message_id"].clone()
    }

    /// The id of its conversation.
    pub fn conversation_id(&self) -> Value {
        self.seen[0].data["conversation_id"].clone()
    }

    /// The whole text that the provider sends.
    pub fn text(&self) -> String {
        self.words.concat()
    }

    /// The text the reader has received; fails if a byte is missing or repeated.
    pub fn text_seen(&self) -> String {
        text_after("", &self.seen)
    }

    /// The last event the reader has received.
    pub fn last(&self) -> &Event {
        self.seen.last().expect("an answer begins with an event")
    }

    /// Lets the provider send the rest.
    pub fn let_finish(&self) {
        self.latch.open();
    }

    /// Lets the provider send the rest, and reads it.
    pub async fn finish(&mut self) {
        self.let_finish();
        self.read_rest().await;
    }

    /// Reads up to and including the next event of this name.
    pub async fn read_until(&mut self, name: &str) {
        self.seen.extend(self.stream.until(name).await);
    }

    /// Reads up to the end of the stream.
    pub async fn read_rest(&mut self) {
        self.seen.extend(self.stream.rest().await);
    }

    /// Goes on at another server where the reader's stream has ended, and reads up to the end.
    pub async fn read_rest_at(&mut self, base: &str) {
        let id = self.id().as_i64().expect("a message id");
        let cursor = self.last().id.clone();
        self.stream = self.user.at(base).resume(id, Some(&cursor)).await;
        self.read_rest().await;
    }

    /// Cancels the answer.
    pub async fn cancel(&self) -> Reply {
        self.user.cancel(&self.id()).await
    }

    /// Waits until a part of the text is stored, so that the next attempt has something to go on from.
    pub async fn until_checkpointed(&self) {
        let saved = "SELECT count(*) FROM messages WHERE status = 'sending' AND content <> ''";
        eventually("a part of the text is stored", async || {
            (self.cura.database.count(saved).await == 1).then_some(())
        })
        .await;
    }
}
