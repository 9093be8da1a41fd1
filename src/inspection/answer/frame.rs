//! The form of an answer: the length of the head (4 bytes, the lowest first), the head, the text, the pictures, and nothing more.

use std::io::{self, Write};

use cura_domain::file::{FileReason, Finding};
use serde::{Deserialize, Serialize};

use super::made_anew::is_made_anew;
use super::{Answer, Encoding, Inspected, MAX_HEAD_BYTES, MAX_PAGES, MAX_PICTURE_BYTES, Picture};
use crate::request::Request;
use crate::sandbox::Landlock;
use crate::text::{DocumentText, MAX_TEXT_BYTES};

pub(super) const LENGTH_BYTES: usize = 4;
/// Stands between pages, none of which has one.
const PAGE_END: char = '\u{c}';
/// The most findings: one of each kind.
const MAX_FINDINGS: usize = 4;
/// The longest side that a picture may have which was made anew.
const MAX_SIDE: u32 = 2_048;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Head {
    Inspected {
        findings: Vec<Finding>,
        text: Option<TextHead>,
        large: Option<PictureHead>,
        small: Option<PictureHead>,
    },
    Refused(FileReason),
    Confined(Landlock),
    NoSandbox(String),
}

#[derive(Serialize, Deserialize)]
struct TextHead {
    length: usize,
    page_count: Option<u32>,
    is_cut: bool,
}

#[derive(Serialize, Deserialize)]
struct PictureHead {
    encoding: Encoding,
    width: u32,
    height: u32,
    length: usize,
}

impl Picture {
    fn head(&self) -> PictureHead {
        PictureHead {
            encoding: self.encoding,
            width: self.width,
            height: self.height,
            length: self.bytes.len(),
        }
    }
}

impl Answer {
    /// Writes it.
    ///
    /// # Errors
    /// What writing fails with.
    pub fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let (mut text, mut pictures) = (None, Vec::new());
        let head = match self {
            Self::Refused(reason) => Head::Refused(*reason),
            Self::Confined(landlock) => Head::Confined(*landlock),
            Self::NoSandbox(why) => Head::NoSandbox(why.chars().take(500).collect()),
            Self::Inspected(inspected) => {
                let joined = joined(&inspected.text);
                pictures.extend([&inspected.large, &inspected.small].into_iter().flatten());
                let text_head = joined.as_ref().map(|joined| TextHead {
                    length: joined.len(),
                    page_count: inspected.text.page_count,
                    is_cut: inspected.text.is_cut || inspected.text.pages.len() > MAX_PAGES,
                });
                text = joined;
                Head::Inspected {
                    findings: inspected.findings.clone(),
                    text: text_head,
                    large: inspected.large.as_ref().map(Picture::head),
                    small: inspected.small.as_ref().map(Picture::head),
                }
            }
        };
        let head = serde_json::to_vec(&head)?;
        output.write_all(&u32::try_from(head.len()).map_err(io::Error::other)?.to_le_bytes())?;
        output.write_all(&head)?;
        output.write_all(text.unwrap_or_default().as_bytes())?;
        for picture in pictures {
            output.write_all(&picture.bytes)?;
        }
        Ok(())
    }

    /// Reads the answer to a request; `None` unless it is one, whole, and within its limits. Takes little more memory than the bytes.
    pub fn read(mut bytes: &[u8], request: Request) -> Option<Self> {
        let length = u32::from_le_bytes(*take(&mut bytes, LENGTH_BYTES)?.first_chunk()?);
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_HEAD_BYTES)?;
        let head = serde_json::from_slice(take(&mut bytes, length)?).ok()?;
        let answer = match head {
            Head::Refused(reason) => Self::Refused(reason),
            Head::Confined(landlock) => Self::Confined(landlock),
            Head::NoSandbox(why) => Self::NoSandbox(why),
            Head::Inspected {
                findings,
                text,
                large,
                small,
            } => Self::Inspected(Inspected {
                findings: Some(findings).filter(|findings| findings.len() <= MAX_FINDINGS)?,
                text: match text {
                    Some(text) => take_text(&mut bytes, &text)?,
                    None => DocumentText::default(),
                },
                large: take_picture(&mut bytes, large)?,
                small: take_picture(&mut bytes, small)?,
            }),
        };
        (bytes.is_empty() && answer.fits(request)).then_some(answer)
    }
}

/// The pages in one text; `None` if there are none.
fn joined(text: &DocumentText) -> Option<String> {
    let mut joined = String::new();
    for (number, page) in text.pages.iter().take(MAX_PAGES).enumerate() {
        if number > 0 {
            joined.push(PAGE_END);
        }
        joined.extend(page.chars().map(|char| if char == PAGE_END { '\n' } else { char }));
    }
    (!text.pages.is_empty() || text.page_count.is_some()).then_some(joined)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_text(bytes: &mut &[u8], head: &TextHead) -> Option<DocumentText> {
    if head.length > MAX_TEXT_BYTES + MAX_PAGES {
        return None;
    }
    let text = str::from_utf8(take(bytes, head.length)?).ok()?;
    // Counted before a string is made of any page: one takes more memory than an empty page has here.
    let page_ends = text.matches(PAGE_END).count();
    let is_allowed = page_ends < MAX_PAGES && text.len() - page_ends <= MAX_TEXT_BYTES;
    is_allowed.then(|| DocumentText {
        pages: text.split(PAGE_END).map(str::to_owned).collect(),
        page_count: head.page_count,
        is_cut: head.is_cut,
    })
}

fn take_picture(bytes: &mut &[u8], head: Option<PictureHead>) -> Option<Option<Picture>> {
    let Some(head) = head else { return Some(None) };
    let sides = 1..=MAX_SIDE;
    if head.length > MAX_PICTURE_BYTES || !sides.contains(&head.width) || !sides.contains(&head.height) {
        return None;
    }
    let bytes = take(bytes, head.length)?;
    is_made_anew(head.encoding, head.width, head.height, bytes).then(|| {
        Some(Picture {
            encoding: head.encoding,
            width: head.width,
            height: head.height,
            bytes: bytes.to_vec(),
        })
    })
}
