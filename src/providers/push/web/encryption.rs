//! The encryption of pushes (RFC 8291): only the browser that subscribed can read them.

use cura_domain::device::Subscription;
use thiserror::Error;
use web_push_native::{Auth, p256};

/// Nothing can be encrypted for this subscription, now or later: its key is no point of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a public key")]
pub(super) struct InvalidKey;

/// Whether something can be encrypted for this public key of a browser.
pub fn is_public_key(point: &[u8]) -> bool {
    p256::PublicKey::from_sec1_bytes(point).is_ok()
}

/// The body of a push, `aes128gcm` in one record, for the keys of a subscription.
pub(super) fn encrypt(plaintext: Vec<u8>, subscription: &Subscription) -> Result<Vec<u8>, InvalidKey> {
    let key = p256::PublicKey::from_sec1_bytes(&subscription.p256dh).map_err(|_| InvalidKey)?;
    let auth: [u8; 16] = subscription.auth.as_slice().try_into().map_err(|_| InvalidKey)?;
    web_push_native::encrypt(plaintext, &key, &Auth::from(auth)).map_err(|_| InvalidKey)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use cura_domain::push_endpoint::PushHosts;

    use super::*;

    /// RFC 8291, appendix A: the browser's keys, its secret, and the body that it receives.
    const PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
    const PUBLIC: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
    const BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A\
                        _yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
    const PLAINTEXT: &[u8] = b"When I grow up, I want to be a watermelon";

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn subscription(point: Vec<u8>) -> Subscription {
        let endpoint = PushHosts::default().endpoint("https://web.push.apple.com/x").unwrap();
        Subscription::new(endpoint, point, bytes(AUTH)).unwrap()
    }

    /// What the browser of the RFC reads.
    fn decrypt(body: Vec<u8>) -> Result<Vec<u8>, web_push_native::Error> {
        let key = p256::SecretKey::from_slice(&bytes(PRIVATE)).unwrap();
        let auth: [u8; 16] = bytes(AUTH).try_into().unwrap();
        web_push_native::decrypt(body, &key, &Auth::from(auth))
    }

    #[test]
    fn the_example_of_the_rfc_is_read() {
        assert_eq!(decrypt(bytes(BODY)).unwrap(), PLAINTEXT);
    }

    #[test]
    fn only_the_browser_that_subscribed_reads_what_is_encrypted_for_it() {
        let of_rfc = subscription(bytes(PUBLIC));
        let body = encrypt(PLAINTEXT.to_vec(), &of_rfc).unwrap();
        assert_eq!(decrypt(body.clone()).unwrap(), PLAINTEXT);
        // The header, a record of the text, its delimiter and its tag.
        assert_eq!(body.len(), 86 + PLAINTEXT.len() + 1 + 16);
        assert_ne!(
            body,
            encrypt(PLAINTEXT.to_vec(), &of_rfc).unwrap(),
            "a new key and salt each time"
        );
        let mut changed = body;
        *changed.last_mut().unwrap() ^= 1;
        assert!(decrypt(changed).is_err());
    }

    #[test]
    fn nothing_is_encrypted_for_a_point_that_is_not_on_the_curve() {
        let mut point = bytes(PUBLIC);
        *point.last_mut().unwrap() ^= 1;
        assert!(!is_public_key(&point) && is_public_key(&bytes(PUBLIC)));
        assert_eq!(encrypt(PLAINTEXT.to_vec(), &subscription(point)), Err(InvalidKey));
        let zero = [&[4][..], &[0; 64]].concat();
        assert_eq!(encrypt(PLAINTEXT.to_vec(), &subscription(zero)), Err(InvalidKey));
    }
}
