//! How logs tell clients and accounts apart without naming them.

use std::fmt;

use crate::derived_key::DerivedKey;

/// Hides names in log lines: the same name always looks the same, on every server with the same secret, and who does not have the
/// secret cannot find out whose it is by trying names. Cheap to clone.
#[derive(Clone)]
pub struct LogKey(DerivedKey);

impl LogKey {
    /// The key of this secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(DerivedKey::new(secret, "cura logs 1"))
    }

    /// Sixteen hexadecimal digits instead of an address or an e-mail address.
    pub fn hide(&self, name: &str) -> String {
        let mac = self.0.mac(name.as_bytes());
        let first: [u8; 8] = std::array::from_fn(|n| mac[n]);
        format!("{:016x}", u64::from_be_bytes(first))
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_look_the_same_wherever_the_secret_is_the_same() {
        let hide = |secret: &[u8], name| LogKey::new(secret).hide(name);
        assert_eq!(hide(b"secret", "198.51.100.7"), hide(b"secret", "198.51.100.7"));
        assert_ne!(hide(b"secret", "198.51.100.7"), hide(b"secret", "198.51.100.8"));
        assert_ne!(hide(b"secret", "198.51.100.7"), hide(b"other", "198.51.100.7"));
        assert_eq!(hide(b"secret", "198.51.100.7").len(), 16);
    }
}
