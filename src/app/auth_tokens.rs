//! Tokens: short-lived access tokens (JWT, HS256), opaque refresh tokens and tickets. Of the opaque ones only a SHA-256
//! hash is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::{Entropy, SessionId, UserId};
use cura_store::sessions::{StoredToken, TicketHash, TokenHash, TokenSeed};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::caller::Caller;

/// The `iss` and `aud` of our access tokens.
const ISSUER: &str = "cura";
const AUDIENCE: &str = "cura-api";
/// The only kind of token that the API accepts.
const ACCESS: &str = "access";
/// How far two servers' clocks may differ, in seconds.
const LEEWAY_SECONDS: i64 = 5;
/// The longest access token that is parsed, in bytes: ours have about 300.
const MAX_TOKEN_BYTES: usize = 2048;

/// How long tokens are valid.
#[derive(Debug, Clone, Copy)]
pub struct TokenLifetimes {
    /// Of an access token.
    pub access: TimeDelta,
    /// Of a refresh token, and so of a session that is not refreshed.
    pub refresh: TimeDelta,
}

/// Issues and reads tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    lifetimes: TokenLifetimes,
}

/// A token could not be signed.
#[derive(Debug, Error)]
#[error("signing failed: {0}")]
pub struct SigningFailed(String);

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    sid: i64,
    iat: i64,
    exp: i64,
    aud: String,
    iss: String,
    typ: String,
    jti: String,
}

/// The first part of the message whose signature is a refresh token; no JWT begins with it.
const REFRESH_LABEL: &[u8] = b"cura refresh token\0";

/// A refresh token on its way to the client: an HMAC of a random seed under the signing key. Seed and hash are stored, so
/// that it can be derived again for a client that lost it, but not from the database alone.
pub struct IssuedRefreshToken {
    /// What the client gets.
    pub secret: String,
    /// What is stored.
    pub stored: StoredToken,
}

/// A ticket on its way to the client; only its hash is stored.
pub struct Ticket {
    /// What the client gets.
    pub secret: String,
    /// What is stored.
    pub hash: TicketHash,
}

impl Tokens {
    /// Signs with `secret`, HS256.
    pub fn new(secret: &[u8], lifetimes: TokenLifetimes) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "sub", "aud", "iss"]);
        // Checked in `read_access` against the given clock.
        validation.validate_exp = false;
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            lifetimes,
        }
    }

    /// How long tokens are valid.
    pub fn lifetimes(&self) -> TokenLifetimes {
        self.lifetimes
    }

    /// Issues an access token for a session.
    ///
    /// # Errors
    /// When the crypto backend refuses the key, which it never does for HS256.
    pub fn issue_access(
        &self,
        user: UserId,
        session: SessionId,
        now: DateTime<Utc>,
        entropy: &Entropy,
    ) -> Result<String, SigningFailed> {
        let claims = Claims {
            sub: user.to_string(),
            sid: session.0,
            iat: now.timestamp(),
            exp: (now + self.lifetimes.access).timestamp(),
            aud: AUDIENCE.to_owned(),
            iss: ISSUER.to_owned(),
            typ: ACCESS.to_owned(),
            jti: URL_SAFE_NO_PAD.encode(entropy.bytes::<12>()),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|error| SigningFailed(error.to_string()))
    }

    /// The caller that an access token names, if it is ours, complete, and has not expired.
    pub fn read_access(&self, token: &str, now: DateTime<Utc>) -> Option<Caller> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .ok()?
            .claims;
        let now = now.timestamp();
        let is_current = claims.exp + LEEWAY_SECONDS > now && claims.iat <= now + LEEWAY_SECONDS;
        (is_current && claims.typ == ACCESS).then_some(())?;
        Some(Caller {
            user: claims.sub.parse().ok()?,
            session: SessionId(claims.sid),
            until: DateTime::from_timestamp(claims.exp, 0)?,
        })
    }

    /// Derives the refresh token of a seed.
    ///
    /// # Errors
    /// When the crypto backend refuses the key, which it never does for HS256.
    pub fn refresh_token(&self, seed: TokenSeed) -> Result<IssuedRefreshToken, SigningFailed> {
        let message = [REFRESH_LABEL, &seed].concat();
        let secret = jsonwebtoken::crypto::sign(&message, &self.encoding, Algorithm::HS256)
            .map_err(|error| SigningFailed(error.to_string()))?;
        let hash = sha256(&secret);
        Ok(IssuedRefreshToken {
            secret,
            stored: StoredToken { hash, seed },
        })
    }
}

