//! Signed links to clean files: whoever has one can download the file until it expires, without signing in, as `<img>` does.
//!
//! A link names its file, its variant and its expiry under a MAC; nothing is stored. The expiry is rounded, so that a link stays the
//! same for [`STEP`], and a browser that lists files twice downloads their pictures once.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cura_domain::file::{File, FileStatus, LinkedFile, Links};
use cura_domain::{Clock, FileId};

use crate::derived_key::{DerivedKeys, SecretKeys};

/// How long a link is good at most, in seconds.
const LIFETIME: i64 = 60 * 60;
/// For how long all links are the same, in seconds: so much less a link may be good for.
const STEP: i64 = 10 * 60;

/// What of a file a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// What was uploaded.
    Original,
    /// A picture of at most 320 pixels, made anew.
    Thumbnail,
}

impl Variant {
    /// The word of links.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Thumbnail => "thumb",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Original, Self::Thumbnail]
            .into_iter()
            .find(|variant| variant.as_str() == word)
    }
}

/// What a link says that we have signed, and that has not expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedLink {
    /// The file, which may be gone.
    pub file: FileId,
    /// What of it.
    pub variant: Variant,
    /// How long it is good, in seconds.
    pub expires_in: i64,
}

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnusableLink {
    /// We have not signed it.
    Forged,
    /// It was good once.
    Expired,
}

/// Makes and opens links. Cheap to clone.
#[derive(Clone)]
pub struct FileLinks {
    keys: DerivedKeys,
    clock: Clock,
}

impl FileLinks {
    /// Links of this installation, by keys that are good for nothing else.
    pub fn new(secrets: SecretKeys<'_>, clock: Clock) -> Self {
        Self {
            keys: DerivedKeys::new(secrets, "cura file link 1"),
            clock,
        }
    }

    /// The file with its links.
    pub fn link(&self, file: File) -> LinkedFile {
        let links = (file.status == FileStatus::Clean).then(|| {
            let now = self.clock.now().timestamp();
            let expires_at = now - now.rem_euclid(STEP) + LIFETIME;
            Links {
                original: self.path(file.id, Variant::Original, expires_at),
                thumbnail: file
                    .has_thumbnail
                    .then(|| self.path(file.id, Variant::Thumbnail, expires_at)),
                expires_in: expires_at - now,
            }
        });
        LinkedFile { file, links }
    }

    /// What a link says, by its parts as they came. Asks nobody.
    ///
    /// # Errors
    /// [`UnusableLink`]
    pub fn open(
        &self,
        file: &str,
        variant: &str,
        expires_at: &str,
        signature: &str,
    ) -> Result<OpenedLink, UnusableLink> {
        let variant = Variant::from_word(variant).ok_or(UnusableLink::Forged)?;
        let mac = URL_SAFE_NO_PAD.decode(signature).map_err(|_| UnusableLink::Forged)?;
        // Verified before they are read: a number can be written in several ways, and only one of them was signed.
        if !self.keys.verifies(signed(file, variant, expires_at).as_bytes(), &mac) {
            return Err(UnusableLink::Forged);
        }
        let file: FileId = file.parse().map_err(|_| UnusableLink::Forged)?;
        let expires_at: i64 = expires_at.parse().map_err(|_| UnusableLink::Forged)?;
        let expires_in = expires_at.saturating_sub(self.clock.now().timestamp());
        if expires_in <= 0 {
            return Err(UnusableLink::Expired);
        }
        Ok(OpenedLink {
            file,
            variant,
            expires_in,
        })
    }

    fn path(&self, file: FileId, variant: Variant, expires_at: i64) -> String {
        let mac = self.keys.mac(signed(file, variant, expires_at).as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac);
        format!("/files/{file}?v={}&exp={expires_at}&sig={signature}", variant.as_str())
    }
}

