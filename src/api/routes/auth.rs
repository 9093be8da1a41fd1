//! `/auth`: registering, signing in, staying signed in, signing out.

use chrono::{DateTime, Utc};
use cura_app::accounts::ChangePasswordError;
use cura_app::sessions::{Session, SignInError, SignedIn};
use cura_app::{App, Caller};
use cura_domain::SessionId;
use cura_domain::account::{Email, Name, NewPassword};
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

use crate::http::caller;
use crate::http::fields::Fields;
use crate::http::payload::JsonBody;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;
use crate::routes::tag::Tag;
use crate::routes::users::UserView;

pub(crate) struct AuthApi;

/// Makes an account.
#[derive(Object)]
struct RegisterRequest {
    /// An e-mail address; upper and lower case are the same.
    #[oai(validator(max_length = 254))]
    email: String,
    /// 8 to 128 characters.
    #[oai(validator(min_length = 8, max_length = 128))]
    password: String,
    /// What to call you.
    #[oai(validator(max_length = 100))]
    name: Option<String>,
}

/// Signs in.
#[derive(Object)]
struct LoginRequest {
    /// The address of the account.
    #[oai(validator(max_length = 254))]
    email: String,
    /// Its password.
    #[oai(validator(max_length = 128))]
    password: String,
    /// What the list of signed-in places calls this one.
    #[oai(validator(max_length = 100))]
    device_name: Option<String>,
}

/// Names a session by its refresh token.
#[derive(Object)]
struct RefreshTokenRequest {
    /// The newest refresh token of the session.
    #[oai(validator(max_length = 256))]
    refresh_token: String,
}

/// Changes a password.
#[derive(Object)]
struct ChangePasswordRequest {
    /// The present one.
    #[oai(validator(max_length = 128))]
    current_password: String,
    /// 8 to 128 characters.
    #[oai(validator(min_length = 8, max_length = 128))]
    new_password: String,
}

/// A place where somebody is signed in.
#[derive(Object)]
#[oai(rename = "Session")]
struct SessionView {
    id: i64,
    /// What the client called it.
    device_name: Option<String>,
    created_at: DateTime<Utc>,
    /// When it was last refreshed.
    last_used_at: DateTime<Utc>,
    /// When it ends by itself, unless it is refreshed.
    expires_at: DateTime<Utc>,
    /// Whether it is the one that asks.
    current: bool,
}

/// The places where somebody is signed in.
#[derive(Object)]
struct SessionPage {
    items: Vec<SessionView>,
    /// Always null: they all fit on one page.
    next_cursor: Option<String>,
    /// Always false.
    has_more: bool,
}

/// Stands for a session once, where no header can be sent.
#[derive(Object)]
#[oai(rename = "Ticket")]
struct TicketView {
    /// For `?ticket=`.
    ticket: String,
    /// How long it waits to be used, in seconds.
    expires_in: i64,
}

/// How an access token is presented.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum TokenType {
    /// In `Authorization: Bearer …`.
    Bearer,
}

/// A signed-in session.
#[derive(Object)]
#[oai(rename = "SignedIn")]
struct SignedInView {
    /// Who is signed in.
    user: UserView,
    /// For `Authorization: Bearer …`.
    access_token: String,
    /// For `/auth/refresh`, once.
    refresh_token: String,
    /// Always `bearer`.
    token_type: TokenType,
    /// How long the access token lives, in seconds.
    expires_in: i64,
}

#[derive(ApiResponse)]
enum Registered {
    /// The account is made, and signed in.
    #[oai(status = 201)]
    Created(Json<SignedInView>),
}

#[derive(ApiResponse)]
enum LoggedOut {
    /// The session has ended, or had before.
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
enum PasswordChanged {
    /// The new password holds, and every other session has ended.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/auth", tag = "Tag::Accounts")]
impl AuthApi {
    /// Make an account and sign in
    #[oai(path = "/register", method = "post", operation_id = "register")]
    async fn register(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        body: JsonBody<RegisterRequest>,
    ) -> Result<Registered, Problem> {
        let body = body.0;
        let mut fields = Fields::default();
        let email = fields.check("/email", "invalid_format", Email::new(&body.email));
        let password = fields.check("/password", "weak_password", NewPassword::new(&body.password));
        let name = fields.check(
            "/name",
            "invalid_format",
            body.name.as_deref().map_or(Ok(None), Name::new),
        );
        let (email, password) = fields.finish(email.zip(password))?;
        rate_limit.charge_account(&email).await?;
        let signed_in = app
            .accounts
            .register(&email, &password, name.flatten().as_ref())
            .await?;
        Ok(Registered::Created(Json(signed_in.into())))
    }

    /// Sign in
    #[oai(path = "/login", method = "post", operation_id = "login")]
    async fn login(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        body: JsonBody<LoginRequest>,
    ) -> Result<Json<SignedInView>, Problem> {
        let body = body.0;
        let mut fields = Fields::default();
        let email = fields.check("/email", "invalid_format", Email::new(&body.email));
        let device = fields.check(
            "/device_name",
            "invalid_format",
            body.device_name.as_deref().map_or(Ok(None), Name::new),
        );
        let email = fields.finish(email)?;
        rate_limit.charge_account(&email).await?;
        Ok(Json(
            app.accounts
                .login(&email, &body.password, device.flatten().as_ref())
                .await?
                .into(),
        ))
    }

