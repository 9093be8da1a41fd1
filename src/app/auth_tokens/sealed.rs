//! Tokens that prove themselves: a payload and its MAC. An invented one is recognised without asking the database.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::derived_key::{DerivedKeys, MAC_BYTES};

/// The longest text that is decoded: ours have about 110 characters.
const MAX_CHARACTERS: usize = 256;

/// The text of a token with this payload, sealed with the current key.
pub(super) fn seal(keys: &DerivedKeys, payload: &[u8]) -> String {
    let mac = keys.mac(payload);
    URL_SAFE_NO_PAD.encode([payload, &mac].concat())
}

/// The payload of a token that was sealed with one of the `keys` and has `N` bytes.
pub(super) fn open<const N: usize>(keys: &DerivedKeys, text: &str) -> Option<[u8; N]> {
    if text.len() > MAX_CHARACTERS {
        return None;
    }
    // The engine refuses any second spelling of the same bytes.
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let payload = bytes.len().checked_sub(MAC_BYTES)?;
    let (payload, mac) = bytes.split_at(payload);
    let payload: [u8; N] = payload.try_into().ok()?;
    keys.verifies(&payload, mac).then_some(payload)
}

/// The next `N` bytes of a payload.
pub(super) fn take<const N: usize>(payload: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = payload.split_first_chunk()?;
    *payload = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived_key::SecretKeys;

    #[test]
    fn what_was_not_sealed_with_the_key_is_not_opened() {
        let key = DerivedKeys::new(SecretKeys::only(b"secret"), "test");
        let text = seal(&key, b"payload");
        assert_eq!(open(&key, &text), Some(*b"payload"));
        assert_eq!(open::<6>(&key, &text), None, "another kind");
        assert_eq!(
            open::<7>(&DerivedKeys::new(SecretKeys::only(b"secret"), "other"), &text),
            None
        );
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(open::<7>(&key, std::str::from_utf8(&changed).unwrap()), None, "{at}");
        }
        for bad in ["", "x", "\u{e9}", &text[1..], &"x".repeat(5000)] {
            assert_eq!(open::<7>(&key, bad), None, "{bad:.20}");
        }
    }
}
