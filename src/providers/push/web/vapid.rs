//! Who we are to push services (VAPID, RFC 8292): a key pair for which browsers subscribe, and an address where an
//! operator of a push service can reach ours.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::Entropy;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use thiserror::Error;
use url::{Host, Url};
use web_push_native::p256::SecretKey;
use web_push_native::p256::elliptic_curve::sec1::ToEncodedPoint;
use web_push_native::p256::pkcs8::EncodePrivateKey;

use crate::Secret;

/// The bytes of a private key, and those of a public one (an uncompressed point).
const PRIVATE_BYTES: usize = 32;
const PUBLIC_BYTES: usize = 65;
/// How long a signature is valid; at most 24 hours (RFC 8292, section 2).
const SIGNATURE_LIFETIME: TimeDelta = TimeDelta::hours(12);
/// A signature that is valid for less is replaced.
const MARGIN: TimeDelta = TimeDelta::hours(1);
/// The most push services whose signatures are remembered. Clients choose the endpoints, and so the services.
const MAX_ORIGINS: usize = 64;

/// The key pair that browsers subscribe for. Whoever has it can send pushes to every subscription.
#[derive(Clone)]
pub struct VapidKey(SecretKey);

/// Only the public key.
impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VapidKey").field(&self.public_text()).finish()
    }
}

/// Not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be the private key of a P-256 pair, {PRIVATE_BYTES} bytes in base64url without padding")]
pub struct InvalidVapidKey;

impl VapidKey {
    /// Reads a private key: its 32 bytes in base64url without padding, as npm's web-push prints them.
    ///
    /// # Errors
    /// [`InvalidVapidKey`], which does not repeat it.
    pub fn parse(private: &str) -> Result<Self, InvalidVapidKey> {
        let bytes = URL_SAFE_NO_PAD.decode(private).map_err(|_| InvalidVapidKey)?;
        // The crate takes shorter ones, too.
        let bytes: [u8; PRIVATE_BYTES] = bytes.try_into().map_err(|_| InvalidVapidKey)?;
        let key = SecretKey::from_slice(&bytes).map_err(|_| InvalidVapidKey)?;
        Ok(Self(key))
    }

    /// A new key.
    pub fn generate(entropy: &Entropy) -> Self {
        loop {
            // All but one in 2^32 numbers of this size are keys.
            if let Ok(key) = SecretKey::from_slice(&entropy.bytes::<PRIVATE_BYTES>()) {
                return Self(key);
            }
        }
    }

    /// What [`parse`](Self::parse) reads.
    pub fn private_text(&self) -> Secret {
        URL_SAFE_NO_PAD.encode(self.0.to_bytes()).into()
    }

    /// The public key, as browsers take it: an uncompressed point of P-256.
    pub fn public_key(&self) -> [u8; PUBLIC_BYTES] {
        let point = self.0.public_key().to_encoded_point(false);
        let mut bytes = [0; PUBLIC_BYTES];
        // An uncompressed point that is not the neutral element, which no public key is, has this length.
        bytes.copy_from_slice(point.as_bytes());
        bytes
    }

    /// The public key in base64url without padding.
    pub fn public_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.public_key())
    }
}

/// Where the operator of a push service can reach us: `mailto:` or `https:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VapidSubject(String);

/// Not an address where we can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be mailto:name@domain or an https address, not at localhost, which Apple refuses")]
pub struct InvalidVapidSubject;

impl VapidSubject {
    /// Reads a subject.
    ///
    /// # Errors
    /// [`InvalidVapidSubject`] unless it is `mailto:` or `https:`, at a host with a name that is not `localhost`.
    pub fn parse(raw: &str) -> Result<Self, InvalidVapidSubject> {
        let domain = match raw.split_once(':') {
            Some(("mailto", address)) => {
                let (name, domain) = address.rsplit_once('@').ok_or(InvalidVapidSubject)?;
                let is_plain = |c: char| c.is_ascii_graphic() && !"?,<>\"".contains(c);
                let is_named = !name.is_empty() && address.chars().all(is_plain);
                is_named.then(|| domain.to_owned()).ok_or(InvalidVapidSubject)?
            }
            Some(("https", _)) => {
                let url = Url::parse(raw).map_err(|_| InvalidVapidSubject)?;
                url.host_str().unwrap_or_default().to_owned()
            }
            _ => return Err(InvalidVapidSubject),
        };
        match Host::parse(&domain) {
            Ok(Host::Domain(name)) if name.trim_end_matches('.').rsplit('.').next() != Some("localhost") => {
                Ok(Self(raw.to_owned()))
            }
            _ => Err(InvalidVapidSubject),
        }
    }
}

