//! Pictures of people: squares of two sizes.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The length of a key, in characters: 128 bits in base64url.
const KEY_CHARS: usize = 22;

/// A size of an avatar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AvatarSize {
    /// 512 pixels a side.
    Large,
    /// 128 pixels a side.
    Small,
}

impl AvatarSize {
    /// In pixels.
    pub const fn side(self) -> i16 {
        match self {
            Self::Large => 512,
            Self::Small => 128,
        }
    }
}

/// What names an avatar in its URL: whoever has it can see the avatar, and nobody can guess it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvatarKey(String);

/// Not the key of an avatar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not the key of an avatar")]
pub struct InvalidAvatarKey;

impl AvatarKey {
    /// The key as URLs have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path at which the avatar is.
    pub fn url(&self) -> String {
        format!("/files/avatars/{}", self.0)
    }
}

impl FromStr for AvatarKey {
    type Err = InvalidAvatarKey;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_key = raw.len() == KEY_CHARS && raw.bytes().all(is_known);
        is_key.then(|| Self(raw.to_owned())).ok_or(InvalidAvatarKey)
    }
}

impl fmt::Display for AvatarKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_twenty_two_characters_of_base64url() {
        let good = "AZaz09-_AAAAAAAAAAAAAA";
        assert_eq!(
            good.parse::<AvatarKey>().unwrap().url(),
            format!("/files/avatars/{good}")
        );
        for bad in [
            "",
            "A",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA/",
            "AAAAAAAAAAAAAAAAAAAAA=",
            "ÄAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(bad.parse::<AvatarKey>(), Err(InvalidAvatarKey), "{bad}");
        }
    }
}
