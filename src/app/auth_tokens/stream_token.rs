//! Stream tokens: user, session and expiry under a MAC. They open streams of events, and nothing else, as often as a browser comes
//! back. None is stored: the session's row says whether they still stand.

use chrono::{DateTime, Utc};
use cura_domain::{SessionId, UserId};

use super::sealed::{open, seal, take};
use crate::derived_key::DerivedKeys;

/// The length of a payload: user, session, oldest generation, expiry in microseconds.
const PAYLOAD: usize = 8 + 8 + 4 + 8;

/// A stream token that this installation gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamToken {
    /// Its user.
    pub user: UserId,
    /// Its session.
    pub session: SessionId,
    /// The oldest living generation of the session's tokens when it was given out: a new password moves that on.
    pub oldest_generation: i32,
    /// Until when it opens streams, and those that it opened last.
    pub expires_at: DateTime<Utc>,
}

impl StreamToken {
    pub(super) fn seal(&self, keys: &DerivedKeys) -> String {
        let mut payload = [0; PAYLOAD];
        payload[..8].copy_from_slice(&self.user.0.to_be_bytes());
        payload[8..16].copy_from_slice(&self.session.0.to_be_bytes());
        payload[16..20].copy_from_slice(&self.oldest_generation.to_be_bytes());
        payload[20..].copy_from_slice(&self.expires_at.timestamp_micros().to_be_bytes());
        seal(keys, &payload)
    }

    /// The token, if it is ours and has not expired.
    pub(super) fn open(keys: &DerivedKeys, text: &str, now: DateTime<Utc>) -> Option<Self> {
        let payload: [u8; PAYLOAD] = open(keys, text)?;
        let payload = &mut payload.as_slice();
        let token = Self {
            user: UserId(i64::from_be_bytes(take(payload)?)),
            session: SessionId(i64::from_be_bytes(take(payload)?)),
            oldest_generation: i32::from_be_bytes(take(payload)?),
            expires_at: DateTime::from_timestamp_micros(i64::from_be_bytes(take(payload)?))?,
        };
        (token.expires_at > now).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::derived_key::SecretKeys;

    #[test]
    fn a_stream_token_is_read_until_it_expires() {
        let key = DerivedKeys::new(SecretKeys::only(b"secret"), "test");
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let token = StreamToken {
            user: UserId(7),
            session: SessionId(9),
            oldest_generation: 3,
            expires_at: now + TimeDelta::hours(12),
        };
        let text = token.seal(&key);
        assert_eq!(StreamToken::open(&key, &text, now), Some(token));
        assert_eq!(StreamToken::open(&key, &text, now + TimeDelta::hours(12)), None);
        assert_eq!(
            StreamToken::open(&DerivedKeys::new(SecretKeys::only(b"other"), "test"), &text, now),
            None
        );
    }
}
