//! Kept connections: a refusal that comes before the body was read costs no next request. Either the connection goes on, or the refusal
//! says that it closes, and can be read.

use std::time::Duration;

use cura_tests::{Attacker, Cura};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
/// How many requests of each kind, and each way to send their body, go over kept connections; `ROUNDS` changes it.
const ROUNDS: usize = 50;

/// A request that is refused.
struct Refused {
    status: u16,
    attacker: Attacker,
    line: (&'static str, &'static str),
    headers: &'static str,
    body: String,
}

/// How a body is sent.
#[derive(Debug, Clone, Copy)]
enum Delivery {
    /// With the head, in one packet.
    Together,
    /// A moment after the head: the server may have answered.
    After(Duration),
    /// In chunks, the last of them a moment later.
    Chunked,
    /// Although the client has said that it waits for `100 Continue`.
    Expecting,
}

/// The next answer on a connection: its status, and whether it says that the connection closes.
async fn answer(stream: &mut TcpStream) -> Option<(u16, bool)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    if head.starts_with("http/1.1 100 ") {
        return Box::pin(answer(stream)).await;
    }
    let length = head
        .split("content-length: ")
        .nth(1)?
        .split("\r\n")
        .next()?
        .parse()
        .ok()?;
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    Some((status, head.contains("\r\nconnection: close\r\n")))
}

impl Refused {
    fn head(&self, delivery: Delivery) -> String {
        let framing = match delivery {
            Delivery::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Delivery::Expecting => format!("Content-Length: {}\r\nExpect: 100-continue\r\n", self.body.len()),
            Delivery::Together | Delivery::After(_) => format!("Content-Length: {}\r\n", self.body.len()),
        };
        let (method, path) = self.line;
        self.attacker.head(method, path, &format!("{}{framing}", self.headers))
    }

    async fn send(&self, stream: &mut TcpStream, delivery: Delivery) -> std::io::Result<()> {
        let head = self.head(delivery);
        match delivery {
            Delivery::Together => stream.write_all(format!("{head}{}", self.body).as_bytes()).await,
            Delivery::After(pause) => {
                stream.write_all(head.as_bytes()).await?;
                tokio::time::sleep(pause).await;
                stream.write_all(self.body.as_bytes()).await
            }
            Delivery::Chunked => {
                let (first, second) = self.body.split_at(self.body.len() / 2);
                stream
                    .write_all(format!("{head}{:x}\r\n{first}\r\n", first.len()).as_bytes())
                    .await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                stream
                    .write_all(format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len()).as_bytes())
                    .await
            }
            Delivery::Expecting => {
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(self.body.as_bytes()).await
            }
        }
    }

    /// Sends this again and again over kept connections. Returns how many connections that took.
    async fn again_and_again(&self, delivery: Delivery, rounds: usize) -> usize {
        let what = format!("{} {} {delivery:?} {}", self.line.0, self.line.1, self.status);
        let (mut connections, mut kept) = (0, None::<TcpStream>);
        for round in 0..rounds {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => {
                    connections += 1;
                    self.attacker.connect().await.expect("a connection")
                }
            };
            // A connection that ends while a body is sent still has the answer; a lost one has none.
            let _ = self.send(&mut stream, delivery).await;
            let answered = timeout(PATIENCE, answer(&mut stream)).await.expect("in time");
            let Some((status, closes)) = answered else {
                panic!("{what}: request {round} was lost on connection {connections}");
            };
            assert_eq!(status, self.status, "{what}: request {round}");
            if closes {
                let rest = timeout(PATIENCE, stream.read(&mut [0])).await.expect("in time");
                assert_eq!(rest.ok(), Some(0), "{what}: it closes in order");
            } else {
                kept = Some(stream);
            }
        }
        connections
    }
}

