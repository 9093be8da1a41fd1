//! Access tokens: JWT, HS256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use cura_domain::{Entropy, SessionId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::caller::Caller;
use crate::derived_key::SecretKeys;

/// The `iss` and `aud` of our access tokens.
const ISSUER: &str = "cura";
const AUDIENCE: &str = "cura-api";
/// The only kind of token that the API accepts.
const ACCESS: &str = "access";
/// How long an expired token is accepted, for servers' clocks that differ, in seconds.
const EXPIRY_LEEWAY: i64 = 5;
/// How far ahead of our clock a token may have been issued, in seconds.
const ISSUED_LEEWAY: i64 = 60;
/// The longest access token that is parsed, in bytes: ours have about 300.
const MAX_TOKEN_BYTES: usize = 2048;

/// What an access token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessToken {
    /// Whom it authenticates, and until when.
    pub caller: Caller,
    /// The generation of the refresh token that was given out with it.
    pub generation: i32,
}

/// Signs and verifies access tokens.
pub(super) struct AccessTokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    previous: Option<DecodingKey>,
    validation: Validation,
}

/// A token could not be signed.
#[derive(Debug, Error)]
#[error("signing failed: {0}")]
pub struct SigningFailed(String);

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    sid: i64,
    /// Tokens of the release before have none.
    #[serde(default)]
    r#gen: i32,
    iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    exp: i64,
    aud: String,
    iss: String,
    typ: String,
    jti: String,
}

impl AccessTokens {
    /// Signs with the current of `secrets`.
    pub(super) fn new(secrets: SecretKeys<'_>) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "sub", "aud", "iss"]);
        // Checked in `read` against the given clock.
        validation.validate_exp = false;
        Self {
            encoding: EncodingKey::from_secret(secrets.current),
            decoding: DecodingKey::from_secret(secrets.current),
            previous: secrets.previous.map(DecodingKey::from_secret),
            validation,
        }
    }

    /// The text of a token.
    ///
    /// # Errors
    /// When the crypto backend refuses the key, which it never does for HS256.
    pub(super) fn issue(
        &self,
        token: &AccessToken,
        now: DateTime<Utc>,
        entropy: &Entropy,
    ) -> Result<String, SigningFailed> {
        let claims = Claims {
            sub: token.caller.user.to_string(),
            sid: token.caller.session.0,
            r#gen: token.generation,
            iat: now.timestamp(),
            nbf: None,
            exp: token.caller.until.timestamp(),
            aud: AUDIENCE.to_owned(),
            iss: ISSUER.to_owned(),
            typ: ACCESS.to_owned(),
            jti: URL_SAFE_NO_PAD.encode(entropy.bytes::<12>()),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|error| SigningFailed(error.to_string()))
    }

    /// The claims of a token that one of the keys has signed.
    fn verified(&self, token: &str) -> Option<Claims> {
        let decode = |key| jsonwebtoken::decode::<Claims>(token, key, &self.validation);
        let decoded = match (decode(&self.decoding), &self.previous) {
            (Err(error), Some(previous)) if *error.kind() == ErrorKind::InvalidSignature => decode(previous),
            (decoded, _) => decoded,
        };
        decoded.ok().map(|data| data.claims)
    }

