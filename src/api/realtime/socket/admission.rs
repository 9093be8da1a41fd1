//! The life of one socket: a client that is admitted gets its connection, and every socket is closed with a reason.

use cura_app::Caller;
use cura_app::feed::UserFeed;
use cura_app::session_watch::OpenSession;
use cura_domain::cursor::Cursor;

use super::close::close;
use super::close_reason::CloseReason;
use super::connection::Connection;
use super::context::Context;
use super::upgrade::Socket;
use crate::http::problem::Problem;
use crate::realtime::user_connections::UserConnection;

/// Whether a client may use the socket it has opened.
pub(super) enum Admission {
    /// In its own conversation, as one of the sockets that the user may hold.
    Admitted(Caller, UserConnection),
    /// The user holds too many sockets.
    TooMany,
    /// The conversation does not exist, or belongs to another user.
    NotFound,
    /// The client is not signed in; the problem says why.
    NotSignedIn(Problem),
}

/// Serves a socket from its opening to its close.
pub(super) async fn run(context: Context, mut socket: Socket, admission: Admission, cursor: Option<Cursor>) {
    let reason = match admission {
        // Boxed, so that the memory is needed only for this moment, and not for the socket's whole life.
        Admission::Admitted(caller, _place) => match Box::pin(begin(&context, caller, cursor)).await {
            Ok((feed, session)) => {
                let connection = Connection::new(&context, &mut socket, caller, session, feed);
                connection.run().await
            }
            Err(reason) => reason,
        },
        Admission::TooMany => CloseReason::TOO_MANY,
        Admission::NotFound => CloseReason::NOT_FOUND,
        Admission::NotSignedIn(problem) => CloseReason::NotSignedIn(problem),
    };
    close(&mut socket, reason).await;
}

/// The feed and the session that a connection follows.
async fn begin(
    context: &Context,
    caller: Caller,
    cursor: Option<Cursor>,
) -> Result<(UserFeed, OpenSession), CloseReason> {
    let feed = context.app.feed.open(caller, Some(context.conversation), cursor).await;
    let feed = feed.map_err(|_| CloseReason::TRY_LATER)?;
    Ok((feed, context.app.session_watch.watch(caller).await))
}
