//! The life of one socket: whoever may talk does, and how it ends is said.

use std::sync::Arc;
use std::time::Duration;

use cura_app::session_watch::{OpenSession, SessionEnd};
use cura_app::user_feed::UserFeed;
use cura_app::{App, Caller};
use cura_domain::ConversationId;
use cura_domain::cursor::Cursor;
use futures_util::{SinkExt, StreamExt};
use poem::web::websocket::{CloseCode, Message, WebSocketStream};
use tokio::time::timeout;

use super::connection::Conversing;
use super::frame::frame_of;
use crate::http::problem::Problem;
use crate::http::rate_limit::Turn;
use crate::http::shutdown::Closing;
use crate::realtime::schema::EventView;

/// How long a goodbye may take, the peer's answer included. A session's end is noticed within the other of the two seconds
/// that the contract gives.
const GOODBYE: Duration = Duration::from_secs(1);

const UNAUTHENTICATED: u16 = 4401;
const NOT_YOURS: u16 = 4404;
const RESTARTING: u16 = 1012;
const TRY_LATER: u16 = 1013;

/// What a socket needs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Talk {
    pub(super) app: App,
    pub(super) turn: Turn,
    pub(super) closing: Closing,
    pub(super) conversation: ConversationId,
}

/// Whether somebody may talk.
pub(super) enum Opening {
    /// In their conversation.
    Admitted(Caller),
    /// It is not their conversation.
    NotYours,
    /// Nobody knows who it is; the problem says why.
    NotSignedIn(Problem),
}

/// Why a socket ends.
pub(super) enum End {
    /// Nobody knows who it is; the problem says why.
    NotSignedIn(Problem),
    /// The session is over, at this cursor.
    SessionOver(SessionEnd, Arc<str>),
    /// With a close code and a word.
    Close(u16, &'static str),
    /// The peer has said goodbye.
    Answer,
    /// There is nobody to say anything to.
    Gone,
}

impl End {
    /// The server stops.
    pub(super) const RESTART: Self = Self::Close(RESTARTING, "the server restarts");
    /// The conversation is somebody else's, or gone.
    pub(super) const NOT_YOURS: Self = Self::Close(NOT_YOURS, "not your conversation");
}

impl Talk {
    pub(super) async fn run(self, mut socket: WebSocketStream, opening: Opening, cursor: Option<Cursor>) {
        let end = match opening {
            // What needs much room for a moment is put on the heap for that moment.
            Opening::Admitted(caller) => match Box::pin(self.begin(caller, cursor)).await {
                Ok((feed, session)) => {
                    let conversing = Conversing::new(&self, &mut socket, caller, session, feed);
                    conversing.run().await
                }
                Err(end) => end,
            },
            Opening::NotYours => End::NOT_YOURS,
            Opening::NotSignedIn(problem) => End::NotSignedIn(problem),
        };
        // A peer that does not answer, or read, is left.
        let _ = timeout(GOODBYE, say_goodbye(&mut socket, end)).await;
    }

    /// What a socket follows.
    async fn begin(&self, caller: Caller, cursor: Option<Cursor>) -> Result<(UserFeed, OpenSession), End> {
        let feed = self.app.user_feed(caller, Some(self.conversation), cursor).await;
        let feed = feed.map_err(|_| End::Close(TRY_LATER, "try again later"))?;
        Ok((feed, self.app.open_session_of(caller).await))
    }
}

async fn say_goodbye(socket: &mut WebSocketStream, end: End) {
    let (last, code, why) = match end {
        End::NotSignedIn(problem) => {
            let refused = EventView::Error(problem.into_event());
            (Some(frame_of(&refused, None)), UNAUTHENTICATED, "not authenticated")
        }
        End::SessionOver(end, cursor) => {
            let over = EventView::SessionEnded(end.into());
            (
                Some(frame_of(&over, Some(&cursor))),
                UNAUTHENTICATED,
                "the session is over",
            )
        }
        End::Close(code, why) => (None, code, why),
        // The library has prepared the answer, and sends it when asked to.
        End::Answer => return drop(socket.flush().await),
        End::Gone => return,
    };
    let close = Message::Close(Some((CloseCode::from(code), why.to_owned())));
    for frame in last.into_iter().chain([close]) {
        if socket.send(frame).await.is_err() {
            return;
        }
    }
    // Until the peer has answered; what it still says does not matter.
    while let Some(Ok(_)) = socket.next().await {}
}
