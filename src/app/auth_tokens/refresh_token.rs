//! Refresh tokens: session, generation and the session's seed under a MAC. The same three give the same token, so one that
//! was lost on its way can be given again, and none has to be stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cura_domain::SessionId;
use cura_store::sessions::{SessionSeed, TokenHash};
use sha2::{Digest, Sha256};

use super::sealed::{open, seal, take};
use crate::derived_key::DerivedKeys;

/// The length of a payload: session, generation, seed.
const PAYLOAD: usize = 8 + 4 + 16;
/// The length of a token of the release before, which was an HMAC of 32 bytes.
const LEGACY_CHARACTERS: usize = 43;

/// A refresh token that this installation gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    /// Its session.
    pub session: SessionId,
    /// Which token of the session it is: 0 is the one of the sign-in.
    pub generation: i32,
    /// The session's random bytes: after a restore from a backup, the number of a session may be given to another one.
    pub seed: SessionSeed,
}

impl RefreshToken {
    pub(super) fn seal(&self, keys: &DerivedKeys) -> String {
        let mut payload = [0; PAYLOAD];
        payload[..8].copy_from_slice(&self.session.0.to_be_bytes());
        payload[8..12].copy_from_slice(&self.generation.to_be_bytes());
        payload[12..].copy_from_slice(&self.seed);
        seal(keys, &payload)
    }

    fn open(keys: &DerivedKeys, text: &str) -> Option<Self> {
        let payload: [u8; PAYLOAD] = open(keys, text)?;
        let payload = &mut payload.as_slice();
        Some(Self {
            session: SessionId(i64::from_be_bytes(take(payload)?)),
            generation: i32::from_be_bytes(take(payload)?),
            seed: take(payload)?,
        })
    }
}

/// A refresh token as a client presents it, before the database was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresentedToken {
    /// Ours, as its MAC proves.
    Proven(RefreshToken),
    /// Has the form that tokens had before they had a MAC: only the database knows whether it is ours.
    Legacy(TokenHash),
}

impl PresentedToken {
    pub(super) fn read(keys: &DerivedKeys, text: &str) -> Option<Self> {
        if text.len() == LEGACY_CHARACTERS {
            URL_SAFE_NO_PAD.decode(text).ok()?;
            return Some(Self::Legacy(Sha256::digest(text.as_bytes()).into()));
        }
        RefreshToken::open(keys, text).map(Self::Proven)
    }

    /// The session, if the token proves it.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Proven(token) => Some(token.session),
            Self::Legacy(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived_key::SecretKeys;

    #[test]
    fn a_refresh_token_is_the_same_each_time_and_read_as_it_was_made() {
        let key = DerivedKeys::new(SecretKeys::only(b"secret"), "test");
        let token = RefreshToken {
            session: SessionId(7_000_000_001),
            generation: 3,
            seed: [9; 16],
        };
        let text = token.seal(&key);
        assert_eq!(text, token.seal(&key));
        assert_eq!(PresentedToken::read(&key, &text), Some(PresentedToken::Proven(token)));
        let other = DerivedKeys::new(SecretKeys::only(b"other"), "test");
        assert_eq!(PresentedToken::read(&other, &text), None);
        assert_eq!(PresentedToken::read(&key, "guess"), None);
        let legacy = "A".repeat(LEGACY_CHARACTERS);
        assert_eq!(PresentedToken::read(&key, &legacy).unwrap().session(), None);
    }
}
