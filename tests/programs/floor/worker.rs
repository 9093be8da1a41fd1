//! The worker: takes jobs, asks the AI service, publishes each token, stores the answer.

use std::sync::Arc;

use sqlx::postgres::PgListener;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Mutex, mpsc};

use crate::live::{self, Message};
use crate::provider::Provider;

const TAKE: &str = "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs ORDER BY id LIMIT 32 FOR UPDATE SKIP LOCKED)
                    RETURNING id, prompt";
const STORE: &str = "INSERT INTO answers (id, content) VALUES ($1, $2)";
/// Tokens that wait for Redis; whoever has another one waits, too.
const WAITING_TOKENS: usize = 1024;

/// What an answer needs.
struct Worker {
    provider: Provider,
    messages: mpsc::Sender<Message>,
    /// A pool would ask Postgres after each statement whether it is still there.
    store: [Mutex<PgConnection>; 4],
}

pub async fn run(postgres: &str, redis: &str, provider: &str) {
    let (messages, published) = mpsc::channel(WAITING_TOKENS);
    let redis = redis.to_owned();
    tokio::spawn(async move { live::publish(&redis, published).await });
    let connect = async || Mutex::new(PgConnection::connect(postgres).await.unwrap());
    let worker = Arc::new(Worker {
        provider: Provider::at(provider),
        messages,
        store: [connect().await, connect().await, connect().await, connect().await],
    });
    let mut jobs = PgListener::connect(postgres).await.unwrap();
    jobs.listen("jobs").await.unwrap();
    println!("the floor works");
    loop {
        // What has been announced so far is taken now.
        while jobs.next_buffered().is_some() {}
        let taken: Vec<(i64, String)> = sqlx::query_as(TAKE).fetch_all(&mut jobs).await.unwrap();
        if taken.is_empty() {
            jobs.recv().await.unwrap();
        }
        for (id, prompt) in taken {
            let worker = Arc::clone(&worker);
            tokio::spawn(async move { worker.answer(id, &prompt).await });
        }
    }
}

impl Worker {
    async fn answer(&self, answer: i64, prompt: &str) {
        let (mut content, mut tokens) = (String::new(), self.provider.ask(prompt).await);
        while let Some(token) = tokens.next_token().await {
            content.push_str(&token);
            let token = serde_json::to_string(&token).unwrap();
            self.publish(answer, format!("{{\"content\":{token}}}")).await;
        }
        tokens.keep().await;
        let mut store = self.store[answer.unsigned_abs() as usize % self.store.len()]
            .lock()
            .await;
        let stored = sqlx::query(STORE).bind(answer).bind(content).execute(&mut *store).await;
        drop(store);
        stored.unwrap();
        self.publish(answer, String::new()).await;
    }

    async fn publish(&self, answer: i64, data: String) {
        let published = self.messages.send(Message { answer, data }).await;
        assert!(published.is_ok(), "Redis is gone");
    }
}
