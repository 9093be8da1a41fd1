//! What is published, as it arrives on one connection. Without TLS it is read here, many messages at a time and in place: the `redis` crate
//! brings each through a task and a queue of its own, in six allocations, and there is one for each token. With TLS it is the crate's.

use std::io;
use std::str::from_utf8;

use ::redis::aio::{PubSubSink, PubSubStream};
use ::redis::{ConnectionAddr, ConnectionInfo, Msg, RedisConnectionInfo, RedisError};
use futures_util::future::select_ok;
use futures_util::{FutureExt, StreamExt};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;

use super::deployment::TCP_USER_TIMEOUT;
use super::publication_parser::{Malformed, Publication, parse};
use super::target::connect_to_publications;
use super::trouble::RedisTrouble;

/// How much is read at once, in bytes.
const READ: usize = 16 * 1024;
/// What is kept of the buffer for the next messages, in bytes, after one that was longer.
const KEPT: usize = 256 * 1024;
/// How many of the crate's messages are taken at once.
const AT_ONCE: usize = 256;

/// What is published on the channels that are subscribed to.
pub(super) enum Publications {
    Plain(PlainPublications),
    /// The crate's, and the message that it has ready.
    Crate(PubSubStream, Option<Msg>),
}

/// The channels that are subscribed to.
pub(super) enum Subscriptions {
    Plain(PlainSubscriptions),
    Crate(PubSubSink),
}

/// What is published on a connection without TLS.
pub(super) struct PlainPublications {
    tcp: OwnedReadHalf,
    unread: Vec<u8>,
    answered: watch::Sender<Answered>,
}

/// The channels that such a connection is subscribed to.
pub(super) struct PlainSubscriptions {
    tcp: OwnedWriteHalf,
    /// How many channels were asked for or left.
    asked: u64,
    answered: watch::Receiver<Answered>,
}

/// What the server has answered.
#[derive(Default)]
struct Answered {
    channels: u64,
    refusal: Option<RedisTrouble>,
}

/// Connects to where `info` says. Has no time limit of its own.
pub(super) async fn connect(info: ConnectionInfo) -> Result<(Subscriptions, Publications), RedisTrouble> {
    let ConnectionAddr::Tcp(host, port) = info.addr() else {
        let (sink, stream) = connect_to_publications(info).await?.split();
        return Ok((Subscriptions::Crate(sink), Publications::Crate(stream, None)));
    };
    let mut tcp = connect_to_any(host, *port).await.map_err(of_io)?;
    tcp.set_nodelay(true).map_err(of_io)?;
    SockRef::from(&tcp)
        .set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))
        .map_err(of_io)?;
    sign_in(&mut tcp, info.redis_settings()).await?;
    let (answers, answered) = watch::channel(Answered::default());
    let (reading, writing) = tcp.into_split();
    let subscriptions = PlainSubscriptions {
        tcp: writing,
        asked: 0,
        answered,
    };
    let publications = PlainPublications {
        tcp: reading,
        unread: Vec::new(),
        answered: answers,
    };
    Ok((Subscriptions::Plain(subscriptions), Publications::Plain(publications)))
}