/// What is signed. We sign numbers and words without dots, so no two links have the same.
fn signed(file: impl Display, variant: Variant, expires_at: impl Display) -> String {
    format!("{file}.{}.{expires_at}", variant.as_str())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use cura_domain::file_type::FileType;

    use super::*;

    fn at(seconds: i64) -> Clock {
        let now: DateTime<Utc> = DateTime::from_timestamp(seconds, 0).unwrap();
        Clock::new(move || now)
    }

    fn links(secret: &[u8], seconds: i64) -> FileLinks {
        FileLinks::new(SecretKeys::only(secret), at(seconds))
    }

    fn file(status: FileStatus, has_thumbnail: bool) -> File {
        File {
            id: FileId(7),
            name: "photo.jpg".to_owned(),
            file_type: FileType::Jpeg,
            size: 10,
            sha256: vec![0; 32],
            status,
            reason: None,
            signature: None,
            findings: Vec::new(),
            has_thumbnail,
            message: None,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    /// The parts of a path: id, variant, expiry, signature.
    fn parts(path: &str) -> [String; 4] {
        let (id, query) = path.strip_prefix("/files/").unwrap().split_once('?').unwrap();
        let values: Vec<&str> = query.split('&').map(|pair| pair.split_once('=').unwrap().1).collect();
        [id, values[0], values[1], values[2]].map(str::to_owned)
    }

    fn open(links: &FileLinks, [id, variant, expires_at, signature]: &[String; 4]) -> Result<OpenedLink, UnusableLink> {
        links.open(id, variant, expires_at, signature)
    }

    const NOW: i64 = 1_800_000_000 + 599;

    #[test]
    fn only_a_clean_file_has_links() {
        let links = links(b"secret", NOW);
        for status in [
            FileStatus::Storing,
            FileStatus::Scanning,
            FileStatus::Infected,
            FileStatus::Failed,
        ] {
            assert_eq!(links.link(file(status, true)).links, None);
        }
        let clean = links.link(file(FileStatus::Clean, true)).links.unwrap();
        assert_eq!(clean.expires_in, 3600 - 599);
        for (path, variant) in [
            (clean.original, Variant::Original),
            (clean.thumbnail.unwrap(), Variant::Thumbnail),
        ] {
            let opened = open(&links, &parts(&path)).unwrap();
            let expected = OpenedLink {
                file: FileId(7),
                variant,
                expires_in: 3001,
            };
            assert_eq!(opened, expected);
        }
        let no_picture = links.link(file(FileStatus::Clean, false)).links.unwrap();
        assert_eq!(no_picture.thumbnail, None);
    }

    #[test]
    fn a_link_stays_the_same_for_ten_minutes_and_is_good_for_fifty_at_least() {
        let begun = 1_800_000_000;
        let path = |seconds| {
            links(b"secret", seconds)
                .link(file(FileStatus::Clean, true))
                .links
                .unwrap()
        };
        assert_eq!(path(begun).original, path(begun + 599).original);
        assert_ne!(path(begun).original, path(begun + 600).original);
        let parts = parts(&path(begun + 599).original);
        assert!(open(&links(b"secret", begun + 3599), &parts).is_ok());
        assert_eq!(
            open(&links(b"secret", begun + 3600), &parts),
            Err(UnusableLink::Expired)
        );
    }

    #[test]
    fn what_we_have_not_signed_opens_nothing() {
        let links = links(b"secret", NOW);
        let good = parts(&links.link(file(FileStatus::Clean, true)).links.unwrap().original);
        assert!(open(&links, &good).is_ok());
        let last = if good[3].ends_with('A') { "B" } else { "A" };
        let forged = format!("{}{last}", &good[3][..good[3].len() - 1]);
        for (at, value) in [
            (0, "8"),
            (0, "-7"),
            (0, "+7"),
            (0, "07"),
            (0, "7.original"),
            (0, ""),
            (1, "thumb"),
            (1, "model"),
            (2, "1800009999"),
            (2, "9223372036854775807"),
            (2, "-9223372036854775808"),
            (2, format!("+{}", good[2]).as_str()),
            (2, format!("0{}", good[2]).as_str()),
            (2, format!(" {}", good[2]).as_str()),
            (3, forged.as_str()),
            (3, ""),
            (3, "AAAA"),
        ] {
            let mut changed = good.clone();
            changed[at] = value.to_owned();
            assert_eq!(open(&links, &changed), Err(UnusableLink::Forged), "{value}");
        }
        let other = FileLinks::new(SecretKeys::only(b"other"), at(NOW));
        assert_eq!(open(&other, &good), Err(UnusableLink::Forged));
        let keys = SecretKeys {
            current: b"other",
            previous: Some(b"secret"),
        };
        let replaced = FileLinks::new(keys, at(NOW));
        assert!(open(&replaced, &good).is_ok(), "while the secret is being replaced");
        // Each byte of it.
        for (part, text) in good.iter().enumerate() {
            for at in 0..text.len() {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
                let mut changed = good.clone();
                changed[part] = String::from_utf8(bytes).unwrap();
                assert_eq!(open(&links, &changed), Err(UnusableLink::Forged), "{changed:?}");
            }
        }
    }
}
