//! `cura-admin secret`: fresh keys.

use std::fmt::Write;
use std::process::ExitCode;

use cura_providers::push::VapidKey;
use secrecy::ExposeSecret;
use serde_json::json;

use super::failure::Failure;
use super::output::{GlobalArguments, Output};
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

/// Prints a new key for `SECRET_KEY`, or for `VAPID_PRIVATE_KEY`; gives the exit code.
pub fn start(vapid: bool, global: GlobalArguments) -> ExitCode {
    let output = Output::from(global);
    let printed = if vapid {
        print_vapid(&generate_vapid(), output)
    } else {
        let key = generate();
        output.value(&json!({ "secret_key": key }), |_| key.clone())
    };
    printed.map_or_else(|failure| failure.tell(global.json), |()| ExitCode::SUCCESS)
}

fn print_vapid(key: &VapidKey, output: Output) -> Result<(), Failure> {
    let (private, public) = (key.private_text(), key.public_text());
    let private = private.expose_secret();
    output.value(&json!({ "private_key": private, "public_key": public }), |_| {
        private.to_owned()
    })?;
    output.say(&format!(
        "That is the private key: set VAPID_PRIVATE_KEY to it, and VAPID_SUBJECT to mailto: and your address,\n\
         for servers and workers. The public key, for which browsers subscribe, is\n\
         {public}\n\
         Apps get it from GET /devices/config. With another key browsers have to subscribe again."
    ));
    Ok(())
}