impl FromStr for VapidSubject {
    type Err = InvalidVapidSubject;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        Self::parse(raw)
    }
}

/// What is signed for a push service (RFC 8292, section 2).
#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: i64,
    sub: &'a str,
}

/// Nothing could be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("cannot be signed")]
pub(super) struct NotSigned;

/// Signs for push services, and remembers what it signed.
pub(super) struct Signatures {
    signing_key: EncodingKey,
    public_text: String,
    subject: VapidSubject,
    known: Mutex<HashMap<String, Signature>>,
}

#[derive(Clone)]
struct Signature {
    header: String,
    until: DateTime<Utc>,
}

impl Signatures {
    pub(super) fn new(key: &VapidKey, subject: VapidSubject) -> Result<Self, NotSigned> {
        let pkcs8 = key.0.to_pkcs8_der().map_err(|_| NotSigned)?;
        Ok(Self {
            signing_key: EncodingKey::from_ec_der(pkcs8.as_bytes()),
            public_text: key.public_text(),
            subject,
            known: Mutex::default(),
        })
    }

    /// The value of `Authorization` for a push service, which its origin names.
    pub(super) fn authorization(&self, origin: &str, now: DateTime<Utc>) -> Result<String, NotSigned> {
        // One whose end is too far away was signed by a clock that was wrong.
        let is_valid = |signature: &&Signature| (now + MARGIN..=now + SIGNATURE_LIFETIME).contains(&signature.until);
        if let Some(valid) = self.known().get(origin).filter(is_valid) {
            return Ok(valid.header.clone());
        }
        let signature = self.sign(origin, now + SIGNATURE_LIFETIME)?;
        let header = signature.header.clone();
        let mut known = self.known();
        if known.len() >= MAX_ORIGINS && !known.contains_key(origin) {
            let oldest = known.iter().min_by_key(|(_, signature)| signature.until);
            if let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) {
                known.remove(&oldest);
            }
        }
        known.insert(origin.to_owned(), signature);
        Ok(header)
    }

    /// Forgets what was signed for a push service that refused it.
    pub(super) fn refused(&self, origin: &str) {
        self.known().remove(origin);
    }

    fn sign(&self, origin: &str, until: DateTime<Utc>) -> Result<Signature, NotSigned> {
        let claims = Claims {
            aud: origin,
            exp: until.timestamp(),
            sub: &self.subject.0,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.signing_key);
        let token = token.map_err(|_| NotSigned)?;
        Ok(Signature {
            header: format!("vapid t={token}, k={}", self.public_text),
            until,
        })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Signature>> {
        // Nothing panics while holding it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use jsonwebtoken::{DecodingKey, Validation};
    use secrecy::ExposeSecret;
    use serde_json::Value;

    use super::*;

    /// A pair that npm's `web-push` made, as the documentation of the crate web-push-native shows it.
    const PRIVATE: &str = "RS0WdYWWo1HajXg3NZR1olzCf31i-ZBGDkFyCs7j1jw";

    fn subject() -> VapidSubject {
        VapidSubject::parse("mailto:push@example.org").unwrap()
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    #[test]
    fn a_key_is_read_as_it_is_written_and_shows_only_its_public_half() {
        let key = VapidKey::parse(PRIVATE).unwrap();
        assert_eq!(key.private_text().expose_secret(), PRIVATE);
        assert_eq!(key.public_text().len(), 87);
        assert_eq!(key.public_key()[0], 4);
        let shown = format!("{key:?}");
        assert!(
            !shown.contains(PRIVATE) && shown.contains(&key.public_text()),
            "{shown}"
        );
        let zero = URL_SAFE_NO_PAD.encode([0; 32]);
        let too_large = URL_SAFE_NO_PAD.encode([0xff; 32]);
        let (short, long) = (URL_SAFE_NO_PAD.encode([7; 31]), URL_SAFE_NO_PAD.encode([7; 33]));
        for bad in [
            "",
            "hunter2",
            &zero,
            &too_large,
            &short,
            &long,
            &format!("{PRIVATE}="),
            &format!("{PRIVATE}\n"),
        ] {
            assert_eq!(VapidKey::parse(bad).err(), Some(InvalidVapidKey), "{bad}");
        }
        assert!(!InvalidVapidKey.to_string().contains("hunter2"));
    }

    #[test]
    fn a_new_key_is_random_and_a_key() {
        let calls = AtomicU8::new(0);
        // The first number is larger than the order of the curve.
        let entropy = Entropy::new(move |bytes| bytes.fill(0xff - calls.fetch_add(1, Ordering::SeqCst)));
        let (one, other) = (VapidKey::generate(&entropy), VapidKey::generate(&entropy));
        assert_ne!(one.public_key(), other.public_key());
        assert_eq!(
            VapidKey::parse(one.private_text().expose_secret())
                .unwrap()
                .public_key(),
            one.public_key()
        );
    }

    #[test]
    fn a_subject_is_an_address_that_services_take() {
        for good in [
            "mailto:push@example.org",
            "mailto:a.b+c@push.example.org",
            "mailto:push@cura.invalid",
            "https://example.org/contact",
            "https://example.org",
        ] {
            assert!(VapidSubject::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "push@example.org",
            "mailto:",
            "mailto:example.org",
            "mailto:@example.org",
            "mailto:push@",
            "mailto:push@localhost",
            "mailto:push@LOCALHOST",
            "mailto:push@app.localhost",
            "mailto:push@127.0.0.1",
            "mailto:a b@example.org",
            "mailto:<push@example.org>",
            "http://example.org",
            "https://localhost/",
            "https://localhost.",
            "https://127.1/",
            "https://[::1]/",
            "https:",
            "tel:123",
        ] {
            assert_eq!(VapidSubject::parse(bad), Err(InvalidVapidSubject), "{bad}");
        }
    }

    /// The claims of a header, if the key signed them.
    fn claims(header: &str, key: &VapidKey) -> Value {
        let (token, public) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        assert_eq!(public, key.public_text());
        let point = key.public_key();
        let decoding = DecodingKey::from_ec_der(&point);
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode::<Value>(token, &decoding, &validation)
            .unwrap()
            .claims
    }

    #[test]
    fn a_signature_names_the_service_and_us_and_is_made_once_for_hours() {
        let key = VapidKey::parse(PRIVATE).unwrap();
        let signatures = Signatures::new(&key, subject()).unwrap();
        let header = |origin: &str, now| signatures.authorization(origin, now).unwrap();
        let first = header("https://fcm.googleapis.com", now());
        let signed = claims(&first, &key);
        assert_eq!(signed["aud"], "https://fcm.googleapis.com");
        assert_eq!(signed["sub"], "mailto:push@example.org");
        assert_eq!(signed["exp"], 1_800_000_000 + 12 * 60 * 60);
        let later = now() + TimeDelta::hours(11);
        assert_eq!(header("https://fcm.googleapis.com", later), first);
        assert_ne!(header("https://web.push.apple.com", now()), first);
        // Nearly over, and from a clock that was ahead.
        let renewed = header("https://fcm.googleapis.com", later + TimeDelta::seconds(1));
        assert_ne!(renewed, first);
        let earlier = header("https://fcm.googleapis.com", now());
        assert_eq!(claims(&earlier, &key)["exp"], signed["exp"]);
        // Signatures are random, so another one is a new one.
        signatures.refused("https://fcm.googleapis.com");
        assert_ne!(header("https://fcm.googleapis.com", now()), earlier);
    }

    #[test]
    fn no_more_services_are_remembered_than_there_is_room_for() {
        let signatures = Signatures::new(&VapidKey::parse(PRIVATE).unwrap(), subject()).unwrap();
        for n in 0..MAX_ORIGINS + 3 {
            let at = now() + TimeDelta::seconds(n as i64);
            signatures
                .authorization(&format!("https://{n}.notify.windows.com"), at)
                .unwrap();
        }
        assert_eq!(signatures.known().len(), MAX_ORIGINS);
        assert!(!signatures.known().contains_key("https://0.notify.windows.com"));
    }
}
