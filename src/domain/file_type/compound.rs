//! Compound files, which old Office programs keep their documents in: the streams at the top say which.

use super::{FileType, Refusal, hint};

/// The type of a compound file with these streams at the top. Case does not matter, as in the format.
///
/// # Errors
/// [`Refusal::Unsupported`] unless it is a Word document.
pub fn of_compound<'a>(streams: impl Iterator<Item = &'a str> + Clone) -> Result<FileType, Refusal> {
    let has = |name: &str| streams.clone().any(|stream| stream.eq_ignore_ascii_case(name));
    // A newer document with a password is encrypted into a compound file as a whole.
    let hint = if has("EncryptedPackage") {
        hint::PASSWORD
    } else if has("WordDocument") {
        return Ok(FileType::Doc);
    } else if has("Workbook") || has("Book") {
        hint::SPREADSHEET
    } else if has("PowerPoint Document") {
        hint::PRESENTATION
    } else if has("__properties_version1.0") {
        hint::MAIL
    } else {
        hint::OTHER
    };
    Err(Refusal::Unsupported { hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_document_has_its_stream_at_the_top() {
        let of = |streams: &[&str]| of_compound(streams.iter().copied());
        assert_eq!(of(&["1Table", "WordDocument"]), Ok(FileType::Doc));
        for (streams, hint) in [
            (&["EncryptionInfo", "EncryptedPackage"][..], hint::PASSWORD),
            (&["EncryptedPackage", "WordDocument"], hint::PASSWORD),
            (&["Workbook"], hint::SPREADSHEET),
            (&["Book"], hint::SPREADSHEET),
            (&["PowerPoint Document"], hint::PRESENTATION),
            (&["__properties_version1.0"], hint::MAIL),
            (&["WordDocument2"], hint::OTHER),
            (&[], hint::OTHER),
        ] {
            assert_eq!(of(streams), Err(Refusal::Unsupported { hint }), "{streams:?}");
        }
    }
}
