//! An AI provider with OpenAI's protocol that follows a script, on a real socket.

pub mod anthropic;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::eventually;
use crate::http_server::read_request;

/// One step of the provider on a connection.
#[derive(Debug, Clone)]
pub enum Step {
    /// The head of a successful response; the body is chunked from here on.
    Head,
    /// A part of the body, in one TCP write and one HTTP chunk.
    Write(String),
    /// A token that says when it was sent: this text, [`now`] in microseconds, and a space. JSON would escape nothing in it.
    Stamp(String),
    /// Bytes without an HTTP chunk around them.
    Raw(Vec<u8>),
    /// A pause of this length.
    Pause(Duration),
    /// Silence until the client disconnects.
    Hang,
    /// Silence until the test opens the latch or the client disconnects.
    Wait(Latch),
    /// The regular end of the body.
    End,
    /// The end of the connection, wherever the response is.
    Cut,
}

/// Holds the provider back until the test opens it.
#[derive(Debug, Clone, Default)]
pub struct Latch(watch::Sender<bool>);

impl Latch {
    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn opened(&self) {
        // The sender lives as long as this value.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// The request line and headers.
    pub head: String,
    /// The body.
    pub body: Value,
}

type Script = dyn Fn(usize, &Request) -> Vec<Step> + Send + Sync;

/// The service.
pub struct ScriptedProvider {
    port: u16,
    asked: Arc<Mutex<Asked>>,
    open: Arc<AtomicUsize>,
}

/// What it was asked.
#[derive(Default)]
struct Asked {
    requests: Vec<Request>,
    trials: usize,
}

/// The question of a trial, a request that Cura sends on its own behalf to find out whether the provider works.
const TRIAL: &str = "Are you there? Answer with yes.";

impl Request {
    /// Whether Cura asks on its own behalf whether the provider works.
    pub fn is_trial(&self) -> bool {
        self.body["messages"][0]["content"] == TRIAL
    }
}

impl ScriptedProvider {
    /// Answers each request with the steps `script` gives for it; it gets the number of the request, from 0. A trial has the
    /// number of the request that follows it.
    pub async fn start(script: impl Fn(usize, &Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let asked = Arc::new(Mutex::new(Asked::default()));
        let open = Arc::new(AtomicUsize::new(0));
        let script: Arc<Script> = Arc::new(script);
        let (log, connections) = (Arc::clone(&asked), Arc::clone(&open));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (script, log, connections) = (Arc::clone(&script), Arc::clone(&log), Arc::clone(&connections));
                #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
                tokio::spawn(async move {
                    connections.fetch_add(1, Ordering::SeqCst);
                    // The client may disconnect at any time.
                    let _ = converse(socket, &*script, &log).await;
                    connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, asked, open }
    }

    /// Always the same answer: these tokens, this far apart.
    pub async fn answering(tokens: &[impl AsRef<str>], apart: Duration) -> Self {
        let steps = answer(tokens, apart);
        Self::start(move |_, _| steps.clone()).await
    }

    /// Always the same answer: these tokens, this far apart, the last one only when the latch is open.
    pub async fn answering_until(tokens: &[impl AsRef<str>], apart: Duration, latch: &Latch) -> Self {
        let mut steps = answer(tokens, apart);
        // The head comes first, and each token has a pause after it.
        steps.insert(2 * tokens.len() - 1, Step::Wait(latch.clone()));
        Self::start(move |_, _| steps.clone()).await
    }

    /// The value for `AI_MODEL_URL`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request for an answer so far, trials aside.
    pub fn requests(&self) -> Vec<Request> {
        self.asked().requests.clone()
    }

    /// How many trials there were.
    pub fn trials(&self) -> usize {
        self.asked().trials
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has received this many requests.
    pub async fn wait_for_requests(&self, times: usize) {
        eventually(&format!("the provider receives {times} requests"), async || {
            (self.requests().len() == times).then_some(())
        })
        .await;
    }

    /// Waits until no connection to it is open.
    pub async fn wait_for_disconnect(&self) {
        eventually("the provider has no connection", async || {
            (self.open_connections() == 0).then_some(())
        })
        .await;
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// The time since the first call in this process.
pub fn now() -> Duration {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed()
}

/// This many different words, each followed by a space.
pub fn words(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("word{n} ")).collect()
}

/// The steps of a successful answer.
pub fn answer(tokens: &[impl AsRef<str>], apart: Duration) -> Vec<Step> {
    let mut steps = vec![Step::Head];
    for token in tokens {
        steps.push(Step::Write(chunk(token.as_ref())));
        steps.push(Step::Pause(apart));
    }
    steps.extend(finish(tokens.len()));
    steps
}

/// A piece of text, as an event.
pub fn chunk(text: &str) -> String {
    event(&json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    }))
}

/// The end of a successful answer.
pub fn finish(tokens: usize) -> Vec<Step> {
    let stop = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
        "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }],
    });
    let usage = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted", "choices": [],
        "usage": { "prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": tokens + 7 },
    });
    vec![
        Step::Write(event(&stop) + &event(&usage) + "data: [DONE]\n\n"),
        Step::End,
    ]
}

/// Any object as an event.
pub fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// A refusal: a status, more headers (each with its line end), and a body.
pub fn refusal(status: &str, headers: &str, body: &Value) -> Vec<Step> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    vec![Step::Raw(head.into_bytes())]
}

async fn converse(socket: TcpStream, script: &Script, log: &Mutex<Asked>) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    while let Some(request) = read_request(&mut socket).await? {
        let asked = Request {
            body: serde_json::from_slice(&request.body).unwrap_or(Value::Null),
            head: request.head,
        };
        if !asked.head.starts_with("POST ") {
            socket
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
                .await?;
            continue;
        }
        let number = {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.is_trial() {
                log.trials += 1;
                log.requests.len()
            } else {
                log.requests.push(asked.clone());
                log.requests.len() - 1
            }
        };
        for step in script(number, &asked) {
            match step {
                Step::Head => {
                    let head =
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                    socket.write_all(head.as_bytes()).await?;
                }
                Step::Write(text) => {
                    let framed = format!("{:x}\r\n{text}\r\n", text.len());
                    socket.write_all(framed.as_bytes()).await?;
                }
                Step::Stamp(label) => {
                    // Written by hand: it is what the benchmark sends forty thousand times a second.
                    let sent = now().as_micros();
                    let text = format!(
                        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"scripted\",\
                         \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{label}{sent} \"}},\"finish_reason\":null}}]}}\n\n"
                    );
                    let framed = format!("{:x}\r\n{text}\r\n", text.len());
                    socket.write_all(framed.as_bytes()).await?;
                }
                Step::Raw(bytes) => socket.write_all(&bytes).await?,
                Step::Pause(time) => {
                    if !time.is_zero() {
                        tokio::time::sleep(time).await;
                    }
                }
                Step::Hang => {
                    // Until the client goes.
                    let _ = socket.read(&mut [0; 1]).await;
                    return Ok(());
                }
                Step::Wait(latch) => {
                    let mut gone = [0; 1];
                    tokio::select! {
                        () = latch.opened() => {}
                        _ = socket.read(&mut gone) => return Ok(()),
                    }
                }
                Step::End => socket.write_all(b"0\r\n\r\n").await?,
                Step::Cut => return Ok(()),
            }
        }
    }
    Ok(())
}