impl IssuedRefreshToken {
    /// The hash of a presented token. A fast hash is enough for 256 random bits.
    pub fn hash(secret: &str) -> TokenHash {
        sha256(secret)
    }
}

impl Ticket {
    /// A new ticket of 256 random bits.
    pub fn generate(entropy: &Entropy) -> Self {
        let secret = URL_SAFE_NO_PAD.encode(entropy.bytes::<32>());
        let hash = sha256(&secret);
        Self { secret, hash }
    }

    /// The hash of a presented ticket.
    pub fn hash(secret: &str) -> TicketHash {
        sha256(secret)
    }
}

fn sha256(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(secret: &[u8]) -> Tokens {
        Tokens::new(
            secret,
            TokenLifetimes {
                access: TimeDelta::minutes(30),
                refresh: TimeDelta::days(7),
            },
        )
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn entropy() -> Entropy {
        Entropy::new(|buffer| buffer.fill(1))
    }

    #[test]
    fn a_token_names_its_user_until_it_expires() {
        let tokens = tokens(b"secret");
        let token = tokens.issue_access(UserId(7), SessionId(9), now(), &entropy()).unwrap();
        let caller = Caller {
            user: UserId(7),
            session: SessionId(9),
            until: now() + TimeDelta::minutes(30),
        };
        assert_eq!(tokens.read_access(&token, now()), Some(caller));
        assert_eq!(tokens.read_access(&token, now() + TimeDelta::minutes(31)), None);
        assert_eq!(
            tokens.read_access(&token, now() - TimeDelta::minutes(1)),
            None,
            "from the future"
        );
    }

    #[test]
    fn a_seed_makes_one_refresh_token_with_one_key() {
        let secret = |key: &[u8], seed| tokens(key).refresh_token(seed).unwrap().secret;
        assert_eq!(secret(b"key", [1; 32]), secret(b"key", [1; 32]));
        assert_ne!(secret(b"key", [1; 32]), secret(b"key", [2; 32]));
        assert_ne!(secret(b"key", [1; 32]), secret(b"other", [1; 32]));
        let token = tokens(b"key").refresh_token([1; 32]).unwrap();
        assert_eq!(
            (token.secret.len(), token.stored.hash),
            (43, IssuedRefreshToken::hash(&token.secret))
        );
    }

    #[test]
    fn a_token_of_another_key_algorithm_audience_or_kind_names_nobody() {
        let ours = tokens(b"secret");
        let claims = |typ: &str, aud: &str| {
            serde_json::json!({"sub": "7", "sid": 9, "iat": now().timestamp(), "exp": now().timestamp() + 60,
                "aud": aud, "iss": ISSUER, "typ": typ, "jti": "x"})
        };
        let sign = |algorithm, claims: &serde_json::Value, key: &[u8]| {
            jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key)).unwrap()
        };
        let good = claims(ACCESS, AUDIENCE);
        assert!(
            ours.read_access(&sign(Algorithm::HS256, &good, b"secret"), now())
                .is_some()
        );
        for forged in [
            sign(Algorithm::HS256, &good, b"other"),
            sign(Algorithm::HS512, &good, b"secret"),
            sign(Algorithm::HS256, &claims("refresh", AUDIENCE), b"secret"),
            sign(Algorithm::HS256, &claims(ACCESS, "elsewhere"), b"secret"),
            format!("{}{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#), ".e30."),
            "x".repeat(5000),
            String::new(),
        ] {
            assert_eq!(ours.read_access(&forged, now()), None, "{forged}");
        }
    }
}
