//! A small HTTP/1.1 server on a real socket that answers as a test tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::eventually;
use crate::provider::Latch;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// The request line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum HttpAnswer {
    /// A complete response.
    Reply {
        /// Its status.
        status: u16,
        /// More headers.
        headers: Vec<(&'static str, String)>,
        /// Its body.
        body: Vec<u8>,
    },
    /// Another answer, once the latch is open or never if the client disconnects before.
    After(Latch, Box<HttpAnswer>),
    /// Silence until the client disconnects.
    Hang,
    /// The end of the connection without a response.
    Cut,
    /// A response that breaks off before the end of its body.
    Torn {
        /// Its status.
        status: u16,
    },
}

/// The server. It ends with the test's runtime.
pub struct HttpServer {
    port: u16,
    load: Arc<Load>,
}

#[derive(Default)]
struct Load {
    connections: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl HttpRequest {
    /// The method and the path with its query.
    pub fn line(&self) -> (&str, &str) {
        let mut words = self.head.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl HttpAnswer {
    /// A response with a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::reply(status, body.to_string()).with("Content-Type", "application/json")
    }

    /// A response with this body.
    pub fn reply(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// The same response with another header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }

    /// The same answer once the latch is open.
    pub fn after(self, latch: &Latch) -> Self {
        Self::After(latch.clone(), Box::new(self))
    }

    /// The status of the response, 0 if there is none.
    pub fn status(&self) -> u16 {
        match self {
            Self::Reply { status, .. } => *status,
            Self::After(_, answer) => answer.status(),
            Self::Hang | Self::Cut | Self::Torn { .. } => 0,
        }
    }
}

impl HttpServer {
    /// Starts one on a free port.
    pub async fn start(answer: impl Fn(HttpRequest) -> HttpAnswer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let load = Arc::new(Load::default());
        let (answer, kept) = (Arc::new(answer), Arc::clone(&load));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (answer, load) = (Arc::clone(&answer), Arc::clone(&kept));
                load.connections.fetch_add(1, Ordering::SeqCst);
                #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
                tokio::spawn(async move {
                    // The client may disconnect at any time.
                    let _ = converse(socket, &*answer, &load).await;
                });
            }
        });
        Self { port, load }
    }

    /// `127.0.0.1:…`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.load.connections.load(Ordering::SeqCst)
    }

    /// The most requests that it had at once.
    pub fn most_under_way(&self) -> usize {
        self.load.most_under_way.load(Ordering::SeqCst)
    }

    /// Waits until it has this many requests at once.
    pub async fn wait_for_under_way(&self, requests: usize) {
        eventually(&format!("{requests} requests are under way"), async || {
            (self.load.under_way.load(Ordering::SeqCst) == requests).then_some(())
        })
        .await;
    }
}

async fn converse(
    socket: TcpStream,
    answer: &(impl Fn(HttpRequest) -> HttpAnswer + Sync),
    load: &Load,
) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    while let Some(request) = read_request(&mut socket).await? {
        let under_way = load.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        load.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        let answered = give(&mut socket, answer(request)).await;
        load.under_way.fetch_sub(1, Ordering::SeqCst);
        if !answered? {
            break;
        }
    }
    Ok(())
}

/// Gives an answer; `false` if the connection ends with it.
async fn give(socket: &mut BufReader<TcpStream>, mut answer: HttpAnswer) -> std::io::Result<bool> {
    let mut gone = [0; 1];
    loop {
        match answer {
            HttpAnswer::Reply { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                socket
                    .write_all(&[format!("{head}\r\n").as_bytes(), &body].concat())
                    .await?;
                return Ok(true);
            }
            HttpAnswer::After(latch, then) => {
                tokio::select! {
                    () = latch.opened() => answer = *then,
                    _ = socket.read(&mut gone) => return Ok(false),
                }
            }
            HttpAnswer::Hang => {
                // Until the client goes.
                let _ = socket.read(&mut gone).await;
                return Ok(false);
            }
            HttpAnswer::Cut => return Ok(false),
            HttpAnswer::Torn { status } => {
                let response = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: 100\r\n\r\n{{");
                socket.write_all(response.as_bytes()).await?;
                return Ok(false);
            }
        }
    }
}

/// Reads the next request of a connection; `None` at its end.
pub(crate) async fn read_request(socket: &mut BufReader<TcpStream>) -> std::io::Result<Option<HttpRequest>> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")
                .and_then(|n| n.trim().parse().ok())
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok(Some(HttpRequest { head, body }))
}
