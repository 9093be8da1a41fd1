//! A conversation on a socket: what is heard is done in order, what is told is sent when the last has left.

use std::sync::Arc;
use std::time::Duration;

use cura_app::Caller;
use cura_app::session_watch::OpenSession;
use cura_app::user_feed::{UserEvent, UserFeed};
use cura_domain::MessageId;
use cura_domain::message::MessageStatus;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use poem::web::websocket::{Message, WebSocketStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::close::{End, Talk};
use super::command::{Command, Saying};
use super::frame::{frame_of, hear};
use super::frame_rate::Flood;
use super::heartbeat::{Beat, Pulse};
use crate::realtime::schema::{AckEvent, AuthEvent, ErrorEvent, EventView, PongEvent};

/// How long one frame may take to leave.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// Cancellations that may be under way at a time.
const MAX_CANCELLATIONS: usize = 8;

const POLICY: u16 = 1008;

type Cancelling = BoxFuture<'static, Option<EventView>>;

/// Somebody in their conversation.
pub(super) struct Conversing<'a> {
    talk: &'a Talk,
    socket: &'a mut WebSocketStream,
    caller: Caller,
    session: OpenSession,
    feed: UserFeed,
    closing: CancellationToken,
    cancelling: FuturesUnordered<Cancelling>,
}

impl<'a> Conversing<'a> {
    pub(super) fn new(
        talk: &'a Talk,
        socket: &'a mut WebSocketStream,
        caller: Caller,
        session: OpenSession,
        feed: UserFeed,
    ) -> Self {
        Self {
            talk,
            socket,
            caller,
            session,
            feed,
            closing: talk.closing.token(),
            cancelling: FuturesUnordered::new(),
        }
    }

    /// What needs much room for a moment is put on the heap for that moment: most of a socket's life is silence.
    pub(super) async fn run(mut self) -> End {
        let mut flood = Flood::new();
        let mut pulse = Pulse::new();
        loop {
            let done = tokio::select! {
                biased;
                end = self.session.ended() => return End::SessionOver(end, self.feed.cursor()),
                () = self.closing.cancelled() => return End::RESTART,
                frame = self.socket.next() => {
                    pulse.hear();
                    match hear(frame, &mut flood) {
                        Ok(Some(text)) => match Command::read(&text) {
                            Ok(command) => Box::pin(self.act(command)).await,
                            Err(refused) => self.tell(&EventView::Error(refused), None).await,
                        },
                        Ok(None) => Ok(()),
                        Err(end) => Err(end),
                    }
                }
                Some(said) = self.cancelling.next(), if !self.cancelling.is_empty() => match said {
                    Some(said) => self.tell(&said, None).await,
                    None => Ok(()),
                },
                told = self.feed.next() => {
                    let is_gone = matches!(told.event, UserEvent::Conversation(_, None));
                    let frame = frame_of(&EventView::of_user(told.event), told.cursor.as_ref());
                    match self.send(frame).await {
                        Ok(()) if is_gone => Err(End::NOT_YOURS),
                        sent => sent,
                    }
                }
                beat = pulse.next() => match beat {
                    Beat::Ask => self.send(Message::Ping(Vec::new())).await,
                    Beat::Gone => Err(End::Gone),
                },
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Does what a client asks for.
    async fn act(&mut self, command: Command) -> Result<(), End> {
        // One answer for what may be asked for at any time.
        let refused = match command {
            Command::Ping {} => {
                let at = self.talk.app.now();
                // With the cursor: where a socket stands to which nothing has happened yet.
                let cursor = self.feed.cursor();
                return self.tell(&EventView::Pong(PongEvent { at }), Some(&cursor)).await;
            }
            Command::Message(saying) => return self.say(saying).await,
            Command::Auth { token } => match self.talk.renew(self.caller, &token).await {
                Ok((renewed, session)) => {
                    (self.caller, self.session) = (renewed, session);
                    let expires_at = renewed.until;
                    return self.tell(&EventView::Auth(AuthEvent { expires_at }), None).await;
                }
                Err(problem) => problem.into_event(),
            },
            Command::Typing { is_typing } => {
                let (talk, origin) = (self.talk, self.feed.origin());
                talk.app
                    .tell_typing(self.caller, talk.conversation, is_typing, origin)
                    .await;
                return Ok(());
            }
            Command::Read { message_id } => match self.talk.note_read(self.caller, MessageId(message_id)).await {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            },
            Command::Cancel { .. } if self.cancelling.len() >= MAX_CANCELLATIONS => ErrorEvent {
                detail: "Too many cancellations at once.".to_owned(),
                retryable: true,
                ..ErrorEvent::new("rate_limited")
            },
            Command::Cancel { message_id } => match self.talk.turn.of_caller(self.caller).await {
                Err(problem) => problem.into_event(),
                Ok(()) => {
                    let message = MessageId(message_id);
                    let is_before_us = self.feed.began_after_end_of(message);
                    let cancelling = self.talk.clone().cancel(self.caller, message, is_before_us);
                    self.cancelling.push(cancelling.boxed());
                    return Ok(());
                }
            },
        };
        self.tell(&EventView::Error(refused), None).await
    }

    /// Stores and queues a message, and says so. Its answer comes as everything else does.
    async fn say(&mut self, saying: Saying) -> Result<(), End> {
        let name = saying.name();
        let wish = match saying.wish(self.talk.conversation) {
            Ok(wish) => wish,
            Err(refused) => return self.tell(&EventView::Error(refused), None).await,
        };
        let started = match self.talk.start(self.caller, &wish).await {
            Ok(started) => started,
            Err(problem) => {
                let refused = ErrorEvent {
                    client_message_id: name,
                    ..problem.into_event()
                };
                return self.tell(&EventView::Error(refused), None).await;
            }
        };
        let ack = AckEvent {
            client_message_id: name,
            ..AckEvent::from(&started)
        };
        let over = started.replayed && started.answer.status != MessageStatus::Sending;
        let cursor = self.feed.cursor();
        self.tell(&EventView::Ack(ack), Some(&cursor)).await?;
        if over && self.feed.began_after_end_of(started.answer.id).await.unwrap_or(false) {
            // It lies before this socket's beginning: whoever asks again wants to know it.
            let id = started.answer.id;
            for event in self.talk.app.retell(self.caller, started.answer) {
                self.tell(&EventView::of_answer(id, event), None).await?;
            }
        }
        Ok(())
    }

    async fn tell(&mut self, event: &EventView, cursor: Option<&Arc<str>>) -> Result<(), End> {
        self.send(frame_of(event, cursor)).await
    }

    /// Sends a frame. A reader that does not read keeps nobody from ending: neither the session nor the server.
    async fn send(&mut self, frame: Message) -> Result<(), End> {
        tokio::select! {
            biased;
            sent = timeout(SEND_WITHIN, self.socket.send(frame)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::Close(POLICY, "too slow a reader")),
            },
            // The frame waits in the socket since it was looked at first; the last word comes behind it.
            end = self.session.ended() => Err(End::SessionOver(end, self.feed.cursor())),
            () = self.closing.cancelled() => Err(End::RESTART),
        }
    }
}
