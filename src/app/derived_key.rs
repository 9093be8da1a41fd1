//! Keys derived from `SECRET_KEY`, one for each purpose, so that what is made for one purpose is good for no other.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest, Sha256};

/// The length of a MAC, in bytes.
pub(crate) const MAC_BYTES: usize = 32;

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
}
