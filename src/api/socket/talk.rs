//! The life of one socket: whoever may talk does, and how it ends is said.

use std::sync::Arc;
use std::time::Duration;

use cura_app::conversations::ReadConversationError;
use cura_app::session_watch::OpenSession;
use cura_app::user_feed::UserFeed;
use cura_app::{App, Caller};
use cura_domain::ConversationId;
use cura_domain::cursor::Cursor;
use futures_util::{SinkExt, StreamExt};
use poem::web::websocket::{CloseCode, Message, WebSocketStream};
use tokio::time::timeout;

use super::conversing::Conversing;
use super::frames::frame_of;
use crate::closing::Closing;
use crate::events::EventView;
use crate::limits::Turn;
use crate::problem::Problem;

/// How long one frame may take to leave.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// How long a peer may take to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

pub(super) const UNAUTHENTICATED: u16 = 4401;
const NOT_YOURS: u16 = 4404;
const TRY_LATER: u16 = 1013;
const POLICY: u16 = 1008;

/// What a socket needs. Cheap to clone.
#[derive(Clone)]
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
pub(super) enum End {
    Close(u16, &'static str),
    Answer,
    Gone,
}

impl Talk {
    pub(super) async fn run(mut self, mut socket: WebSocketStream, opening: Opening) {
        let end = match opening {
            // What needs much room for a moment is put on the heap for that moment.
            Opening::Signed(caller) => match Box::pin(self.begin(caller)).await {
                Ok((feed, session)) => {
                    let conversing = Conversing::new(&self, &mut socket, caller, session, feed);
                    conversing.run().await
                }
                Err(end) => end,
            },
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
}

pub(super) async fn send(
    socket: &mut WebSocketStream,
    event: &EventView,
    cursor: Option<&Arc<str>>,
) -> Result<(), End> {
    send_frame(socket, frame_of(event, cursor)).await
}

pub(super) async fn send_frame(socket: &mut WebSocketStream, frame: Message) -> Result<(), End> {
    match timeout(SEND_WITHIN, socket.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Close(POLICY, "too slow a reader")),
    }
}
