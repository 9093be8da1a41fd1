//! Tokens: short-lived access tokens (JWT, HS256), refresh tokens, tickets, and stream tokens. All prove by a signature that they are
//! ours, so an invented one is refused without asking the database. New ones are made with the current secret key; those of the
//! previous one are read as long as it is set.

mod access_token;
mod refresh_token;
mod sealed;
mod stream_token;
mod ticket;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::{Entropy, SessionId, UserId};

pub use access_token::{AccessToken, SigningFailed};
pub use refresh_token::{PresentedToken, RefreshToken};
pub use stream_token::StreamToken;
pub use ticket::Ticket;

use crate::derived_key::{DerivedKeys, SecretKeys};
use access_token::AccessTokens;

/// How long tokens and sessions are valid.
#[derive(Debug, Clone, Copy)]
pub struct TokenLifetimes {
    /// Of an access token.
    pub access: TimeDelta,
    /// Of a refresh token, and so of a session that is not refreshed.
    pub refresh: TimeDelta,
    /// Of a session, however often it is refreshed.
    pub session: TimeDelta,
}

/// Issues and reads tokens.
pub struct Tokens {
    access: AccessTokens,
    refresh_keys: DerivedKeys,
    ticket_keys: DerivedKeys,
    stream_keys: DerivedKeys,
    page_keys: DerivedKeys,
    lifetimes: TokenLifetimes,
}

impl Tokens {
    /// Signs with the current of `secrets`, and with keys derived from it.
    pub fn new(secrets: SecretKeys<'_>, lifetimes: TokenLifetimes) -> Self {
        Self {
            access: AccessTokens::new(secrets),
            refresh_keys: DerivedKeys::new(secrets, "cura refresh token 1"),
            ticket_keys: DerivedKeys::new(secrets, "cura ticket 1"),
            stream_keys: DerivedKeys::new(secrets, "cura stream token 1"),
            page_keys: DerivedKeys::new(secrets, "cura page token 1"),
            lifetimes,
        }
    }

    /// How long tokens are valid.
    pub fn lifetimes(&self) -> TokenLifetimes {
        self.lifetimes
    }

    /// The text of an access token.
    ///
    /// # Errors
    /// When the crypto backend refuses the key, which it never does for HS256.
    pub fn issue_access(
        &self,
        token: &AccessToken,
        now: DateTime<Utc>,
        entropy: &Entropy,
    ) -> Result<String, SigningFailed> {
        self.access.issue(token, now, entropy)
    }

    /// What an access token says, if it is ours, complete, and has not expired.
    pub fn read_access(&self, text: &str, now: DateTime<Utc>) -> Option<AccessToken> {
        self.access.read(text, now)
    }

    /// The text of a refresh token; the same for the same token, as long as the secret key is the same.
    pub fn refresh_text(&self, token: &RefreshToken) -> String {
        token.seal(&self.refresh_keys)
    }

    /// What a client presents as refresh token; `None` when it is certainly not ours.
    pub fn read_refresh(&self, text: &str) -> Option<PresentedToken> {
        PresentedToken::read(&self.refresh_keys, text)
    }

    /// A new ticket, and its text.
    pub fn issue_ticket(
        &self,
        user: UserId,
        session: SessionId,
        expires_at: DateTime<Utc>,
        entropy: &Entropy,
    ) -> (Ticket, String) {
        let ticket = Ticket::new(user, session, expires_at, entropy);
        let text = ticket.seal(&self.ticket_keys);
        (ticket, text)
    }

    /// The ticket of a text, if it is ours and has not expired.
    pub fn read_ticket(&self, text: &str, now: DateTime<Utc>) -> Option<Ticket> {
        Ticket::open(&self.ticket_keys, text, now)
    }

    /// The text of a stream token.
    pub fn stream_token_text(&self, token: &StreamToken) -> String {
        token.seal(&self.stream_keys)
    }

    /// The stream token of a text, if it is ours and has not expired.
    pub fn read_stream_token(&self, text: &str, now: DateTime<Utc>) -> Option<StreamToken> {
        StreamToken::open(&self.stream_keys, text, now)
    }

    /// The text of a page token, which is as a stream token and good for the operators' page only.
    pub fn page_token_text(&self, token: &StreamToken) -> String {
        token.seal(&self.page_keys)
    }

    /// The page token of a text, if it is ours and has not expired.
    pub fn read_page_token(&self, text: &str, now: DateTime<Utc>) -> Option<StreamToken> {
        StreamToken::open(&self.page_keys, text, now)
    }
}
