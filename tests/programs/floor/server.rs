//! The server: makes a job of each request, and hands on what is published of its answer as server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use sqlx::{Connection, Executor, PgConnection};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::live;

const TABLES: &str = "CREATE TABLE jobs (id bigint PRIMARY KEY, prompt text NOT NULL);
                      CREATE TABLE answers (id bigint PRIMARY KEY, content text NOT NULL);";
const ENQUEUE: &str = "WITH job AS (INSERT INTO jobs (id, prompt) VALUES ($1, $2) RETURNING id)
                       SELECT pg_notify('jobs', '') FROM job";
/// More than an answer of the benchmark has; a stream that does not keep up breaks off, which counts as wrong.
const WAITING_EVENTS: usize = 256;

/// What a request needs.
struct Server {
    last_answer: AtomicI64,
    streams: Mutex<HashMap<i64, mpsc::Sender<Bytes>>>,
    /// Several, so that Postgres can sync what they commit together.
    queue: Vec<tokio::sync::Mutex<PgConnection>>,
}

#[derive(Deserialize)]
struct Question {
    content: String,
}

pub async fn run(postgres: &str, redis: &str) {
    let mut queue = Vec::new();
    for _ in 0..8 {
        queue.push(tokio::sync::Mutex::new(PgConnection::connect(postgres).await.unwrap()));
    }
    queue[0].get_mut().execute(TABLES).await.unwrap();
    let server = Arc::new(Server {
        last_answer: AtomicI64::new(0),
        streams: Mutex::default(),
        queue,
    });
    let (hearing, redis) = (Arc::clone(&server), redis.to_owned());
    tokio::spawn(async move { live::subscribe(&redis, |answer, data| hearing.hand_on(answer, data)).await });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("the floor listens at http://{}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| server.answer(request));
            // The client may disconnect at any time.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Server {
    /// Answers `{"content": …}`, whatever the path is, with the events of its answer.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Events>, Infallible> {
        let question: Question = serde_json::from_slice(&read(request.into_body()).await).unwrap();
        let answer = self.last_answer.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, events) = mpsc::channel(WAITING_EVENTS);
        // Before anybody can answer.
        self.streams().insert(answer, sender);
        let queue = &self.queue[answer.unsigned_abs() as usize % self.queue.len()];
        let mut queue = queue.lock().await;
        let enqueue = sqlx::query(ENQUEUE).bind(answer).bind(question.content);
        enqueue.execute(&mut *queue).await.unwrap();
        drop(queue);
        let mut response = Response::new(Events(events));
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(response)
    }

    fn hand_on(&self, answer: i64, data: &str) {
        let mut streams = self.streams();
        let name = if data.is_empty() { "complete" } else { "chunk" };
        let handed_on = streams.get(&answer).is_some_and(|stream| {
            let event = format!("event: {name}\ndata: {data}\n\n");
            stream.try_send(event.into()).is_ok()
        });
        if data.is_empty() || !handed_on {
            streams.remove(&answer);
        }
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, HashMap<i64, mpsc::Sender<Bytes>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        bytes.extend_from_slice(frame.unwrap().data_ref().map_or(&[], |data| &data[..]));
    }
    bytes
}

/// The body of a response: the events of an answer.
struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
