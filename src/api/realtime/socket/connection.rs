//! An open socket: commands are executed in order, and the next event is taken when the last one was sent.

use std::sync::Arc;
use std::time::Duration;

use cura_app::Caller;
use cura_app::announcements::AnnouncementReader;
use cura_app::feed::{UserEvent, UserFeed, Watcher};
use cura_app::session_watch::OpenSession;
use cura_domain::MessageId;
use cura_domain::message::MessageStatus;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_util::sync::CancellationToken;

use super::close_reason::{CloseReason, POLICY_VIOLATION};
use super::command::{Command, MessageCommand};
use super::context::Context;
use super::frame::{event_frame, read_frame};
use super::frame_rate::FrameRate;
use super::heartbeat::{Due, Heartbeat};
use super::upgrade::Socket;
use crate::http::start_answer::start_answer;
use crate::http::under_way::FrameBudget;
use crate::realtime::schema::{AckEvent, AuthEvent, ErrorEvent, EventView, PongEvent};

/// How long sending one frame may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Smaller frames are not counted as bytes under way: there is one for each socket.
const MIN_COUNTED_FRAME: usize = 16 * 1024;
/// How many cancellations may run at once.
const MAX_CANCELLATIONS: usize = 8;

type Cancellation = BoxFuture<'static, Option<EventView>>;

