//! Signed links to files: one opens what it was made for until it expires, and nothing else, however it is changed.

use arbitrary::Arbitrary;
use chrono::DateTime;
use cura_app::SecretKeys;
use cura_app::files::{File, FileLinks};
use cura_domain::file::FileStatus;
use cura_domain::file_type::FileType;
use cura_domain::{Clock, FileId};

/// A link, and what is done to it before it comes back.
#[derive(Debug, Arbitrary)]
pub struct ChangedLink {
    file: i64,
    is_thumbnail: bool,
    /// In seconds since 1970.
    made_at: u32,
    /// How many seconds later it comes.
    later: u16,
    changes: Vec<Change>,
}

/// A change of a link's text. Places are counted anew from its beginning where it ends.
#[derive(Debug, Arbitrary)]
enum Change {
    Set(u8, u8),
    Insert(u8, u8),
    Remove(u8),
    /// Some characters again, at another place.
    Repeat(u8, u8, u8),
    Append(String),
    /// The value of a parameter, or the id, becomes this.
    Replace(u8, String),
}

/// What a link consists of for the server: its id, variant, expiry and signature.
type Parts = [String; 4];

impl ChangedLink {
    /// Panics if the link does not open its file, or if what has become of it opens one.
    pub fn check(&self) {
        let made_at = i64::from(self.made_at);
        let opened_at = made_at + i64::from(self.later);
        let given = links(b"secret", made_at)
            .link(file(self.file))
            .links
            .expect("it is clean");
        let link = match self.is_thumbnail {
            true => given.thumbnail.expect("it has one"),
            false => given.original,
        };
        let opens = |secret: &[u8], [id, variant, expires_at, signature]: &Parts| {
            links(secret, opened_at).open(id, variant, expires_at, signature)
        };
        let parts = parts(&link).expect("a link");
        let expires_in = given.expires_in - i64::from(self.later);
        match opens(b"secret", &parts) {
            Ok(opened) => {
                assert_eq!(opened.file, FileId(self.file));
                assert_eq!(
                    opened.variant.as_str(),
                    if self.is_thumbnail { "thumb" } else { "original" }
                );
                assert_eq!(opened.expires_in, expires_in);
                assert!(expires_in > 0, "it is over");
            }
            Err(_) => assert!(expires_in <= 0, "it is not over"),
        }
        assert!(opens(b"other", &parts).is_err(), "another secret");
        let mut bytes = link.into_bytes();
        for change in &self.changes {
            change.apply(&mut bytes);
        }
        let changed = String::from_utf8_lossy(&bytes);
        if let Some(changed) = self::parts(&changed).filter(|changed| *changed != parts) {
            assert!(opens(b"secret", &changed).is_err(), "{changed:?}");
        }
    }
}

impl Change {
    fn apply(&self, link: &mut Vec<u8>) {
        let place = |at: &u8| usize::from(*at) % link.len().max(1);
        match self {
            _ if link.is_empty() => {}
            Self::Set(at, byte) => {
                let at = place(at);
                link[at] = *byte;
            }
            Self::Insert(at, byte) => link.insert(place(at), *byte),
            Self::Remove(at) => {
                link.remove(place(at));
            }
            Self::Repeat(from, to, count) => {
                let (from, to) = (place(from), place(to));
                let again = link[from..link.len().min(from + usize::from(*count))].to_vec();
                link.splice(to..to, again);
            }
            Self::Append(more) => link.extend_from_slice(more.as_bytes()),
            Self::Replace(which, value) => {
                let marks = ["/files/", "?v=", "&exp=", "&sig="];
                let text = String::from_utf8_lossy(link).into_owned();
                let which = usize::from(*which) % marks.len();
                let Some(begin) = text.find(marks[which]).map(|at| at + marks[which].len()) else {
                    return;
                };
                let next = marks.get(which + 1).and_then(|mark| text[begin..].find(mark));
                let end = next.map_or(text.len(), |length| begin + length);
                *link = [&text[..begin], value, &text[end..]].concat().into_bytes();
            }
        }
    }
}

/// The parts of a link as the server takes it apart: of several values the first, and nothing for one that is not there.
fn parts(link: &str) -> Option<Parts> {
    let (id, query) = link.strip_prefix("/files/")?.split_once('?')?;
    let value = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let found = pairs.find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    Some([id.to_owned(), value("v"), value("exp"), value("sig")])
}

/// The links of an installation with this secret, at this time.
fn links(secret: &[u8], seconds: i64) -> FileLinks {
    let now = DateTime::from_timestamp(seconds, 0).expect("a time");
    FileLinks::new(SecretKeys::only(secret), Clock::new(move || now))
}

/// A clean file.
fn file(id: i64) -> File {
    File {
        id: FileId(id),
        name: "photo.jpg".to_owned(),
        file_type: FileType::Jpeg,
        size: 10,
        sha256: vec![0; 32],
        status: FileStatus::Clean,
        reason: None,
        signature: None,
        findings: Vec::new(),
        has_thumbnail: true,
        message: None,
        created_at: DateTime::UNIX_EPOCH,
    }
}