/// One refusal of each kind.
fn kinds(anybody: &Attacker, ann: &Attacker) -> Vec<Refused> {
    const JSON: &str = "Content-Type: application/json\r\n";
    let refused = |status, attacker: &Attacker, line, headers, body: &str| Refused {
        status,
        attacker: attacker.clone(),
        line,
        headers,
        body: body.to_owned(),
    };
    let new = ("POST", "/conversations");
    vec![
        refused(401, anybody, new, JSON, "{}"),
        refused(415, ann, new, "Content-Type: text/plain\r\n", &"x".repeat(2_000)),
        refused(
            415,
            ann,
            new,
            "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
            "{}",
        ),
        refused(
            406,
            ann,
            new,
            "Content-Type: application/json\r\nAccept: image/png\r\n",
            &" ".repeat(5_000),
        ),
        refused(413, anybody, ("POST", "/auth/login"), JSON, &" ".repeat(9_000)),
        refused(400, ann, new, JSON, "{\"title\": "),
        refused(422, ann, new, JSON, "{\"title\": 7}"),
        refused(404, anybody, ("POST", "/nope"), JSON, "{\"a\": 1}"),
        refused(405, ann, ("PUT", "/conversations"), JSON, "{\"a\": 1}"),
        refused(401, anybody, ("DELETE", "/conversations/1"), JSON, &" ".repeat(4_000)),
    ]
}

fn rounds() -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "the number of rounds is chosen by whoever runs the test"
    )]
    let set = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    set.unwrap_or(ROUNDS)
}

#[tokio::test]
async fn no_request_on_a_kept_connection_is_lost_to_a_refusal_before_it() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let anybody = Attacker::new(&cura.servers[0].base, [127, 0, 0, 1]);
    let ann = anybody.clone().with_token(user.token.clone());
    let kinds = kinds(&anybody, &ann);
    for delivery in [
        Delivery::Together,
        Delivery::After(Duration::ZERO),
        Delivery::After(Duration::from_millis(5)),
        Delivery::Chunked,
        Delivery::Expecting,
    ] {
        let connections = join_all(kinds.iter().map(|kind| kind.again_and_again(delivery, rounds()))).await;
        if !matches!(delivery, Delivery::Expecting) {
            // Small bodies cost no connection.
            assert_eq!(connections, vec![1; kinds.len()], "{delivery:?}");
        }
    }
}

#[tokio::test]
async fn who_is_over_a_limit_keeps_the_connection_too() {
    let cura = Cura::builder().workers(0).with("RATE_LIMIT_AUTH", "1").start().await;
    let anybody = Attacker::new(&cura.servers[0].base, [127, 0, 0, 1]);
    let limited = Refused {
        status: 429,
        attacker: anybody.clone(),
        line: ("POST", "/auth/register"),
        headers: "Content-Type: application/json\r\n",
        body: "{\"email\": \"nope\"}".to_owned(),
    };
    let first = Refused {
        status: 422,
        body: limited.body.clone(),
        attacker: anybody,
        ..limited
    };
    first.again_and_again(Delivery::Together, 1).await;
    let limited = Refused { status: 429, ..first };
    for delivery in [
        Delivery::Together,
        Delivery::After(Duration::from_millis(5)),
        Delivery::Chunked,
    ] {
        // Few: the limit is for a minute.
        assert_eq!(limited.again_and_again(delivery, 20).await, 1, "{delivery:?}");
    }
}

#[tokio::test]
async fn a_refusal_can_be_read_however_much_is_sent_after_it() {
    let cura = Cura::without_workers().await;
    let anybody = Attacker::new(&cura.servers[0].base, [127, 0, 0, 1]);
    let user = cura.user().await;
    let ann = anybody.clone().with_token(user.token.clone());
    for (attacker, status, kilobytes) in [(&anybody, 401, 200), (&anybody, 401, 10 * 1024), (&ann, 413, 10 * 1024)] {
        let refused = Refused {
            status,
            attacker: attacker.clone(),
            line: ("POST", "/chat/send"),
            headers: "Content-Type: application/json\r\n",
            body: " ".repeat(kilobytes * 1024),
        };
        // Whoever sends all of it before reading anything.
        let connections = refused.again_and_again(Delivery::Together, 3).await;
        assert!(connections >= 1, "{status}");
        refused.again_and_again(Delivery::Expecting, 3).await;
    }
}
