//! `cura-admin secret`: fresh keys.

use std::fmt::Write;
use std::process::ExitCode;

use cura_providers::push::VapidKey;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::wiring;

/// 256 random bits as 64 hexadecimal digits: a key that signs access tokens.
pub fn generate() -> String {
    let bytes = wiring::entropy().bytes::<32>();
    let mut text = String::with_capacity(64);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A key that browsers subscribe for.
pub fn generate_vapid() -> VapidKey {
    VapidKey::generate(&wiring::entropy())
}

/// Prints a new key for `SECRET_KEY`, or for `VAPID_PRIVATE_KEY`.
pub fn start(vapid: bool, as_json: bool) -> ExitCode {
    if vapid {
        print_vapid(&generate_vapid(), as_json);
    } else {
        print_line(&generate());
    }
    ExitCode::SUCCESS
}

fn print_vapid(key: &VapidKey, as_json: bool) {
    let (private, public) = (key.private_text(), key.public_text());
    let private = private.expose_secret();
    if as_json {
        print_line(&json!({ "private_key": private, "public_key": public }).to_string());
        return;
    }
    print_line(private);
    explain(&format!(
        "That is the private key: set VAPID_PRIVATE_KEY to it, and VAPID_SUBJECT to mailto: and your address,\n\
         for servers and workers. The public key, for which browsers subscribe, is\n\
         {public}\n\
         Apps get it from GET /devices/config. With another key browsers have to subscribe again."
    ));
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print_line(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "only the key is for other programs")]
fn explain(text: &str) {
    eprintln!("{text}");
}
