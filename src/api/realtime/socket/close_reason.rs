//! Why a socket ends.

use std::sync::Arc;

use cura_app::session_watch::SessionEnd;

use crate::http::problem::Problem;

pub(super) const PROTOCOL_ERROR: u16 = 1002;
pub(super) const NOT_UTF8: u16 = 1007;
pub(super) const POLICY_VIOLATION: u16 = 1008;
pub(super) const MESSAGE_TOO_BIG: u16 = 1009;
pub(super) const SERVICE_RESTART: u16 = 1012;
pub(super) const TRY_AGAIN_LATER: u16 = 1013;
pub(super) const UNAUTHENTICATED: u16 = 4401;
pub(super) const CONVERSATION_NOT_FOUND: u16 = 4404;

/// Why a socket ends, and with that, what is sent last.
pub(super) enum CloseReason {
    /// The client is not signed in; the problem says why.
    NotSignedIn(Problem),
    /// The session has ended; the feed was at this cursor.
    SessionEnded(SessionEnd, Arc<str>),
    /// The server closes the socket with a close code and a reason.
    Close(u16, &'static str),
    /// The client has closed the socket.
    ClosedByClient,
    /// The connection is lost.
    Lost,
}

impl CloseReason {
    /// The server shuts down.
    pub(super) const RESTART: Self = Self::Close(SERVICE_RESTART, "the server restarts");
    /// The conversation is deleted, or belongs to another user.
    pub(super) const NOT_FOUND: Self = Self::Close(CONVERSATION_NOT_FOUND, "not your conversation");
    /// The client, or all of the user's clients together, send too many frames.
    pub(super) const FLOOD: Self = Self::Close(POLICY_VIOLATION, "too many frames");
    /// The user has too many sockets on this server.
    pub(super) const TOO_MANY: Self = Self::Close(TRY_AGAIN_LATER, "too many sockets");
    /// A dependency is unavailable.
    pub(super) const TRY_LATER: Self = Self::Close(TRY_AGAIN_LATER, "try again later");
}
