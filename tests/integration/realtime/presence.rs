//! Who watches: each kind of connection and its end, and which ends are in order.

use std::time::{Duration, Instant};

use cura_domain::{MessageId, UserId};
use cura_live::{LastLook, Live, LiveConfig, Liveness};
use cura_tests::provider::{Latch, Step, answer};
use cura_tests::raw_socket::{FIN, PONG, RawSocket, frame};
use cura_tests::{Client, Cura, ScriptedProvider, Socket, TestRedis, eventually};
use futures_util::FutureExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::sockets::conversation;

/// How long the watchers of a dead server may count, on a busy machine.
const PRESENCE_LIMIT: Duration = Duration::from_secs(45);

/// Looks at a user as a worker does.
struct Observer {
    live: Live,
    user: UserId,
}

impl Observer {
    async fn of(cura: &Cura, user: &Client) -> Self {
        let live = Live::redis(&cura.redis.url(), LiveConfig::default()).unwrap();
        eventually("Redis is there", async || live.check().await.ok()).await;
        let id = user.get("/users/me").await.body["id"].as_i64().unwrap();
        let user = UserId(id);
        Self { live, user }
    }

    async fn is_watching(&self) -> bool {
        self.live.is_watched(self.user).await
    }

    async fn until_watched(&self) {
        eventually("somebody watches", async || self.is_watching().await.then_some(())).await;
    }

    async fn until_unwatched(&self) {
        eventually("nobody watches", async || (!self.is_watching().await).then_some(())).await;
    }

    async fn look_at_end(&self, answer: i64) {
        assert!(self.live.look_at_end(self.user, MessageId(answer)).await);
    }

    async fn last_look(&self, answer: i64) -> LastLook {
        self.live.last_look(self.user, MessageId(answer)).await
    }

    /// Whether what `ends` does to the only watcher is an end in order.
    async fn is_in_order(&self, answer: i64, ends: impl Future<Output = ()>) -> bool {
        self.until_watched().await;
        self.look_at_end(answer).await;
        ends.await;
        self.until_unwatched().await;
        self.last_look(answer).await.closed_in_order
    }
}

/// A connection on which a test decides what is sent, and how it ends.
struct Raw {
    stream: TcpStream,
    seen: String,
}

impl Raw {
    async fn get(user: &Client, path: &str, version: &str) -> Self {
        let mut raw = Self::connect(user.base()).await;
        raw.ask(user, &format!("GET {path} {version}"), "").await;
        raw
    }

    async fn connect(base: &str) -> Self {
        let stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
        let seen = String::new();
        Self { stream, seen }
    }

