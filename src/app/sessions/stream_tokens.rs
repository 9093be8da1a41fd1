//! Stream tokens: authenticate the streams of their session for hours, where a client cannot send headers and reconnects by itself.

use std::time::Duration;

use cura_store::sessions;

use super::{AuthenticateError, Proof, Sessions};
use crate::auth_tokens::StreamToken;
use crate::caller::Caller;

/// How long a stream token opens streams at most, as the contract says.
const STREAM_TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// A stream token on its way to the client.
pub struct IssuedStreamToken {
    /// What the client gets.
    pub text: String,
    /// How long it is valid, unless its session ends before.
    pub expires_in: Duration,
}

impl Sessions {
    /// Issues a stream token for the caller's session, which it does not outlive.
    ///
    /// # Errors
    /// [`AuthenticateError::NotSignedIn`] if the session has just ended.
    pub async fn issue_stream_token(&self, caller: Caller) -> Result<IssuedStreamToken, AuthenticateError> {
        let now = self.clock.now_micros();
        let state = self
            .database
            .connection(async |connection| sessions::find_state(connection, caller.session, caller.user).await)
            .await?
            .filter(|state| state.expires_at > now)
            .ok_or(AuthenticateError::NotSignedIn)?;
        let expires_at = (now + STREAM_TOKEN_LIFETIME).min(state.expires_at);
        let text = self.tokens.stream_token_text(&StreamToken {
            user: caller.user,
            session: caller.session,
            // As when the caller was authenticated: a password that was changed meanwhile counts.
            oldest_generation: caller.oldest_generation,
            expires_at,
        });
        Ok(IssuedStreamToken {
            text,
            expires_in: (expires_at - now).to_std().unwrap_or_default(),
        })
    }

    /// What a client presents as stream token, if it is ours and has not expired. Does not ask the database.
    ///
    /// # Errors
    /// [`AuthenticateError::NotSignedIn`] otherwise.
    pub fn read_stream_token(&self, text: &str) -> Result<StreamToken, AuthenticateError> {
        self.tokens
            .read_stream_token(text, self.clock.now())
            .ok_or(AuthenticateError::NotSignedIn)
    }

    /// Checks that the session of a stream token still stands, with the password that it had, and that its user is not suspended.
    ///
    /// # Errors
    /// [`AuthenticateError`] says whether signing in would help.
    pub async fn authorize_stream(&self, token: &StreamToken) -> Result<Caller, AuthenticateError> {
        let proof = Proof::StreamToken {
            oldest_generation: token.oldest_generation,
        };
        self.authorize_with(token.caller(), proof).await
    }
}

impl StreamToken {
    /// Whom it names, as long as nobody has looked up its session.
    pub fn caller(&self) -> Caller {
        Caller {
            user: self.user,
            session: self.session,
            until: self.expires_at,
            oldest_generation: self.oldest_generation,
        }
    }
}
