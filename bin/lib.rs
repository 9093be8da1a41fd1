//! The composition root: settings, telemetry, lifecycle, and what the three programs share.

pub mod dev;
pub mod lifecycle;
pub mod migrations;
pub mod program;
pub mod settings;
pub mod telemetry;
pub mod wiring;

/// A fresh signing key: 256 random bits as 64 hexadecimal digits.
pub fn secret() -> String {
    let bytes = wiring::entropy().bytes::<32>();
    let mut text = String::with_capacity(64);
    for byte in bytes {
        use std::fmt::Write;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