/// At the first address of the name that answers: one of them may be dead.
async fn connect_to_any(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?;
    let connections: Vec<_> = addresses.map(|address| TcpStream::connect(address).boxed()).collect();
    if connections.is_empty() {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    select_ok(connections).await.map(|(tcp, _)| tcp)
}

async fn sign_in(tcp: &mut TcpStream, settings: &RedisConnectionInfo) -> Result<(), RedisTrouble> {
    let Some(password) = settings.password() else {
        return Ok(());
    };
    let words = ["AUTH"].into_iter().chain(settings.username()).chain([password]);
    tcp.write_all(&command(words)).await.map_err(of_io)?;
    let mut answer = Vec::new();
    loop {
        match parse(&answer).map_err(|Malformed| RedisTrouble::Closed)? {
            Some((Publication::Refused(words), _)) => return Err(RedisTrouble::of_refusal(words)),
            Some(_) => return Ok(()),
            None => read(tcp, &mut answer).await?,
        }
    }
}

impl Subscriptions {
    /// Subscribes to these channels; returns when that is confirmed. Not cancel-safe.
    pub(super) async fn add(&mut self, names: Vec<String>) -> Result<(), RedisTrouble> {
        match self {
            Self::Plain(plain) => plain.ask("SUBSCRIBE", &names).await,
            Self::Crate(sink) => of_crate(sink.subscribe(names).await),
        }
    }

    /// Unsubscribes from these channels; returns when that is confirmed. Not cancel-safe.
    pub(super) async fn remove(&mut self, names: Vec<String>) -> Result<(), RedisTrouble> {
        match self {
            Self::Plain(plain) => plain.ask("UNSUBSCRIBE", &names).await,
            Self::Crate(sink) => of_crate(sink.unsubscribe(names).await),
        }
    }
}

impl PlainSubscriptions {
    /// The answers are read by whoever reads what is published.
    async fn ask(&mut self, verb: &str, names: &[String]) -> Result<(), RedisTrouble> {
        let words = [verb].into_iter().chain(names.iter().map(String::as_str));
        self.tcp.write_all(&command(words)).await.map_err(of_io)?;
        self.asked += names.len() as u64;
        let asked = self.asked;
        let is_answered = |answered: &Answered| answered.channels >= asked || answered.refusal.is_some();
        let answered = self.answered.wait_for(is_answered).await;
        let refusal = answered.map_err(|_| RedisTrouble::Closed)?.refusal.clone();
        refusal.map_or(Ok(()), Err)
    }
}

impl Publications {
    /// Waits until there is something to [take](Self::take). Cancel-safe.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(super) async fn ready(&mut self) -> Result<(), RedisTrouble> {
        match self {
            Self::Plain(plain) => read(&mut plain.tcp, &mut plain.unread).await,
            Self::Crate(stream, ready) => {
                if ready.is_none() {
                    *ready = Some(stream.next().await.ok_or(RedisTrouble::Closed)?);
                }
                Ok(())
            }
        }
    }

    /// Gives what is ready to `each`: its channel and what was published.
    ///
    /// # Errors
    /// When the connection has ended, or what came is not Redis' protocol.
    pub(super) fn take(&mut self, mut each: impl FnMut(&str, &[u8])) -> Result<(), RedisTrouble> {
        match self {
            Self::Plain(plain) => plain.take(each),
            Self::Crate(stream, ready) => {
                let mut next = ready.take();
                for _ in 0..AT_ONCE {
                    let Some(message) = &next else { break };
                    each(message.get_channel_name(), message.get_payload_bytes());
                    next = match stream.next().now_or_never() {
                        Some(None) => return Err(RedisTrouble::Closed),
                        Some(message) => message,
                        None => None,
                    };
                }
                *ready = next;
                Ok(())
            }
        }
    }
}

impl PlainPublications {
    fn take(&mut self, mut each: impl FnMut(&str, &[u8])) -> Result<(), RedisTrouble> {
        let mut taken = 0;
        loop {
            let rest = self.unread.get(taken..).unwrap_or_default();
            let Some((publication, length)) = parse(rest).map_err(|Malformed| RedisTrouble::Closed)? else {
                break;
            };
            match publication {
                Publication::Message { channel, payload } => each(from_utf8(channel).unwrap_or_default(), payload),
                Publication::Answered => self.answered.send_modify(|answered| answered.channels += 1),
                Publication::Refused(words) => {
                    let refusal = RedisTrouble::of_refusal(words);
                    self.answered.send_modify(|answered| answered.refusal = Some(refusal));
                }
                Publication::Other => {}
            }
            taken += length;
        }
        if taken == self.unread.len() && self.unread.capacity() > KEPT {
            self.unread = Vec::new();
        } else {
            self.unread.drain(..taken);
        }
        Ok(())
    }
}

/// Reads once. Cancel-safe.
async fn read(tcp: &mut (impl AsyncReadExt + Unpin), unread: &mut Vec<u8>) -> Result<(), RedisTrouble> {
    unread.reserve(READ);
    match tcp.read_buf(unread).await {
        Ok(0) => Err(RedisTrouble::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(of_io(error)),
    }
}

/// A command as it is sent.
fn command<'w>(words: impl Iterator<Item = &'w str>) -> Vec<u8> {
    let mut command = ::redis::Cmd::new();
    words.for_each(|word| {
        command.arg(word);
    });
    command.get_packed_command()
}

fn of_io(error: io::Error) -> RedisTrouble {
    RedisTrouble::from(&RedisError::from(error))
}

fn of_crate(answered: Result<(), RedisError>) -> Result<(), RedisTrouble> {
    answered.map_err(|error| RedisTrouble::from(&error))
}
