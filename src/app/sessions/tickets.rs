//! Tickets: authenticate their session once, where a client cannot send headers.

use std::time::Duration;

use cura_store::{StoreError, tickets};

use super::{AuthenticateError, Proof, Sessions};
use crate::auth_tokens::Ticket;
use crate::caller::Caller;

/// How long a ticket can be redeemed, as the contract says.
const TICKET_LIFETIME: Duration = Duration::from_secs(60);
/// The most unused tickets of a session, as many as a user may have streams. Beyond it, the oldest one is deleted.
const MAX_UNUSED_TICKETS: i64 = 50;

/// A ticket on its way to the client.
pub struct IssuedTicket {
    /// What the client gets.
    pub secret: String,
    /// How long it can be redeemed.
    pub expires_in: Duration,
}

impl Sessions {
    /// Issues a ticket for the caller's session.
    pub async fn issue_ticket(&self, caller: Caller) -> Result<IssuedTicket, StoreError> {
        let (user, session) = (caller.user, caller.session);
        let expires_at = self.clock.now_micros() + TICKET_LIFETIME;
        let (ticket, secret) = self.tokens.issue_ticket(user, session, expires_at, &self.entropy);
        let hash = ticket.hash();
        self.database
            .transaction(async |connection| {
                tickets::insert_ticket(connection, &hash, user, session, expires_at, MAX_UNUSED_TICKETS).await
            })
            .await?;
        Ok(IssuedTicket {
            secret,
            expires_in: TICKET_LIFETIME,
        })
    }

    /// What a client presents as ticket, if it is ours and has not expired. Does not ask the database.
    pub fn read_ticket(&self, text: &str) -> Option<Ticket> {
        self.tokens.read_ticket(text, self.clock.now())
    }

    /// Authenticates a ticket and uses it up, also when its session has ended.
    ///
    /// # Errors
    /// [`AuthenticateError`] says whether signing in would help.
    pub async fn redeem_ticket(&self, ticket: &Ticket) -> Result<Caller, AuthenticateError> {
        let now = self.clock.now_micros();
        let caller = Caller {
            user: ticket.user,
            session: ticket.session,
            // As if an access token had been issued with the ticket.
            until: now + self.tokens.lifetimes().access,
            oldest_generation: 0,
        };
        // Statements of their own instead of a transaction: a ticket whose session has ended is used up all the same.
        let looked_up = self.database.connection(async |connection| {
            if !tickets::redeem_ticket(connection, &ticket.hash(), now).await? {
                return Err(AuthenticateError::NotSignedIn);
            }
            self.look_up(connection, caller, Proof::Ticket).await
        });
        Ok(self.admit(caller, looked_up.await?))
    }
}