    async fn ask(&mut self, user: &Client, first_line: &str, body: &str) {
        let (token, length) = (user.token.as_ref().unwrap(), body.len());
        let head = format!(
            "{first_line}\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(head.as_bytes()).await.unwrap();
    }

    /// Reads until `mark`, and forgets what came up to it.
    async fn until(&mut self, mark: &str) {
        let mut piece = [0; 4096];
        while !self.seen.contains(mark) {
            let read = self.stream.read(&mut piece).await.unwrap();
            assert_ne!(read, 0, "no {mark} in {}", self.seen);
            self.seen.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        self.seen.clear();
    }

    /// Closes the connection as an app does that is closed.
    async fn close(mut self) {
        self.stream.shutdown().await.unwrap();
        let _ = self.stream.read_to_end(&mut Vec::new()).await;
    }

    /// Breaks the connection off.
    fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// An answer that ends when the latch is open.
fn held(latch: &Latch) -> Vec<Step> {
    let mut steps = answer(&["One ", "two"], Duration::ZERO);
    steps.insert(3, Step::Wait(latch.clone()));
    steps
}

/// Answers the first question at once, and no other.
async fn first_only() -> ScriptedProvider {
    let never = Latch::default();
    ScriptedProvider::start(move |n, _| match n {
        0 => answer(&["One"], Duration::ZERO),
        _ => held(&never),
    })
    .await
}

/// What memory and Redis have to say alike, on this process and on a peer.
async fn only_who_watched_at_the_end_can_leave_in_order(live: Live, peer: Live) {
    let (user, answer) = (UserId(1), MessageId(7));
    let watched = async |expected| {
        eventually("the peer knows", async || {
            (peer.is_watched(user).await == expected).then_some(())
        })
        .await;
    };
    eventually("live is there", async || peer.check().await.ok()).await;
    let before = live.watcher(user, Liveness::Assumed);
    watched(true).await;
    before.leave_in_order();
    watched(false).await;
    assert!(!peer.look_at_end(user, answer).await, "nobody is remembered");
    let [lost, closed] = [(); 2].map(|()| live.watcher(user, Liveness::Assumed));
    let mut hidden = live.watcher(user, Liveness::Shown);
    watched(true).await;
    assert!(peer.look_at_end(user, answer).await);
    drop(lost);
    hidden.set_visible(false);
    let look = peer.last_look(user, answer).await;
    assert!(look.is_watched && !look.closed_in_order);
    closed.leave_in_order();
    watched(false).await;
    let look = peer.last_look(user, answer).await;
    assert!(look.closed_in_order, "before the end it would not count");
    assert_eq!(peer.last_look(user, MessageId(8)).await, LastLook::default());
    assert_eq!(peer.last_look(UserId(2), answer).await, LastLook::default());
    hidden.set_visible(true);
    watched(true).await;
    // A look may be repeated, and who left meanwhile has still watched at the end.
    assert!(peer.look_at_end(user, answer).await);
    assert!(peer.last_look(user, answer).await.closed_in_order);
}

#[tokio::test]
async fn memory_and_redis_remember_the_same() {
    let memory = Live::in_process(LiveConfig::default());
    only_who_watched_at_the_end_can_leave_in_order(memory.clone(), memory).await;
    let redis = TestRedis::start();
    let [live, peer] = [(); 2].map(|()| Live::redis(&redis.url(), LiveConfig::default()).unwrap());
    only_who_watched_at_the_end_can_leave_in_order(live, peer).await;
}

#[tokio::test]
async fn whatever_shows_what_happens_counts_until_it_ends_on_every_server() {
    let provider = first_only().await;
    let cura = Cura::builder().servers(2).with_provider(&provider).start().await;
    let user = cura.user().await;
    let observer = Observer::of(&cura, &user).await;
    let sent = user.send_message(&Value::Null, "Hi").await;
    observer.until_unwatched().await;
    for server in &cura.servers {
        let stream = user.at(&server.base).watch(None).await;
        observer.until_watched().await;
        drop(stream);
        observer.until_unwatched().await;
    }
    let socket = Socket::of(&user, &sent["conversation_id"], None).await;
    observer.until_watched().await;
    drop(socket);
    observer.until_unwatched().await;
    let mut stream = user.stream("Hi").await;
    let answer = stream.until("ack").await[0].data["message_id"].as_i64().unwrap();
    observer.until_watched().await;
    drop(stream);
    observer.until_unwatched().await;
    let stream = user.at(&cura.servers[1].base).resume(answer, None).await;
    observer.until_watched().await;
    drop(stream);
    observer.until_unwatched().await;
    let (question, answer) = (&sent["user_message"]["id"], &sent["assistant_message"]["id"]);
    let (hi, edited) = (
        json!({ "content": "Hi" }),
        json!({ "content": "Ho", "on_busy": "interrupt" }),
    );
    for (path, body) in [
        ("/chat/send".to_owned(), &hi),
        (format!("/chat/messages/{answer}/regenerate"), &json!({})),
        (format!("/chat/messages/{question}/edit"), &edited),
    ] {
        let mut waiting = user.post(&path, body).boxed();
        tokio::select! {
            reply = &mut waiting => panic!("{path}: {}", reply.body),
            () = observer.until_watched() => {}
        }
        drop(waiting);
        observer.until_unwatched().await;
    }
}

#[tokio::test]
async fn what_a_client_calls_hidden_does_not_count() {
    let cura = Cura::without_workers().await;
    let (user, other) = (cura.user().await, cura.client().register("other@example.com").await);
    let (observer, of_other) = (Observer::of(&cura, &user).await, Observer::of(&cura, &other).await);
    let hidden = user.request(Method::GET, "/events?visible=false");
    let mut hidden = user.events(hidden).await.unwrap();
    assert!(hidden.wait_for_cursor().await);
    // What comes later is reported.
    let _stream = other.watch(None).await;
    of_other.until_watched().await;
    assert!(!observer.is_watching().await);
    let shown = user.request(Method::GET, "/events?visible=true");
    let shown = user.events(shown).await.unwrap();
    observer.until_watched().await;
    drop(shown);
    observer.until_unwatched().await;
    let refused = user.get("/events?visible=perhaps").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (422, "validation_failed"));
    let conversation = conversation(&user).await;
    let mut socket = Socket::of(&user, &conversation, None).await;
    observer.until_watched().await;
    for visible in [false, true, false] {
        socket.send(&json!({ "type": "visible", "visible": visible })).await;
        if visible {
            observer.until_watched().await;
        } else {
            observer.until_unwatched().await;
        }
    }
    socket.send(&json!({ "type": "visible" })).await;
    let refused = socket.until("error").await.pop().unwrap();
    assert_eq!(refused["code"], "invalid_frame");
}

#[tokio::test]
async fn a_frozen_client_of_a_socket_counts_for_25_seconds_and_again_when_it_goes_on() {
    let cura = Cura::without_workers().await;
    let (user, other) = (cura.user().await, cura.client().register("other@example.com").await);
    let (observer, of_other) = (Observer::of(&cura, &user).await, Observer::of(&cura, &other).await);
    // It answers no ping.
    let mut frozen = RawSocket::of(&user, &conversation(&user).await).await;
    let begun = Instant::now();
    let mut living = Socket::of(&other, &conversation(&other).await, None).await;
    let answering = async { while living.next().await.is_ok() {} };
    let observing = async {
        observer.until_watched().await;
        of_other.until_watched().await;
        while observer.is_watching().await {
            assert!(begun.elapsed() < PRESENCE_LIMIT, "it does not end");
            assert!(of_other.is_watching().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(begun.elapsed() > Duration::from_secs(23), "{:?}", begun.elapsed());
        assert!(of_other.is_watching().await, "it answers pings");
        frozen.send(&frame(FIN | PONG, b"")).await;
        observer.until_watched().await;
    };
    tokio::select! {
        () = answering => panic!("the socket ends"),
        () = observing => {}
    }
}

#[tokio::test]
async fn only_an_end_that_the_client_brought_about_is_in_order() {
    let mut cura = Cura::without_workers().await;
    let proxied = [("TRUSTED_PROXIES", "127.0.0.1".to_owned())];
    cura.add_server_with(&proxied).await;
    let user = cura.user().await;
    let by_proxy = user.at(&cura.servers[1].base);
    let observer = Observer::of(&cura, &user).await;
    let conversation = conversation(&user).await;
    for (client, answer) in [(&user, 1), (&by_proxy, 2)] {
        let mut socket = Socket::of(client, &conversation, None).await;
        let goodbye = socket.send_frame(Message::Close(None));
        assert!(observer.is_in_order(answer, goodbye).await, "a goodbye is the client's");
    }
    let socket = Socket::of(&user, &conversation, None).await;
    assert!(
        !observer.is_in_order(3, async { drop(socket) }).await,
        "without a goodbye"
    );
    let stream = async |client, version| {
        let mut raw = Raw::get(client, "/events", version).await;
        raw.until("id: ").await;
        raw
    };
    let closed = stream(&user, "HTTP/1.1").await;
    assert!(observer.is_in_order(4, closed.close()).await);
    let broken = stream(&user, "HTTP/1.1").await;
    assert!(!observer.is_in_order(5, async { broken.reset() }).await);
    let old = stream(&user, "HTTP/1.0").await;
    assert!(!observer.is_in_order(6, old.close()).await, "hyper has it");
    let proxied = stream(&by_proxy, "HTTP/1.1").await;
    assert!(!observer.is_in_order(7, proxied.close()).await, "the proxy closes it");
    let mut ended = stream(&user, "HTTP/1.1").await;
    let shutdown = async {
        cura.servers[0].program.signal("TERM");
        let _ = ended.stream.read_to_end(&mut Vec::new()).await;
        drop(ended);
    };
    assert!(!observer.is_in_order(8, shutdown).await, "the server ends it");
}

/// What a client does with the connection on which it has waited for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    AsksAgain,
    Closes,
    BreaksOff,
}

#[tokio::test]
async fn who_waited_for_an_answer_has_seen_it_if_the_connection_lives_on() {
    let latches: Vec<Latch> = (0..8).map(|_| Latch::default()).collect();
    let script = latches.clone();
    let provider = ScriptedProvider::start(move |n, _| held(&script[n])).await;
    let mut cura = Cura::builder()
        .with_provider(&provider)
        .with("LOG_LEVEL", "info,cura_api=debug")
        .start()
        .await;
    cura.add_server_with(&[("TRUSTED_PROXIES", "127.0.0.1".to_owned())])
        .await;
    let (user, other) = (cura.user().await, cura.client().register("other@example.com").await);
    let (observer, of_other) = (Observer::of(&cura, &user).await, Observer::of(&cura, &other).await);
    let by_proxy = user.at(&cura.servers[1].base);
    let ways = [
        (&user, Then::AsksAgain),
        (&user, Then::Closes),
        (&user, Then::BreaksOff),
        (&by_proxy, Then::Closes),
    ];
    let all = ways.iter().flat_map(|way| [(way, "/chat/send"), (way, "/chat/stream")]);
    for (answer, (((client, then), path), latch)) in (1..).zip(all.zip(&latches)) {
        let mut raw = Raw::connect(client.base()).await;
        let body = json!({ "content": "Hi" }).to_string();
        raw.ask(client, &format!("POST {path} HTTP/1.1"), &body).await;
        observer.until_watched().await;
        observer.look_at_end(answer).await;
        latch.open();
        // A frozen client's kernel takes so much as well.
        raw.until(r#""status":"sent""#).await;
        observer.until_unwatched().await;
        let is_proxied = client.base() == by_proxy.base();
        assert!(
            !observer.last_look(answer).await.closed_in_order,
            "{path}: not known yet"
        );
        let settled = || cura.logs().matches("a watched response is settled").count();
        let before = settled();
        match then {
            Then::AsksAgain => raw.ask(client, "GET /health/live HTTP/1.1", "").await,
            Then::Closes => raw.close().await,
            Then::BreaksOff => raw.reset(),
        }
        let is_in_order = async || observer.last_look(answer).await.closed_in_order;
        if !is_proxied && *then != Then::BreaksOff {
            eventually("it was in order", async || is_in_order().await.then_some(())).await;
            continue;
        }
        eventually("the server knows", async || (settled() > before).then_some(())).await;
        // What comes later is reported.
        let stream = other.watch(None).await;
        of_other.until_watched().await;
        assert!(!is_in_order().await, "{path}, {then:?}");
        drop(stream);
        of_other.until_unwatched().await;
    }
}

#[tokio::test]
async fn the_watchers_of_a_killed_server_count_for_half_a_minute() {
    let mut cura = Cura::builder().servers(2).workers(0).start().await;
    let user = cura.user().await;
    let observer = Observer::of(&cura, &user).await;
    let _stream = user.watch(None).await;
    observer.until_watched().await;
    observer.look_at_end(1).await;
    // It says nothing more.
    cura.servers.remove(0).program.kill();
    let begun = Instant::now();
    assert!(observer.is_watching().await);
    while observer.is_watching().await {
        assert!(begun.elapsed() < PRESENCE_LIMIT, "it does not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(observer.last_look(1).await, LastLook::default());
}

#[tokio::test]
async fn nobody_watches_while_redis_is_away() {
    let mut cura = Cura::without_workers().await;
    let user = cura.user().await;
    let observer = Observer::of(&cura, &user).await;
    let _stream = user.watch(None).await;
    observer.until_watched().await;
    observer.look_at_end(1).await;
    cura.redis.kill();
    assert!(!observer.is_watching().await);
    assert_eq!(observer.last_look(1).await, LastLook::default());
    cura.redis.restart();
    observer.until_watched().await;
    assert!(!observer.last_look(1).await.closed_in_order, "who watched is forgotten");
}
