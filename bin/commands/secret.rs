//! `cura-admin secret`: a fresh signing key.

use std::fmt::Write;

use crate::wiring;

/// 256 random bits as 64 hexadecimal digits.
pub fn generate() -> String {
    let bytes = wiring::entropy().bytes::<32>();
    let mut text = String::with_capacity(64);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
