//! The names of buckets and regions. They are parts of addresses, so they have no characters that mean something there.

use std::str::FromStr;

use thiserror::Error;

/// The longest name of a bucket, in bytes: that of Supabase. S3 refuses more than 63 itself.
const LONGEST_BUCKET: usize = 100;
/// The longest name of a region, in bytes.
const LONGEST_REGION: usize = 40;

/// The name of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket(String);

/// Not the name of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a bucket is named by letters, digits, hyphens, underscores and dots")]
pub struct InvalidBucket;

/// The name of a region of S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(String);

/// Not the name of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a region is named by lower-case letters, digits and hyphens, like eu-central-1")]
pub struct InvalidRegion;

impl Bucket {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Region {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Bucket {
    type Err = InvalidBucket;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let is_name = (1..=LONGEST_BUCKET).contains(&raw.len())
            && raw.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && !raw.starts_with('.');
        is_name.then(|| Self(raw.to_owned())).ok_or(InvalidBucket)
    }
}

impl FromStr for Region {
    type Err = InvalidRegion;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let is_name = (1..=LONGEST_REGION).contains(&raw.len())
            && raw.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        is_name.then(|| Self(raw.to_owned())).ok_or(InvalidRegion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_change_an_address() {
        for name in ["cura-files", "my.bucket", "Old_Bucket"] {
            assert_eq!(name.parse::<Bucket>().unwrap().as_str(), name);
        }
        for bad in ["", "a/b", "..", "a?b", "a b", "é", &"x".repeat(101)] {
            assert_eq!(bad.parse::<Bucket>(), Err(InvalidBucket), "{bad}");
        }
        assert_eq!("auto".parse::<Region>().unwrap().as_str(), "auto");
        for bad in ["", "EU", "eu.example/", "eu@example", &"x".repeat(41)] {
            assert_eq!(bad.parse::<Region>(), Err(InvalidRegion), "{bad}");
        }
    }
}
