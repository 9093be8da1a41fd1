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
    id: i64,
    /// The name that the client gave it.
    device_name: Option<String>,
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
