//! The life of one socket: a client that is admitted gets its connection, and every socket is closed with a reason.

use cura_app::Caller;
use cura_app::feed::Liveness;
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

/// Serves a socket from its opening to its close. What it only borrows takes no second place in the memory of its future.
pub(super) async fn run(context: &Context, socket: &mut Socket, admission: Admission, cursor: Option<Cursor>) {
    let reason = match admission {
        // Boxed, so that the memory is needed only for this moment, and not for the socket's whole life.
        Admission::Admitted(caller, _place) => match Box::pin(begin(context, socket, caller, cursor)).await {
            Ok(mut connection) => {
                let reason = connection.run().await;
                connection.leave(&reason);
                reason
            }
            Err(reason) => reason,
        },
        Admission::TooMany => CloseReason::TOO_MANY,
        Admission::NotFound => CloseReason::NOT_FOUND,
        Admission::NotSignedIn(problem) => CloseReason::NotSignedIn(problem),
    };
    Box::pin(close(socket, reason)).await;
}

/// A connection with the feed and the session that it follows. Boxed, because its parts are moved on the way.
async fn begin<'a>(
    context: &'a Context,
    socket: &'a mut Socket,
    caller: Caller,
    cursor: Option<Cursor>,
) -> Result<Box<Connection<'a>>, CloseReason> {
    let watcher = context.app.feed.watcher(caller, Liveness::Shown);
    let feed = context.app.feed.open(caller, Some(context.conversation), cursor).await;
    let feed = feed.map_err(|_| CloseReason::TRY_LATER)?;
    let session = context.app.session_watch.watch(caller).await;
    let connection = Connection::new(context, socket, caller, session, feed, watcher);
    Ok(Box::new(connection))
}