    /// What a token says, if it is ours, complete, valid already, and has not expired.
    pub(super) fn read(&self, token: &str, now: DateTime<Utc>) -> Option<AccessToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let claims = self.verified(token)?;
        let now = now.timestamp();
        let is_current = claims.exp > now.saturating_sub(EXPIRY_LEEWAY)
            && claims.iat <= now.saturating_add(ISSUED_LEEWAY)
            && claims.nbf.is_none_or(|from| from <= now);
        (is_current && claims.typ == ACCESS).then_some(())?;
        Some(AccessToken {
            caller: Caller {
                user: claims.sub.parse().ok()?,
                session: SessionId(claims.sid),
                until: DateTime::from_timestamp(claims.exp, 0)?,
                oldest_generation: claims.r#gen,
            },
            generation: claims.r#gen,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use cura_domain::UserId;
    use serde_json::{Value, json};

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn claims() -> Value {
        json!({"sub": "7", "sid": 9, "iat": now().timestamp(), "exp": now().timestamp() + 60, "aud": AUDIENCE,
            "iss": ISSUER, "typ": ACCESS, "jti": "x"})
    }

    fn sign(algorithm: Algorithm, claims: &Value, key: &[u8]) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key)).unwrap()
    }

    /// Our claims with one of them changed.
    fn with(name: &str, value: impl Into<Value>) -> String {
        let mut claims = claims();
        claims[name] = value.into();
        sign(Algorithm::HS256, &claims, b"secret")
    }

    #[test]
    fn a_token_names_its_user_session_and_generation_until_it_expires() {
        let tokens = AccessTokens::new(SecretKeys::only(b"secret"));
        let token = AccessToken {
            caller: Caller {
                user: UserId(7),
                session: SessionId(9),
                until: now() + TimeDelta::minutes(30),
                oldest_generation: 4,
            },
            generation: 4,
        };
        let text = tokens
            .issue(&token, now(), &Entropy::new(|buffer| buffer.fill(1)))
            .unwrap();
        assert_eq!(tokens.read(&text, now()), Some(token));
        assert_eq!(tokens.read(&text, now() + TimeDelta::minutes(31)), None);
    }

    #[test]
    fn a_token_may_be_issued_a_minute_ahead_and_is_not_valid_before_it_says() {
        let read = |text: String| {
            AccessTokens::new(SecretKeys::only(b"secret"))
                .read(&text, now())
                .is_some()
        };
        assert!(read(with("iat", now().timestamp() + 60)));
        assert!(!read(with("iat", now().timestamp() + 61)));
        assert!(read(with("nbf", now().timestamp())));
        assert!(!read(with("nbf", now().timestamp() + 1)));
        assert!(!read(with("exp", i64::MIN)) && !read(with("iat", i64::MAX)));
    }

    #[test]
    fn a_token_of_the_release_before_is_of_the_first_generation() {
        let read = AccessTokens::new(SecretKeys::only(b"secret")).read(&with("jti", "x"), now());
        assert_eq!(read.unwrap().generation, 0);
    }

    #[test]
    fn a_token_of_the_previous_key_is_read_while_that_is_set_and_new_ones_are_of_the_current_key() {
        let keys = |current, previous| AccessTokens::new(SecretKeys { current, previous });
        let old = sign(Algorithm::HS256, &claims(), b"old");
        let both = keys(b"new", Some(b"old"));
        let read = both.read(&old, now()).unwrap();
        assert_eq!(keys(b"new", None).read(&old, now()), None);
        let issued = both
            .issue(&read, now(), &Entropy::new(|buffer| buffer.fill(1)))
            .unwrap();
        assert!(keys(b"new", None).read(&issued, now()).is_some() && keys(b"old", None).read(&issued, now()).is_none());
        assert_eq!(both.read(&sign(Algorithm::HS256, &claims(), b"other"), now()), None);
        let expired = both.read(&old, now() + TimeDelta::minutes(2));
        assert_eq!(expired, None);
    }

    #[test]
    fn a_token_of_another_key_algorithm_audience_or_kind_names_nobody() {
        let ours = AccessTokens::new(SecretKeys::only(b"secret"));
        assert!(
            ours.read(&sign(Algorithm::HS256, &claims(), b"secret"), now())
                .is_some()
        );
        for forged in [
            sign(Algorithm::HS256, &claims(), b"other"),
            sign(Algorithm::HS512, &claims(), b"secret"),
            with("typ", "refresh"),
            with("aud", "elsewhere"),
            format!("{}{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#), ".e30."),
            "x".repeat(5000),
            String::new(),
        ] {
            assert_eq!(ours.read(&forged, now()), None, "{forged}");
        }
    }
}
