//! `Upload-Metadata` (TUS 1.0): keys with values in base64, of which the name and the message are read.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cura_domain::MessageId;
use thiserror::Error;

/// The longest header, in bytes: a long name, and what libraries add.
const MAX_METADATA_BYTES: usize = 8 * 1024;
/// Some clients leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client says about an upload that it begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadMetadata {
    raw: String,
    raw_name: String,
    message: Option<MessageId>,
}

/// Why a header is no metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MalformedMetadata {
    /// It is longer than 8 KiB.
    #[error("it is longer than 8 KiB")]
    TooLong,
    /// It is no list of keys, each once and with a value in base64 or none.
    #[error("it is no list of keys, each once, with values in base64")]
    NoList,
    /// The name is no UTF-8.
    #[error("filename is no UTF-8")]
    Name,
    /// The message is no number.
    #[error("message_id is no number")]
    Message,
}

impl UploadMetadata {
    /// Reads the header.
    ///
    /// # Errors
    /// [`MalformedMetadata`].
    pub fn parse(raw: &str) -> Result<Self, MalformedMetadata> {
        if raw.len() > MAX_METADATA_BYTES {
            return Err(MalformedMetadata::TooLong);
        }
        let mut read = Self {
            raw: raw.to_owned(),
            ..Self::default()
        };
        let mut keys = Vec::new();
        for pair in raw.split(',').map(str::trim).filter(|_| !raw.trim().is_empty()) {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            if key.is_empty() || keys.contains(&key) {
                return Err(MalformedMetadata::NoList);
            }
            keys.push(key);
            let value = BASE64.decode(value.trim()).map_err(|_| MalformedMetadata::NoList)?;
            match key {
                "filename" => read.raw_name = String::from_utf8(value).map_err(|_| MalformedMetadata::Name)?,
                "message_id" => read.message = message(&value)?,
                _ => {}
            }
        }
        Ok(read)
    }

    /// The header.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The name of the file, as the client sent it; empty if there is none.
    pub(super) fn raw_name(&self) -> &str {
        &self.raw_name
    }

    /// The message that the file belongs to.
    pub(super) fn message(&self) -> Option<MessageId> {
        self.message
    }
}

/// An id; nothing is none.
fn message(value: &[u8]) -> Result<Option<MessageId>, MalformedMetadata> {
    let text = std::str::from_utf8(value).map_err(|_| MalformedMetadata::Message)?;
    match text.trim() {
        "" => Ok(None),
        id => id
            .parse()
            .map(|id| Some(MessageId(id)))
            .map_err(|_| MalformedMetadata::Message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_the_message_are_read_and_other_keys_are_checked() {
        for raw in [
            "filename bmHDr3ZlLnBuZw==,message_id Nw==,is_confidential",
            "message_id Nw, filename bmHDr3ZlLnBuZw ,filetype aW1hZ2UvcG5n",
        ] {
            let read = UploadMetadata::parse(raw).unwrap();
            assert_eq!(
                (read.raw_name(), read.message()),
                ("na\u{ef}ve.png", Some(MessageId(7)))
            );
            assert_eq!(read.raw(), raw);
        }
        for nothing in ["", " ", "filename", "filename ,message_id "] {
            let read = UploadMetadata::parse(nothing).unwrap();
            assert_eq!((read.raw_name(), read.message()), ("", None), "{nothing}");
        }
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        for (raw, why) in [
            ("filename YS5wbmc=,filename Yi5wbmc=", MalformedMetadata::NoList),
            ("filename ***", MalformedMetadata::NoList),
            ("other ***", MalformedMetadata::NoList),
            ("filename YS5wbmc=,,a", MalformedMetadata::NoList),
            (",", MalformedMetadata::NoList),
            ("filename YQ== YQ==", MalformedMetadata::NoList),
            ("filename /w==", MalformedMetadata::Name),
            ("message_id c2V2ZW4=", MalformedMetadata::Message),
            ("message_id /w==", MalformedMetadata::Message),
        ] {
            assert_eq!(UploadMetadata::parse(raw), Err(why), "{raw}");
        }
        let long = format!("a {}", "A".repeat(8 * 1024));
        assert_eq!(UploadMetadata::parse(&long), Err(MalformedMetadata::TooLong));
    }
}