/// A signed-in client in its conversation.
pub(super) struct Connection<'a> {
    context: &'a Context,
    socket: &'a mut Socket,
    caller: Caller,
    session: OpenSession,
    announcements: AnnouncementReader,
    feed: UserFeed,
    watcher: Watcher,
    shutdown: CancellationToken,
    cancellations: FuturesUnordered<Cancellation>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        context: &'a Context,
        socket: &'a mut Socket,
        caller: Caller,
        session: OpenSession,
        feed: UserFeed,
        watcher: Watcher,
    ) -> Self {
        Self {
            context,
            socket,
            caller,
            session,
            announcements: context.app.announcements.open(),
            feed,
            watcher,
            shutdown: context.shutdown.token(),
            cancellations: FuturesUnordered::new(),
        }
    }

    /// Runs until the socket ends, and returns why. Futures that need much memory for a moment are boxed: most sockets are idle
    /// most of the time.
    pub(super) async fn run(&mut self) -> CloseReason {
        let mut rate = FrameRate::new();
        let mut heartbeat = Heartbeat::new();
        loop {
            let done = tokio::select! {
                biased;
                end = self.session.ended() => return CloseReason::SessionEnded(end, self.feed.cursor()),
                () = self.shutdown.cancelled() => return CloseReason::RESTART,
                frame = self.socket.next() => {
                    heartbeat.received();
                    self.watcher.alive();
                    match read_frame(frame, &mut rate, self.socket) {
                        Ok(_) if !Box::pin(self.context.rate_limit.admit_frame(self.caller)).await => Err(CloseReason::FLOOD),
                        Ok(Some(text)) => match Command::read(&text) {
                            Ok(command) => Box::pin(self.execute(command)).await,
                            Err(refused) => Box::pin(self.refuse(*refused)).await,
                        },
                        Ok(None) => Ok(()),
                        Err(reason) => Err(reason),
                    }
                }
                Some(reply) = self.cancellations.next(), if !self.cancellations.is_empty() => match reply {
                    Some(reply) => Box::pin(self.send_event(&reply, None)).await,
                    None => Ok(()),
                },
                announcement = self.announcements.next() => Box::pin(self.send_event(&announcement.into(), None)).await,
                item = self.feed.next() => {
                    let is_deleted = matches!(item.event, UserEvent::Conversation(_, None));
                    let frame = event_frame(&EventView::of_user(item.event), item.cursor.as_ref());
                    match self.send(frame).await {
                        Ok(()) if is_deleted => Err(CloseReason::NOT_FOUND),
                        sent => sent,
                    }
                }
                due = heartbeat.next() => match due {
                    Due::Ping => self.send(Message::Ping(Bytes::new())).await,
                    Due::Timeout => Err(CloseReason::Lost),
                },
            };
            if let Err(reason) = done {
                return reason;
            }
        }
    }

    /// Ends the connection, for this reason: whoever watched it has left in order if the client has closed it.
    pub(super) fn leave(self: Box<Self>, reason: &CloseReason) {
        if matches!(reason, CloseReason::ClosedByClient) {
            self.watcher.leave_in_order();
        }
    }

    /// Executes a command of the client. Only a broken socket is an error: refusals are sent as events.
    async fn execute(&mut self, command: Command) -> Result<(), CloseReason> {
        let refused = match command {
            Command::Ping {} => {
                let at = self.context.app.clock.now();
                // With the cursor: a socket without events learns where it stands.
                let cursor = self.feed.cursor();
                return self.send_event(&EventView::Pong(PongEvent { at }), Some(&cursor)).await;
            }
            Command::Message(message) => return self.send_message(message).await,
            Command::Auth { token } => match self.context.renew(self.caller, &token).await {
                Ok((renewed, session)) => {
                    (self.caller, self.session) = (renewed, session);
                    let expires_at = renewed.until;
                    return self.send_event(&EventView::Auth(AuthEvent { expires_at }), None).await;
                }
                Err(problem) => problem.into(),
            },
            Command::Visible { visible } => {
                self.watcher.set_visible(visible);
                return Ok(());
            }
            Command::Typing { is_typing } => {
                let (context, origin) = (self.context, self.feed.origin());
                context
                    .app
                    .feed
                    .publish_typing(self.caller, context.conversation, is_typing, origin);
                return Ok(());
            }
            Command::Read { message_id } => match self.context.note_read(self.caller, MessageId(message_id)).await {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            },
            Command::Cancel { message_id } => match self.begin_cancellation(MessageId(message_id)).await {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            },
        };
        self.send_event(&EventView::Error(refused), None).await
    }

    /// Says what is wrong with a frame, which costs as much as a good one.
    async fn refuse(&mut self, refused: ErrorEvent) -> Result<(), CloseReason> {
        let charged = self.context.rate_limit.charge_caller(self.caller).await;
        let event = charged.map_or_else(ErrorEvent::from, |()| refused);
        self.send_event(&EventView::Error(event), None).await
    }

    /// Cancels an answer beside the loop, so that a slow cancellation delays no event.
    async fn begin_cancellation(&mut self, message: MessageId) -> Result<(), ErrorEvent> {
        if self.cancellations.len() >= MAX_CANCELLATIONS {
            return Err(ErrorEvent {
                detail: "Too many cancellations at once.".to_owned(),
                retryable: true,
                ..ErrorEvent::new("rate_limited")
            });
        }
        self.context.rate_limit.charge_caller(self.caller).await?;
        let feed_began_after_end = self.feed.started_after_end_of(message);
        let cancellation = self.context.clone().cancel(self.caller, message, feed_began_after_end);
        self.cancellations.push(cancellation.boxed());
        Ok(())
    }

    /// Stores and enqueues a message, and confirms it. Its answer arrives on the feed.
    async fn send_message(&mut self, message: MessageCommand) -> Result<(), CloseReason> {
        let client_message_id = message.client_message_id();
        let context = self.context;
        let started = async {
            let rate_limit = &context.rate_limit;
            let paid = rate_limit.charge_answer(self.caller, message.has_key()).await?;
            let request = message
                .check(context.conversation, context.origin.clone())
                .map_err(|refused| *refused)?;
            let started = start_answer(&context.app, rate_limit, paid, self.caller, &request).await?;
            Ok::<_, ErrorEvent>(started)
        };
        let started = match started.await {
            Ok(started) => started,
            Err(refused) => {
                let refused = ErrorEvent {
                    client_message_id,
                    ..refused
                };
                return self.send_event(&EventView::Error(refused), None).await;
            }
        };
        let ack = AckEvent {
            client_message_id,
            ..AckEvent::from(&started)
        };
        let has_ended = started.replayed && started.answer.status != MessageStatus::Sending;
        let cursor = self.feed.cursor();
        self.send_event(&EventView::Ack(ack), Some(&cursor)).await?;
        let id = started.answer.id;
        if has_ended && self.feed.started_after_end_of(id).await.unwrap_or(false) {
            // The feed began after this answer's end and will not contain it, but a client that repeats its message wants it.
            for event in self.context.app.feed.replay(self.caller, started.answer) {
                self.send_event(&EventView::of_answer(id, event), None).await?;
            }
        }
        Ok(())
    }

    async fn send_event(&mut self, event: &EventView, cursor: Option<&Arc<str>>) -> Result<(), CloseReason> {
        self.send(event_frame(event, cursor)).await
    }

    /// Sends a frame. A client that does not read delays neither the end of its session nor the server's shutdown.
    async fn send(&mut self, frame: Message) -> Result<(), CloseReason> {
        let bytes = frame.len();
        let mut held = self.context.frames.as_ref().map(FrameBudget::open);
        // Twice: the frame, and the page of the feed from which it comes.
        if bytes >= MIN_COUNTED_FRAME && held.as_mut().is_some_and(|held| held.grow_to(2 * bytes).is_err()) {
            tracing::info!("a socket ends: its address does not take what it was sent");
            return Err(CloseReason::TRY_LATER);
        }
        tokio::select! {
            biased;
            sent = timeout(SEND_TIMEOUT, self.socket.send(frame)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(CloseReason::Lost),
                Err(_) => Err(CloseReason::because(POLICY_VIOLATION, "too slow a reader")),
            },
            // The frame was handed to the socket by the first poll; the last event is sent after it.
            end = self.session.ended() => Err(CloseReason::SessionEnded(end, self.feed.cursor())),
            () = self.shutdown.cancelled() => Err(CloseReason::RESTART),
        }
    }
}
