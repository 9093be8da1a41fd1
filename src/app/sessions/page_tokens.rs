//! Page tokens: authenticate requests to the operators' page, where they are a cookie. None is stored: each request looks up the row of its
//! session, which is one like any other, so whatever ends sessions ends these, and whoever is no admin any more is refused.

use chrono::TimeDelta;
use cura_domain::user::User;
use cura_store::{PgConnection, StoreError, sessions};

use super::{MAX_SESSIONS, Sessions};
use crate::auth_tokens::StreamToken;
use crate::caller::Caller;

/// How long an admin stays signed in to the operators' page.
const PAGE_SESSION_LIFETIME: TimeDelta = TimeDelta::hours(8);
/// What the session is called in the lists of its user.
pub(crate) const PAGE_DEVICE_NAME: &str = "Operators' page";

/// A page token on its way to the browser.
pub struct IssuedPageToken {
    /// What the cookie holds.
    pub text: String,
    /// How long it is valid, unless its session ends before.
    pub expires_in: TimeDelta,
}

impl Sessions {
    /// Opens a session for the operators' page in the transaction of `connection`, and ends the user's oldest ones beyond the limit. It is
    /// never extended: it has no refresh token. `None` if the user is no admin; then the transaction has to be rolled back.
    pub(crate) async fn open_page(
        &self,
        connection: &mut PgConnection,
        user: &User,
    ) -> Result<Option<IssuedPageToken>, StoreError> {
        let now = self.clock.now_micros();
        let expires_at = self.expires_at(now, now).min(now + PAGE_SESSION_LIFETIME);
        let seed = self.entropy.bytes();
        let session = sessions::insert(connection, user.id, Some(PAGE_DEVICE_NAME), &seed, now, expires_at).await?;
        if !sessions::is_admins(connection, session, user.id, 0, now).await? {
            return Ok(None);
        }
        sessions::end_oldest_beyond(connection, user.id, MAX_SESSIONS, now).await?;
        let token = StreamToken {
            user: user.id,
            session,
            oldest_generation: 0,
            expires_at,
        };
        Ok(Some(IssuedPageToken {
            text: self.tokens.page_token_text(&token),
            expires_in: expires_at - now,
        }))
    }

    /// Whose page token this is, whether its session stands or not; `None` if it is not ours, or has expired.
    pub(crate) fn read_page_token(&self, page_token: &str) -> Option<Caller> {
        let token = self.tokens.read_page_token(page_token, self.clock.now_micros())?;
        Some(token.caller())
    }

    /// The admin whose page token this is; `None` if it is not ours, or its session has ended or is no admin's.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find_admin(&self, page_token: &str) -> Result<Option<Caller>, StoreError> {
        let now = self.clock.now_micros();
        let Some(token) = self.tokens.read_page_token(page_token, now) else {
            return Ok(None);
        };
        let stands = self.database.connection(async |connection| {
            sessions::is_admins(connection, token.session, token.user, token.oldest_generation, now).await
        });
        Ok(stands.await?.then(|| token.caller()))
    }
}
