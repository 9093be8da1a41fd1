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
    Close {
        code: u16,
        why: &'static str,
        /// Nothing that the client sends can be read any more.
        is_broken: bool,
    },
    /// The client has closed the socket.
    ClosedByClient,
    /// The connection is lost.
    Lost,
}

impl CloseReason {
    /// The server shuts down.
    pub(super) const RESTART: Self = Self::because(SERVICE_RESTART, "the server restarts");
    /// The conversation is deleted, or belongs to another user.
    pub(super) const NOT_FOUND: Self = Self::because(CONVERSATION_NOT_FOUND, "not your conversation");
    /// The client, or all of the user's clients together, send too many frames.
    pub(super) const FLOOD: Self = Self::because(POLICY_VIOLATION, "too many frames");
    /// The user has too many sockets on this server.
    pub(super) const TOO_MANY: Self = Self::because(TRY_AGAIN_LATER, "too many sockets");
    /// A dependency is unavailable.
    pub(super) const TRY_LATER: Self = Self::because(TRY_AGAIN_LATER, "try again later");
    /// The client sends a message in more pieces than it needs.
    pub(super) const BROKEN_FLOOD: Self = Self::broken(POLICY_VIOLATION, "too many fragments");
    /// The client's address sends as much at once as it may.
    pub(super) const BROKEN_TRY_LATER: Self = Self::broken(TRY_AGAIN_LATER, "too much under way from this address");

    /// The socket is closed with this code.
    pub(super) const fn because(code: u16, why: &'static str) -> Self {
        Self::Close {
            code,
            why,
            is_broken: false,
        }
    }

    /// The socket is closed with this code, and the client cannot be understood any more.
    pub(super) const fn broken(code: u16, why: &'static str) -> Self {
        Self::Close {
            code,
            why,
            is_broken: true,
        }
    }
}
