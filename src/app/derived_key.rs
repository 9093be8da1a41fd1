//! Keys derived from `SECRET_KEY`, one for each purpose, so that what is made for one purpose is good for no other.
//!
//! While the secret is being replaced there are two of them: everything is made with the current one, and what was made with the
//! other one is still accepted. Servers that run with the two swapped accept each other's tokens.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest, Sha256};

/// The length of a MAC, in bytes.
pub(crate) const MAC_BYTES: usize = 32;

/// The secrets of this installation.
#[derive(Clone, Copy)]
pub struct SecretKeys<'secret> {
    /// What everything is signed with.
    pub current: &'secret [u8],
    /// What was signed with this one is accepted, too.
    pub previous: Option<&'secret [u8]>,
}

impl<'secret> SecretKeys<'secret> {
    /// No other secret is accepted.
    pub fn only(current: &'secret [u8]) -> Self {
        Self {
            current,
            previous: None,
        }
    }
}

/// The keys of one purpose. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DerivedKeys {
    current: DerivedKey,
    previous: Option<DerivedKey>,
}

impl DerivedKeys {
    /// The keys of these secrets for this purpose.
    pub(crate) fn new(secrets: SecretKeys<'_>, purpose: &str) -> Self {
        Self {
            current: DerivedKey::new(secrets.current, purpose),
            previous: secrets.previous.map(|secret| DerivedKey::new(secret, purpose)),
        }
    }

    /// The MAC of `message` by the current key.
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; MAC_BYTES] {
        self.current.mac(message)
    }

    /// The MACs of `message` by every key, the current one first.
    pub(crate) fn macs(&self, message: &[u8]) -> impl Iterator<Item = [u8; MAC_BYTES]> {
        let previous = self.previous.as_ref();
        std::iter::once(&self.current)
            .chain(previous)
            .map(|key| key.mac(message))
    }

    /// Whether `mac` is the MAC of `message` by one of the keys; the previous one is tried when the current one does not fit.
    pub(crate) fn verifies(&self, message: &[u8], mac: &[u8]) -> bool {
        let by_previous = || self.previous.as_ref().is_some_and(|key| key.verifies(message, mac));
        self.current.verifies(message, mac) || by_previous()
    }
}

/// A key for HMAC-SHA256 that was derived for one purpose. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DerivedKey(Hmac<Sha256>);

impl DerivedKey {
    /// The key of `secret` for this purpose. The same secret and purpose give the same key on every server.
    pub(crate) fn new(secret: &[u8], purpose: &str) -> Self {
        let master = keyed(&Sha256::digest(secret).into());
        let derived = master.chain_update(purpose.as_bytes()).finalize().into_bytes();
        Self(keyed(&derived.into()))
    }

    /// The MAC of `message`.
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; MAC_BYTES] {
        self.0.clone().chain_update(message).finalize().into_bytes().into()
    }

    /// Whether `mac` is the MAC of `message`; compared in constant time.
    pub(crate) fn verifies(&self, message: &[u8], mac: &[u8]) -> bool {
        self.0.clone().chain_update(message).verify_slice(mac).is_ok()
    }
}

/// HMAC with a key of half a block, which HMAC fills up with zeros.
fn keyed(key: &[u8; MAC_BYTES]) -> Hmac<Sha256> {
    let mut block = [0; 2 * MAC_BYTES];
    block[..MAC_BYTES].copy_from_slice(key);
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_good_for_its_secret_and_purpose_only() {
        let key = |secret: &[u8], purpose| DerivedKey::new(secret, purpose);
        let mac = key(b"secret", "one").mac(b"message");
        assert!(key(b"secret", "one").verifies(b"message", &mac));
        for (other, message) in [
            (key(b"secret", "two"), &b"message"[..]),
            (key(b"other", "one"), b"message"),
            (key(b"secret", "one"), b"massage"),
        ] {
            assert!(!other.verifies(message, &mac));
        }
        assert!(!key(b"secret", "one").verifies(b"message", &mac[..31]), "cut");
    }

    #[test]
    fn what_the_previous_key_made_is_accepted_and_nothing_is_made_with_it() {
        let of = |current, previous| DerivedKeys::new(SecretKeys { current, previous }, "one");
        let (old, new) = (of(b"old", None), of(b"new", None));
        let both = of(b"new", Some(b"old"));
        let (made_old, made_new) = (old.mac(b"message"), new.mac(b"message"));
        assert_eq!(both.mac(b"message"), made_new);
        assert!(both.verifies(b"message", &made_old) && both.verifies(b"message", &made_new));
        assert!(!new.verifies(b"message", &made_old) && !both.verifies(b"massage", &made_old));
        assert!(both.macs(b"message").eq([made_new, made_old]));
        assert!(new.macs(b"message").eq([made_new]));
    }
}
