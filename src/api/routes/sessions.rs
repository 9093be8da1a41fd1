//! `/auth/sessions`: the sessions of the caller.

use chrono::{DateTime, Utc};
use cura_app::sessions::Session;
use cura_app::{App, Caller};
use cura_domain::SessionId;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::problem::Problem;
use crate::routes::tag::Tag;

pub(crate) struct SessionsApi;

/// A session: one device on which the user is signed in.
#[derive(Object)]
#[oai(rename = "Session")]
struct SessionView {
    /// The id of the session.
    id: i64,
    /// The name that the client gave it.
    device_name: Option<String>,
    /// When the user signed in.
    created_at: DateTime<Utc>,
    /// When it was last refreshed.
    last_used_at: DateTime<Utc>,
    /// When it expires, unless it is refreshed.
    expires_at: DateTime<Utc>,
    /// Whether this request belongs to it.
    current: bool,
}

/// The sessions of the user.
#[derive(Object)]
struct SessionPage {
    /// All sessions of the user.
    items: Vec<SessionView>,
    /// Always null: all sessions fit on one page.
    next_cursor: Option<String>,
    /// Always false.
    has_more: bool,
}

#[derive(ApiResponse)]
enum SessionRevoked {
    /// The session has ended.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/auth/sessions", tag = "Tag::Accounts")]
impl SessionsApi {
    /// List my sessions, most recently used first
    ///
    /// One item for each device or browser on which the user is signed in, at most 100, all on one page. Expired and ended sessions are
    /// not listed. Costs one request of the default limit.
    #[oai(path = "/", method = "get", operation_id = "listSessions")]
    async fn list(&self, caller: SignedIn, app: Data<&App>) -> Result<Json<SessionPage>, Problem> {
        let sessions = app.sessions.list(caller.0).await?;
        Ok(Json(SessionPage {
            items: sessions
                .into_iter()
                .map(|session| SessionView::of(session, caller.0))
                .collect(),
            next_cursor: None,
            has_more: false,
        }))
    }

    /// Revoke a session
    ///
    /// Signs one device out: its tokens are dead, and its streams and sockets end within two seconds. A session that has ended, or is
    /// another user's, is a 404 `session_not_found`; after a lost response that means success. Revoking the current one signs this client
    /// out. Costs one request of the default limit.
    #[oai(path = "/:session_id", method = "delete", operation_id = "revokeSession")]
    async fn revoke(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        session_id: Path<i64>,
    ) -> Result<SessionRevoked, Problem> {
        if app.sessions.revoke(caller.0, SessionId(session_id.0)).await? {
            Ok(SessionRevoked::Done)
        } else {
            Err(Problem::not_found("session_not_found", "Session not found."))
        }
    }
}

impl SessionView {
    fn of(session: Session, caller: Caller) -> Self {
        Self {
            id: session.id.0,
            device_name: session.device_name,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
            current: session.id == caller.session,
        }
    }
}
