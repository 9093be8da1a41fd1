//! `/auth`: registering, signing in and out, refreshing tokens, changing the password.

mod errors;

use std::time::Duration;

use cura_app::App;
use cura_app::accounts::SignInFrom;
use cura_app::sessions::{PresentedToken, SignInError, SignedIn};
use cura_domain::switch::Switch;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, Union};

use crate::http::caller;
use crate::http::payload::checked::{Checked, DeviceNameField, EmailField, NameField, PasswordField};
use crate::http::payload::{JsonBody, OptionalJsonBody};
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;
use crate::routes::tag::Tag;
use crate::views::user::UserView;

pub(crate) struct AuthApi;

/// A new account.
#[derive(Object)]
struct RegisterRequest {
    /// An e-mail address, at most 254 bytes; upper and lower case are the same.
    email: Checked<EmailField>,
    /// 8 to 128 characters.
    password: Checked<PasswordField>,
    /// The user's name.
    name: Option<Checked<NameField>>,
}

/// Credentials.
#[derive(Object)]
struct LoginRequest {
    /// The e-mail address of the account.
    email: Checked<EmailField>,
    /// The password of the account.
    #[oai(validator(max_length = 128))]
    password: String,
    /// The name of this device in the list of sessions.
    device_name: Option<Checked<DeviceNameField>>,
}

/// Identifies a session.
#[derive(Object)]
struct RefreshTokenRequest {
    /// The newest refresh token of the session.
    #[oai(validator(max_length = 256))]
    refresh_token: String,
}

/// A new password.
#[derive(Object)]
struct ChangePasswordRequest {
    /// The current password.
    #[oai(validator(max_length = 128))]
    current_password: String,
    /// 8 to 128 characters.
    new_password: Checked<PasswordField>,
}

/// Authenticates one connection that cannot send headers.
#[derive(Object)]
#[oai(rename = "Ticket")]
struct TicketView {
    /// The value of `?ticket=`. It can be used once.
    ticket: String,
    /// How long it is valid, in seconds.
    expires_in: i64,
}

/// Authenticates streams of a client that cannot send headers and reconnects by itself.
#[derive(Object)]
#[oai(rename = "StreamToken")]
struct StreamTokenView {
    /// The value of `?stream_token=`. It opens streams of events, as often as the client comes back, and nothing else.
    stream_token: String,
    /// How long it is valid, in seconds, unless its session ends before. The streams that it opened end with it.
    expires_in: i64,
}

/// What a client that cannot send headers identifies itself with.
#[derive(Union)]
#[oai(rename = "TicketOrStreamToken", one_of = true)]
enum TicketOrStreamToken {
    Ticket(TicketView),
    StreamToken(StreamTokenView),
}

/// What a ticket is for.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
enum TicketKind {
    /// One socket or one stream.
    Socket,
    /// Streams of events.
    Stream,
}

/// What a ticket is for.
#[derive(Object, Default)]
struct CreateTicketRequest {
    /// Default `socket`.
    kind: Option<TicketKind>,
}

/// How to send an access token.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum TokenType {
    /// As `Authorization: Bearer …`.
    Bearer,
}

/// A signed-in session.
#[derive(Object)]
#[oai(rename = "SignedIn")]
struct SignedInView {
    /// The user.
    user: UserView,
    /// The access token, for `Authorization: Bearer …`.
    access_token: String,
    /// The refresh token, for `/auth/refresh`, which replaces it.
    refresh_token: String,
    /// Always `bearer`.
    token_type: TokenType,
    /// How long the access token is valid, in seconds.
    expires_in: i64,
}

#[derive(ApiResponse)]
enum Registered {
    /// The account is created, and signed in.
    #[oai(status = 201)]
    Created(Json<SignedInView>),
}

#[derive(ApiResponse)]
enum LoggedOut {
    /// The session has ended, or had ended before.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/auth", tag = "Tag::Accounts")]
impl AuthApi {
    /// Register and sign in
    ///
    /// Creates an account and opens its first session. The password has 8 to 128 characters and is not a common one. A known address is a
    /// 409 `email_taken`, after the same time as a success. 403 `registration_closed` while an operator lets nobody register. If the
    /// response is lost, do not register again but sign in. Costs the sign-in limit, 5 a minute by address unless set otherwise.
    #[oai(path = "/register", method = "post", operation_id = "register")]
    async fn register(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        body: JsonBody<RegisterRequest>,
    ) -> Result<Registered, Problem> {
        let body = body.0;
        let name = body.name.and_then(|name| name.0);
        rate_limit.charge_address().await?;
        app.switches.require(Switch::Registration)?;
        let signed_in = app
            .accounts
            .register(&body.email.0, &body.password.0, name.as_ref(), &rate_limit.place())
            .await?;
        Ok(Registered::Created(Json(signed_in.into())))
    }

    /// Sign in
    ///
    /// Checks address and password and opens a session. An unknown address and a wrong password are the same 401 `invalid_credentials`,
    /// after the same time. A user has at most 100 sessions: beyond it, the one unused longest ends. Costs the sign-in limit, 5 a minute
    /// by address unless set otherwise; after 5 wrong passwords a minute of one account, tries wait longer and longer (429 with
    /// `Retry-After`), but not at addresses from which the user has signed in before. Each request that succeeds opens another session,
    /// so repeat it only if the response is lost.
    #[oai(path = "/login", method = "post", operation_id = "login")]
    async fn login(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        body: JsonBody<LoginRequest>,
    ) -> Result<Json<SignedInView>, Problem> {
        let body = body.0;
        let device = body.device_name.and_then(|device| device.0);
        let from = match rate_limit.refused_unless_known() {
            Some(_) => SignInFrom::KnownPlace,
            None => SignInFrom::Anywhere,
        };
        let place = rate_limit.place();
        let signed_in = app
            .accounts
            .login(&body.email.0, &body.password, device.as_ref(), &place, from);
        Ok(Json(signed_in.await?.into()))
    }

