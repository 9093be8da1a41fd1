//! Tickets: user, session and expiry under a MAC. That each is used once, its row says.

use chrono::{DateTime, Utc};
use cura_domain::{Entropy, SessionId, UserId};
use cura_store::tickets::TicketHash;
use sha2::{Digest, Sha256};

use super::sealed::{open, seal, take};
use crate::derived_key::DerivedKeys;

/// The length of a payload: user, session, expiry in microseconds, random bytes.
const PAYLOAD: usize = 8 + 8 + 8 + 16;

/// A ticket that this installation gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Its user.
    pub user: UserId,
    /// Its session.
    pub session: SessionId,
    /// Until when it can be redeemed.
    pub expires_at: DateTime<Utc>,
    nonce: [u8; 16],
}

impl Ticket {
    pub(super) fn new(user: UserId, session: SessionId, expires_at: DateTime<Utc>, entropy: &Entropy) -> Self {
        let nonce = entropy.bytes();
        Self {
            user,
            session,
            expires_at,
            nonce,
        }
    }

    /// What is stored until it is redeemed. A fast hash is enough for 128 random bits.
    pub fn hash(&self) -> TicketHash {
        Sha256::digest(self.payload()).into()
    }

    pub(super) fn seal(&self, keys: &DerivedKeys) -> String {
        seal(keys, &self.payload())
    }

    /// The ticket, if it is ours and has not expired.
    pub(super) fn open(keys: &DerivedKeys, text: &str, now: DateTime<Utc>) -> Option<Self> {
        let payload: [u8; PAYLOAD] = open(keys, text)?;
        let payload = &mut payload.as_slice();
        let ticket = Self {
            user: UserId(i64::from_be_bytes(take(payload)?)),
            session: SessionId(i64::from_be_bytes(take(payload)?)),
            expires_at: DateTime::from_timestamp_micros(i64::from_be_bytes(take(payload)?))?,
            nonce: take(payload)?,
        };
        (ticket.expires_at > now).then_some(ticket)
    }

    fn payload(&self) -> [u8; PAYLOAD] {
        let mut payload = [0; PAYLOAD];
        payload[..8].copy_from_slice(&self.user.0.to_be_bytes());
        payload[8..16].copy_from_slice(&self.session.0.to_be_bytes());
        payload[16..24].copy_from_slice(&self.expires_at.timestamp_micros().to_be_bytes());
        payload[24..].copy_from_slice(&self.nonce);
        payload
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::derived_key::SecretKeys;

    #[test]
    fn a_ticket_is_read_until_it_expires() {
        let key = DerivedKeys::new(SecretKeys::only(b"secret"), "test");
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let entropy = Entropy::new(|buffer| buffer.fill(1));
        let ticket = Ticket::new(UserId(7), SessionId(9), now + TimeDelta::seconds(60), &entropy);
        let text = ticket.seal(&key);
        assert_eq!(Ticket::open(&key, &text, now), Some(ticket));
        assert_eq!(Ticket::open(&key, &text, now + TimeDelta::seconds(60)), None);
        assert_eq!(
            Ticket::open(&DerivedKeys::new(SecretKeys::only(b"other"), "test"), &text, now),
            None
        );
    }
}
