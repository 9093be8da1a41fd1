//! What a child answers: a head of JSON, and the bytes that it announces.
//!
//! The parent takes the answer as what a stranger sends: a parser that was taken over may have written it. It is one to what was
//! asked, nothing of it is larger than the limits here, pictures are built as ours are and hold nothing else, and text is UTF-8.

mod fitting;
mod frame;
mod made_anew;

use cura_domain::file::{FileReason, Finding};

use crate::sandbox::Landlock;
use crate::text::{DocumentText, MAX_TEXT_BYTES};

/// The largest picture, in bytes. Anthropic takes 5 MB in base64, which is this much.
pub const MAX_PICTURE_BYTES: usize = 3_750_000;
/// The most pages whose text is told apart.
pub const MAX_PAGES: usize = 10_000;
/// The longest head: it has no text of the file.
const MAX_HEAD_BYTES: usize = 4 * 1024;
/// The most pictures: for the model and for lists, or two sizes of an avatar.
const MAX_PICTURES: usize = 2;
/// The longest answer.
pub const MAX_ANSWER_BYTES: usize =
    frame::LENGTH_BYTES + MAX_HEAD_BYTES + MAX_TEXT_BYTES + MAX_PAGES + MAX_PICTURES * MAX_PICTURE_BYTES;

/// How a picture is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// JPEG.
    Jpeg,
    /// PNG, where something is transparent.
    Png,
}

impl Encoding {
    /// The registered media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

/// A picture that was made anew: upright, without anything but its pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// How its bytes are encoded.
    pub encoding: Encoding,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The encoded picture.
    pub bytes: Vec<u8>,
}

/// What was made of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspected {
    /// What whoever opens it should know.
    pub findings: Vec<Finding>,
    /// The text of a document; empty for a picture.
    pub text: DocumentText,
    /// The larger picture: for the model, or an avatar of 512 pixels. `None` for a document.
    pub large: Option<Picture>,
    /// The smaller one: the thumbnail, or an avatar of 128 pixels.
    pub small: Option<Picture>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The file was looked into.
    Inspected(Inspected),
    /// Nothing is made of the file.
    Refused(FileReason),
    /// To a probe: the child can confine itself.
    Confined(Landlock),
    /// The child cannot confine itself, and has not looked at anything. For operators.
    NoSandbox(String),
}

#[cfg(test)]
mod tests;