    /// Exchange a refresh token for a new pair
    ///
    /// Returns a new access token and a new refresh token for the same session. The old refresh token leads to the same new pair until
    /// that pair is used (its access or refresh token was presented), and for 10 seconds in any case: repeat the request if its response
    /// was lost. After that, presenting the old one ends the session, because it may have been stolen. An unknown, dead or expired token
    /// is a 401 `invalid_refresh_token`: sign in again. A session that is not refreshed expires after 7 days, and every session after 90
    /// days, unless set otherwise. Costs the default limit, counted by session.
    #[oai(path = "/refresh", method = "post", operation_id = "refreshTokens")]
    async fn refresh(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        body: JsonBody<RefreshTokenRequest>,
    ) -> Result<Json<SignedInView>, Problem> {
        let token = app.sessions.read_refresh_token(&body.0.refresh_token);
        // By session, as the token proves: a client that guesses tokens does not use up the limit of others at its address.
        match token.as_ref().and_then(PresentedToken::session) {
            Some(session) => rate_limit.charge_session(session).await?,
            None => rate_limit.charge_address().await?,
        }
        let token = token.ok_or(SignInError::InvalidToken)?;
        match app.accounts.refresh(&token, &rate_limit.place()).await {
            Ok(signed_in) => Ok(Json(signed_in.into())),
            Err(error) => {
                let problem = Problem::from(error);
                if problem.is_client_error() && token.session().is_some() {
                    rate_limit.charge_address().await?;
                }
                Err(problem)
            }
        }
    }

    /// Sign out
    ///
    /// Ends the session of a refresh token; its access tokens, open streams and sockets end with it, and its devices get no pushes any
    /// more. It is a 204 also when the token is unknown or its session has ended, so it can be repeated. No access token is needed. Costs
    /// one request of the default limit, counted by address.
    #[oai(path = "/logout", method = "post", operation_id = "logout")]
    async fn logout(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        body: JsonBody<RefreshTokenRequest>,
    ) -> Result<LoggedOut, Problem> {
        rate_limit.charge_address().await?;
        if let Some(token) = app.sessions.read_refresh_token(&body.0.refresh_token) {
            app.sessions.log_out(&token).await?;
        }
        Ok(LoggedOut::Done)
    }

    /// Sign out everywhere
    ///
    /// Ends every session of the user, this one included, with its streams, sockets and devices. The access token is dead afterwards: a
    /// repeated request is a 401. Costs one request of the default limit.
    #[oai(path = "/logout-all", method = "post", operation_id = "logoutAll")]
    async fn logout_all(&self, caller: caller::SignedIn, app: Data<&App>) -> Result<LoggedOut, Problem> {
        app.sessions.log_out_everywhere(caller.0).await?;
        Ok(LoggedOut::Done)
    }

    /// Change my password
    ///
    /// Needs the current password; a wrong one is a 403 `wrong_password`. Every other session ends. This one goes on with the new pair of
    /// tokens; the old pair is dead at once, so a repeated request is a 401. If the response was lost, sign in with the new password.
    /// Costs the sign-in limit, 5 a minute by address unless set otherwise, and wrong passwords are counted by account as for signing in.
    #[oai(path = "/password", method = "post", operation_id = "changePassword")]
    async fn password(
        &self,
        caller: caller::SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        body: JsonBody<ChangePasswordRequest>,
    ) -> Result<Json<SignedInView>, Problem> {
        let body = body.0;
        let signed_in = app
            .accounts
            .change_password(
                caller.0,
                &body.current_password,
                &body.new_password.0,
                &rate_limit.place(),
            )
            .await?;
        Ok(Json(signed_in.into()))
    }

    /// Get a ticket for a connection that cannot send headers
    ///
    /// For WebSocket and `EventSource`. A ticket, sent as `?ticket=`, authenticates one connection as this session within 60 seconds. A
    /// stream token (`{"kind": "stream"}`), sent as `?stream_token=`, opens streams of events for up to 12 hours and at most as long as
    /// the session, as often as the client comes back, because an `EventSource` reconnects with the same URL. Both authenticate nothing
    /// else. Every request makes a new one; the earlier ones stay valid. Costs one request of the default limit.
    #[oai(path = "/ticket", method = "post", operation_id = "createTicket")]
    async fn ticket(
        &self,
        caller: caller::SignedIn,
        app: Data<&App>,
        body: OptionalJsonBody<CreateTicketRequest>,
    ) -> Result<Json<TicketOrStreamToken>, Problem> {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Ok(Json(match body.0.unwrap_or_default().kind {
            None | Some(TicketKind::Socket) => {
                let ticket = app.sessions.issue_ticket(caller.0).await?;
                TicketOrStreamToken::Ticket(TicketView {
                    ticket: ticket.secret,
                    expires_in: seconds(ticket.expires_in),
                })
            }
            Some(TicketKind::Stream) => {
                let token = app.sessions.issue_stream_token(caller.0).await?;
                TicketOrStreamToken::StreamToken(StreamTokenView {
                    stream_token: token.text,
                    expires_in: seconds(token.expires_in),
                })
            }
        }))
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
