//! The name of a file in the file store.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::UserId;

/// The longest extension, in bytes.
const LONGEST_EXTENSION: usize = 8;
/// Where the hyphens of a UUID are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
/// The length of a UUID, in bytes.
const UUID_BYTES: usize = 36;

/// `{user_id}/{uuid}.{extension}`: lower-case letters, digits, hyphens, one slash and one dot, which every file store takes and no
/// file system reads as something else. It cannot name anything outside the folder of its user.
///
/// Not shown by `Debug`: who knows a key may be able to fetch the file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey(String);

/// Not the key of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not the key of a file")]
pub struct InvalidObjectKey;

impl ObjectKey {
    /// A key that nobody has had: of a file of this user, from fresh random bytes. The extension is lower-case letters and digits,
    /// at most eight.
    ///
    /// # Errors
    /// When the id is not positive, or it is no such extension.
    pub fn new(user: UserId, mut random: [u8; 16], extension: &str) -> Result<Self, InvalidObjectKey> {
        // Version 4, variant 1 (RFC 9562).
        random[6] = (random[6] & 0x0f) | 0x40;
        random[8] = (random[8] & 0x3f) | 0x80;
        let mut hex = format!("{:032x}", u128::from_be_bytes(random));
        for at in HYPHENS {
            hex.insert(at, '-');
        }
        format!("{user}/{hex}.{extension}").parse()
    }

    /// The key as stores take it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder of the user and the file's name in it.
    pub fn parts(&self) -> (&str, &str) {
        // There is a slash: see `from_str`.
        self.0.split_once('/').unwrap_or_default()
    }
}

impl FromStr for ObjectKey {
    type Err = InvalidObjectKey;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let (user, file) = raw.split_once('/').ok_or(InvalidObjectKey)?;
        let (uuid, extension) = file.split_once('.').ok_or(InvalidObjectKey)?;
        (is_user(user) && is_uuid(uuid) && is_extension(extension))
            .then(|| Self(raw.to_owned()))
            .ok_or(InvalidObjectKey)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKey")
    }
}

/// One spelling for each id: no sign, no leading zero.
fn is_user(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|id| id > 0 && id.to_string() == text)
}

fn is_uuid(text: &str) -> bool {
    text.len() == UUID_BYTES
        && text.bytes().enumerate().all(|(at, byte)| {
            if HYPHENS.contains(&at) {
                byte == b'-'
            } else {
                matches!(byte, b'0'..=b'9' | b'a'..=b'f')
            }
        })
}

fn is_extension(text: &str) -> bool {
    (1..=LONGEST_EXTENSION).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "00010203-0405-4607-8809-0a0b0c0d0e0f";

    #[test]
    fn a_key_is_in_the_folder_of_its_user_and_reads_back() {
        let random = std::array::from_fn(|n| u8::try_from(n).unwrap());
        let key = ObjectKey::new(UserId(7), random, "pdf").unwrap();
        assert_eq!(key.as_str(), format!("7/{UUID}.pdf"));
        assert_eq!(key.parts(), ("7", format!("{UUID}.pdf").as_str()));
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "ObjectKey");
        let last = ObjectKey::new(UserId(i64::MAX), [0xff; 16], "jpg").unwrap();
        assert_eq!(
            last.as_str(),
            "9223372036854775807/ffffffff-ffff-4fff-bfff-ffffffffffff.jpg"
        );
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_key() {
        for (user, extension) in [
            (0, "pdf"),
            (-1, "pdf"),
            (7, ""),
            (7, "PDF"),
            (7, "a/b"),
            (7, "ninechars"),
        ] {
            let made = ObjectKey::new(UserId(user), [0; 16], extension);
            assert_eq!(made, Err(InvalidObjectKey), "{user} {extension}");
        }
        for bad in [
            String::new(),
            "/".to_owned(),
            "7".to_owned(),
            "../../etc/passwd".to_owned(),
            format!("../{UUID}.pdf"),
            format!("7/../{UUID}.pdf"),
            format!("7/../8/{UUID}.pdf"),
            format!("/7/{UUID}.pdf"),
            format!("//{UUID}.pdf"),
            format!("7//{UUID}.pdf"),
            format!("7/{UUID}.pdf/"),
            format!("7/{UUID}.pdf\0"),
            format!("7/{UUID}.pdf\n"),
            format!("7/{UUID}.p.f"),
            format!("7/{UUID}"),
            format!("7/{UUID}."),
            format!("7\\{UUID}.pdf"),
            format!("+7/{UUID}.pdf"),
            format!("07/{UUID}.pdf"),
            format!("0/{UUID}.pdf"),
            format!("-7/{UUID}.pdf"),
            format!("7%2f/{UUID}.pdf"),
            format!("9223372036854775808/{UUID}.pdf"),
            format!("7/{}.pdf", UUID.to_uppercase()),
            format!("7/{}.pdf", UUID.replace('-', "0")),
            format!("7/{}.pdf", "é".repeat(18)),
            format!("7/{UUID}.é"),
        ] {
            assert_eq!(bad.parse::<ObjectKey>(), Err(InvalidObjectKey), "{bad:?}");
        }
    }
}
