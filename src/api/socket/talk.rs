//! The life of one socket: what is heard is done in order, what is told is sent when the last has left.

use std::sync::Arc;
use std::time::Duration;

use cura_app::chat::{AskForAnswer, ReadMessageError};
use cura_app::conversations::{Message as StoredMessage, ReadConversationError};
use cura_app::follow::AnswerEvent;
use cura_app::session_watch::{OpenSession, SessionEnd};
use cura_app::user_feed::UserFeed;
use cura_app::{App, Caller};
use cura_domain::cursor::Cursor;
use cura_domain::message::MessageStatus;
use cura_domain::{ConversationId, MessageId};
use futures_util::future::{BoxFuture, FusedFuture, OptionFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use poem::web::websocket::{CloseCode, Message, WebSocketStream};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::command::{Command, Saying};
use super::flood::Flood;
use crate::closing::Closing;
use crate::events::{AckEvent, AuthEvent, ErrorEvent, EventView, PongEvent};
use crate::limits::Turn;
use crate::problem::Problem;

/// How often the server asks whether anybody is there, as the contract says.
const PING_EVERY: Duration = Duration::from_secs(20);
/// After what silence a peer is gone, as the contract says.
const SILENCE: Duration = Duration::from_secs(60);
/// How long one frame may take to leave.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// How long a peer may take to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// Cancellations that may be under way at a time.
const MAX_CANCELLATIONS: usize = 8;

const UNAUTHENTICATED: u16 = 4401;
const NOT_YOURS: u16 = 4404;
const RESTARTING: u16 = 1012;
const TRY_LATER: u16 = 1013;
const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;
const NOT_UTF8: u16 = 1007;
const PROTOCOL: u16 = 1002;

/// What a socket needs.
pub(super) struct Talk {
    pub(super) app: App,
    pub(super) turn: Turn,
    pub(super) closing: Closing,
    pub(super) conversation: ConversationId,
    pub(super) cursor: Option<Cursor>,
}

/// Whether somebody may talk.
pub(super) enum Opening {
    Signed(Caller),
    Refused(Problem),
}

/// Why a socket ends: a close code and a word, a goodbye of the peer's, or nothing more to say.
enum End {
    Close(u16, &'static str),
    Answer,
    Gone,
}

type Cancelling = BoxFuture<'static, Option<ErrorEvent>>;

impl Talk {
    pub(super) async fn run(mut self, mut socket: WebSocketStream, opening: Opening) {
        let end = match opening {
            Opening::Signed(caller) => self.talk(&mut socket, caller).await,
            Opening::Refused(problem) => {
                let code = if problem.is_about_who() {
                    UNAUTHENTICATED
                } else {
                    TRY_LATER
                };
                let told = send(&mut socket, &EventView::Error(problem.into_event()), None).await;
                told.err().unwrap_or(End::Close(code, "not authenticated"))
            }
        };
        let goodbye = async {
            match end {
                End::Close(code, why) => {
                    let close = Message::Close(Some((CloseCode::from(code), why.to_owned())));
                    if socket.send(close).await.is_ok() {
                        // Until the peer has answered; what it still says does not matter.
                        while let Some(Ok(_)) = socket.next().await {}
                    }
                }
                // The library has prepared the answer, and sends it when asked to.
                End::Answer => drop(socket.flush().await),
                End::Gone => {}
            }
        };
        // A peer that does not answer, or read, is left.
        let _ = timeout(GOODBYE, goodbye).await;
    }

    /// What a socket follows, if the conversation is the caller's.
    async fn begin(&mut self, caller: Caller) -> Result<(UserFeed, OpenSession), End> {
        match self.app.conversation(caller, self.conversation).await {
            Ok(_) => {}
            Err(ReadConversationError::NotFound) => return Err(End::Close(NOT_YOURS, "not your conversation")),
            Err(ReadConversationError::Store(_)) => return Err(End::Close(TRY_LATER, "try again later")),
        }
        let cursor = self.cursor.take();
        let Ok(feed) = self.app.user_feed(caller, Some(self.conversation), cursor).await else {
            return Err(End::Close(TRY_LATER, "try again later"));
        };
        Ok((feed, self.app.open_session_of(caller).await))
    }

    /// What needs much room for a moment is put on the heap for that moment: most of a socket's life is silence.
    async fn talk(&mut self, socket: &mut WebSocketStream, mut caller: Caller) -> End {
        let (mut feed, mut session) = match Box::pin(self.begin(caller)).await {
            Ok(begun) => begun,
            Err(end) => return end,
        };
        let mut flood = Flood::new();
        let mut heard = Instant::now();
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cancelling: FuturesUnordered<Cancelling> = FuturesUnordered::new();
        let closing = self.closing.token();
        loop {
            let mut cancelled: OptionFuture<_> = (!cancelling.is_empty()).then(|| cancelling.next()).into();
            let done = tokio::select! {
                biased;
                end = session.ended() => return Box::pin(self.end_of_session(socket, &mut feed, end)).await,
                () = closing.cancelled() => return End::Close(RESTARTING, "the server restarts"),
                frame = socket.next() => {
                    heard = Instant::now();
                    let text = match hear(frame, &mut flood) {
                        Ok(Some(text)) => text,
                        Ok(None) => continue,
                        Err(end) => return end,
                    };
                    drop(cancelled);
                    match Command::read(&text) {
                        Ok(command) => {
                            let act = self.act(socket, &mut caller, &mut session, &mut feed, &mut cancelling, command);
                            Box::pin(act).await
                        }
                        Err(refused) => send(socket, &EventView::Error(refused), None).await,
                    }
                }
                failed = &mut cancelled, if !cancelled.is_terminated() => match failed.flatten().flatten() {
                    Some(failed) => send(socket, &EventView::Error(failed), None).await,
                    None => Ok(()),
                },
                told = feed.next() => {
                    let event = EventView::of_user(told.event);
                    // A reader that does not read keeps nobody from ending.
                    tokio::select! {
                        biased;
                        sent = send(socket, &event, told.cursor.as_ref()) => sent,
                        _ = session.ended() => Err(End::Close(UNAUTHENTICATED, "the session is over")),
                        () = closing.cancelled() => Err(End::Close(RESTARTING, "the server restarts")),
                    }
                }
                _ = ping.tick() => {
                    if heard.elapsed() >= SILENCE {
                        return End::Gone;
                    }
                    send_frame(socket, Message::Ping(Vec::new())).await
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Does what a client asks for.
    async fn act(
        &self,
        socket: &mut WebSocketStream,
        caller: &mut Caller,
        session: &mut OpenSession,
        feed: &mut UserFeed,
        cancelling: &mut FuturesUnordered<Cancelling>,
        command: Command,
    ) -> Result<(), End> {
        // One answer for what may be asked for at any time.
        let refused = match command {
            Command::Ping {} => {
                let at = self.app.now();
                // With the cursor: where a socket stands to which nothing has happened yet.
                return send(socket, &EventView::Pong(PongEvent { at }), Some(&feed.cursor())).await;
            }
            Command::Message(saying) => return self.say(socket, *caller, feed, saying).await,
            Command::Auth { token } => match self.renew(*caller, &token).await {
                Ok(renewed) => {
                    *caller = renewed;
                    *session = self.app.open_session_of(renewed).await;
                    let expires_at = renewed.until;
                    return send(socket, &EventView::Auth(AuthEvent { expires_at }), None).await;
                }
                Err(refused) => refused,
            },
            Command::Typing { is_typing } => {
                self.app
                    .tell_typing(*caller, self.conversation, is_typing, feed.origin())
                    .await;
                return Ok(());
            }
            Command::Read { message_id } => {
                let message = MessageId(message_id);
                match self.turn.of_caller(*caller).await {
                    Err(problem) => problem.into_event(),
                    Ok(()) => match self.app.note_read(*caller, self.conversation, message).await {
                        Ok(()) => return Ok(()),
                        Err(error) => Problem::from(error).into_event(),
                    },
                }
            }
            Command::Cancel { .. } if cancelling.len() >= MAX_CANCELLATIONS => ErrorEvent {
                detail: "Too many cancellations at once.".to_owned(),
                retryable: true,
                ..ErrorEvent::new("rate_limited")
            },
            Command::Cancel { message_id } => match self.turn.of_caller(*caller).await {
                Err(problem) => problem.into_event(),
                Ok(()) => {
                    cancelling
                        .push(cancel(self.app.clone(), *caller, self.conversation, MessageId(message_id)).boxed());
                    return Ok(());
                }
            },
        };
        send(socket, &EventView::Error(refused), None).await
    }

    /// Stores and queues a message, and says so. Its answer comes as everything else does.
    async fn say(
        &self,
        socket: &mut WebSocketStream,
        caller: Caller,
        feed: &mut UserFeed,
        saying: Saying,
    ) -> Result<(), End> {
        let name = saying.client_message_id.clone();
        let wish = match saying.wish(self.conversation) {
            Ok(wish) => wish,
            Err(refused) => return send(socket, &EventView::Error(refused), None).await,
        };
        let started = match self.start(caller, &wish).await {
            Ok(started) => started,
            Err(problem) => {
                let refused = ErrorEvent {
                    client_message_id: name,
                    ..problem.into_event()
                };
                return send(socket, &EventView::Error(refused), None).await;
            }
        };
        let ack = AckEvent {
            client_message_id: name,
            ..AckEvent::from(&started)
        };
        let over = started.replayed && started.answer.status != MessageStatus::Sending;
        send(socket, &EventView::Ack(ack), Some(&feed.cursor())).await?;
        if over && feed.began_after_end_of(started.answer.id).await.unwrap_or(false) {
            // Its end is before this socket's beginning: whoever asks again wants to know it.
            let (id, position) = (started.answer.id, cura_domain::answer::Position::START);
            let message: Box<StoredMessage> = Box::new(started.answer);
            let ended = AnswerEvent::Ended { message, position };
            send(socket, &EventView::of_answer(id, ended), None).await?;
        }
        Ok(())
    }

    async fn start(&self, caller: Caller, wish: &AskForAnswer) -> Result<cura_app::chat::StartedAnswer, Problem> {
        if let Some(first) = self.app.find_asked(caller, wish).await? {
            return Ok(first);
        }
        self.turn.of_chat(caller).await?;
        Ok(self.app.start_answer(caller, wish).await?)
    }

    /// The same user with a fresh token.
    async fn renew(&self, caller: Caller, token: &str) -> Result<Caller, ErrorEvent> {
        let renewed = self.app.authenticate(token).await.map_err(Problem::from);
        match renewed {
            Ok(renewed) if renewed.user == caller.user => Ok(renewed),
            Ok(_) => Err(Problem::not_signed_in().into_event()),
            Err(problem) => Err(problem.into_event()),
        }
    }

    async fn end_of_session(&self, socket: &mut WebSocketStream, feed: &mut UserFeed, end: SessionEnd) -> End {
        let told = send(socket, &EventView::SessionEnded(end.into()), Some(&feed.cursor())).await;
        told.err().unwrap_or(End::Close(UNAUTHENTICATED, "the session is over"))
    }
}

/// Stops an answer of this conversation; what cannot be stopped is an error.
async fn cancel(app: App, caller: Caller, conversation: ConversationId, message: MessageId) -> Option<ErrorEvent> {
    let cancelled = async {
        let found = app.message(caller, message).await?;
        if found.conversation_id != conversation {
            return Err(ReadMessageError::NotFound);
        }
        app.cancel_answer(caller, message).await
    };
    let refused = Problem::from(cancelled.await.err()?).into_event();
    Some(ErrorEvent {
        message_id: Some(message.0),
        ..refused
    })
}

/// What a frame says; nothing, when it only shows that somebody is there.
fn hear(frame: Option<std::io::Result<Message>>, flood: &mut Flood) -> Result<Option<String>, End> {
    let frame = match frame {
        None => return Err(End::Gone),
        Some(Err(error)) => return Err(broken(&error.to_string())),
        Some(Ok(frame)) => frame,
    };
    if !flood.admit() {
        return Err(End::Close(POLICY, "too many frames"));
    }
    match frame {
        Message::Text(text) => Ok(Some(text)),
        // Read as one that is no JSON.
        Message::Binary(_) => Ok(Some(String::new())),
        Message::Ping(_) | Message::Pong(_) => Ok(None),
        Message::Close(_) => Err(End::Answer),
    }
}

/// What is to be said to a peer that broke the protocol. The library gives its reason as a sentence only.
fn broken(reason: &str) -> End {
    if reason.starts_with("Space limit exceeded") {
        End::Close(TOO_BIG, "the frame is too large")
    } else if reason.starts_with("UTF-8 encoding error") {
        End::Close(NOT_UTF8, "the text is not UTF-8")
    } else if reason.starts_with("WebSocket protocol error") && !reason.contains("without closing handshake") {
        End::Close(PROTOCOL, "the frame is not of RFC 6455")
    } else {
        End::Gone
    }
}

async fn send(socket: &mut WebSocketStream, event: &EventView, cursor: Option<&Arc<str>>) -> Result<(), End> {
    let mut line = event.to_line();
    if let Some(cursor) = cursor
        && line.pop() == Some('}')
    {
        line.push_str(",\"cursor\":\"");
        line.push_str(cursor);
        line.push_str("\"}");
    }
    send_frame(socket, Message::Text(line)).await
}

async fn send_frame(socket: &mut WebSocketStream, frame: Message) -> Result<(), End> {
    match timeout(SEND_WITHIN, socket.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Close(POLICY, "too slow a reader")),
    }
}