    /// Exchange a refresh token for a new pair
    ///
    /// The old one dies. Using a dead one ends the session, except within a few seconds, for an answer that got lost.
    #[oai(path = "/refresh", method = "post", operation_id = "refreshTokens")]
    async fn refresh(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        body: JsonBody<RefreshTokenRequest>,
    ) -> Result<Json<SignedInView>, Problem> {
        // By token: whoever guesses from the same address does not keep anybody from staying signed in.
        rate_limit.charge_token(&body.0.refresh_token).await?;
        match app.sessions.refresh(&body.0.refresh_token).await {
            Ok(signed_in) => Ok(Json(signed_in.into())),
            Err(error) => {
                let problem = Problem::from(error);
                if problem.is_client_error() {
                    rate_limit.charge_address().await?;
                }
                Err(problem)
            }
        }
    }

    /// Sign out
    #[oai(path = "/logout", method = "post", operation_id = "logout")]
    async fn logout(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        body: JsonBody<RefreshTokenRequest>,
    ) -> Result<LoggedOut, Problem> {
        rate_limit.charge_address().await?;
        app.sessions.log_out(&body.0.refresh_token).await?;
        Ok(LoggedOut::Done)
    }

    /// Sign out everywhere
    ///
    /// Here too.
    #[oai(path = "/logout-all", method = "post", operation_id = "logoutAll")]
    async fn logout_all(&self, caller: caller::SignedIn, app: Data<&App>) -> Result<LoggedOut, Problem> {
        app.sessions.log_out_everywhere(caller.0).await?;
        Ok(LoggedOut::Done)
    }

    /// Where I am signed in, the last used place first
    #[oai(path = "/sessions", method = "get", operation_id = "listSessions")]
    async fn sessions(&self, caller: caller::SignedIn, app: Data<&App>) -> Result<Json<SessionPage>, Problem> {
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

    /// Sign out one place
    #[oai(path = "/sessions/:session_id", method = "delete", operation_id = "revokeSession")]
    async fn revoke(
        &self,
        caller: caller::SignedIn,
        app: Data<&App>,
        session_id: Path<i64>,
    ) -> Result<LoggedOut, Problem> {
        if app.sessions.revoke(caller.0, SessionId(session_id.0)).await? {
            Ok(LoggedOut::Done)
        } else {
            Err(Problem::not_found("session_not_found", "There is no such session."))
        }
    }

    /// Change my password
    ///
    /// Every other session ends.
    #[oai(path = "/password", method = "post", operation_id = "changePassword")]
    async fn password(
        &self,
        caller: caller::SignedIn,
        app: Data<&App>,
        body: JsonBody<ChangePasswordRequest>,
    ) -> Result<PasswordChanged, Problem> {
        let body = body.0;
        let mut fields = Fields::default();
        let new = fields.check("/new_password", "weak_password", NewPassword::new(&body.new_password));
        let new = fields.finish(new)?;
        app.accounts
            .change_password(caller.0, &body.current_password, &new)
            .await?;
        Ok(PasswordChanged::Done)
    }

    /// Get a ticket for a connection that cannot send headers
    ///
    /// For WebSocket and EventSource: it stands for this session once, as `?ticket=`.
    #[oai(path = "/ticket", method = "post", operation_id = "createTicket")]
    async fn ticket(&self, caller: caller::SignedIn, app: Data<&App>) -> Result<Json<TicketView>, Problem> {
        let ticket = app.sessions.issue_ticket(caller.0).await?;
        Ok(Json(TicketView {
            ticket: ticket.secret,
            expires_in: i64::try_from(ticket.expires_in.as_secs()).unwrap_or(i64::MAX),
        }))
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

impl From<SignedIn> for SignedInView {
    fn from(signed_in: SignedIn) -> Self {
        Self {
            user: signed_in.user.into(),
            access_token: signed_in.access_token,
            refresh_token: signed_in.refresh_token,
            token_type: TokenType::Bearer,
            expires_in: signed_in.expires_in.num_seconds(),
        }
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::EmailTaken => Self::new(
                StatusCode::CONFLICT,
                "email_taken",
                "There is an account with this address already.",
            ),
            SignInError::WrongCredentials => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_credentials",
                "Address and password do not match.",
            ),
            SignInError::InvalidToken => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_refresh_token",
                "The refresh token is not valid (any more).",
            ),
            SignInError::Suspended => Self::suspended(),
            SignInError::Password(error) => error.into(),
            SignInError::Signing(error) => {
                tracing::error!(%error, "an access token could not be made");
                Self::internal()
            }
            SignInError::Store(error) => error.into(),
        }
    }
}

impl From<ChangePasswordError> for Problem {
    fn from(error: ChangePasswordError) -> Self {
        match error {
            ChangePasswordError::WrongPassword => Self::new(
                StatusCode::FORBIDDEN,
                "wrong_password",
                "This is not the password of the account.",
            ),
            ChangePasswordError::Password(error) => error.into(),
            ChangePasswordError::Store(error) => error.into(),
        }
    }
}
