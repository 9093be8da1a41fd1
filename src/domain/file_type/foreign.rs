//! Files that are not taken, told apart as far as it helps to say what to send instead.

use super::hint;

/// Signatures at the first byte.
const KNOWN: [(&[u8], &str); 24] = [
    (b"{\\rtf", hint::DOCUMENT),
    (b"II*\0", hint::PICTURE),
    (b"MM\0*", hint::PICTURE),
    (b"8BPS", hint::PICTURE),
    (b"\xff\x0a", hint::PICTURE),
    (b"\0\0\0\x0cJXL ", hint::PICTURE),
    (b"\0\0\0\x0cjP  ", hint::PICTURE),
    (b"\0\0\x01\0", hint::PICTURE),
    (b"PK\x05\x06", hint::ARCHIVE),
    (b"PK\x07\x08", hint::ARCHIVE),
    (b"Rar!\x1a\x07", hint::ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", hint::ARCHIVE),
    (b"\x1f\x8b", hint::ARCHIVE),
    (b"BZh", hint::ARCHIVE),
    (b"\xfd7zXZ\0", hint::ARCHIVE),
    (b"\x28\xb5\x2f\xfd", hint::ARCHIVE),
    (b"\x1a\x45\xdf\xa3", hint::VIDEO),
    (b"\0\0\x01\xba", hint::VIDEO),
    (b"ID3", hint::SOUND),
    (b"\xff\xfb", hint::SOUND),
    (b"\xff\xf1", hint::SOUND),
    (b"OggS", hint::SOUND),
    (b"fLaC", hint::SOUND),
    (b"#!AMR", hint::SOUND),
];

/// Brands of HEIF that hold HEVC, which no browser but Safari shows.
const HEIC_BRANDS: [&[u8]; 10] = [
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
];

/// What to tell the sender of a file that begins like this.
pub(super) fn hint(head: &[u8]) -> &'static str {
    if let Some((_, hint)) = KNOWN.iter().find(|(begin, _)| head.starts_with(begin)) {
        return hint;
    }
    if head.get(4..8) == Some(b"ftyp") {
        return of_brands(head);
    }
    match (head.get(..4), head.get(8..12)) {
        (Some(b"RIFF"), Some(b"AVI ")) => return hint::VIDEO,
        (Some(b"RIFF"), Some(b"WAVE")) | (Some(b"FORM"), Some(b"AIFF")) => return hint::SOUND,
        _ => {}
    }
    // A bitmap says its size, which text that begins with "BM" does not.
    if head.starts_with(b"BM") && head.get(6..10) == Some(&[0; 4]) {
        return hint::PICTURE;
    }
    let begin = &head[..head.len().min(1024)];
    if begin.windows(5).any(|bytes| bytes == b"%PDF-") {
        return hint::LATE_PDF;
    }
    text(head).map_or(hint::OTHER, |text| of_text(&text))
}

/// Of the family of MP4: the brand that is named first, then those it is compatible with.
fn of_brands(head: &[u8]) -> &'static str {
    let size = head.first_chunk().map_or(0, |size| u32::from_be_bytes(*size));
    let end = usize::try_from(size).unwrap_or(head.len()).clamp(8, head.len());
    let brands = || head[8..end].chunks_exact(4);
    match brands().next() {
        Some(b"avif" | b"avis" | b"jxl ") => hint::PICTURE,
        Some(b"M4A " | b"M4B ") => hint::SOUND,
        Some(b"mif1" | b"msf1") if brands().any(|brand| brand == b"avif" || brand == b"avis") => hint::PICTURE,
        Some(brand) if HEIC_BRANDS.contains(&brand) => hint::HEIC,
        _ => hint::VIDEO,
    }
}

/// The text that a file consists of: UTF-8, or UTF-16 with its mark, and no control characters but those of text.
fn text(head: &[u8]) -> Option<String> {
    let wide = |decode: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = head[2..]
            .chunks_exact(2)
            .map(|unit| decode([unit[0], unit[1]]))
            .collect();
        String::from_utf16_lossy(&units)
    };
    let text = match head {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => match str::from_utf8(head) {
            Ok(text) => text.to_owned(),
            // The head may end within a character.
            Err(error) if error.error_len().is_none() => str::from_utf8(&head[..error.valid_up_to()]).ok()?.to_owned(),
            Err(_) => return None,
        },
    };
    let is_of_text = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\x0c');
    text.chars().all(is_of_text).then_some(text)
}

fn of_text(text: &str) -> &'static str {
    let text = text.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    if begins(&["<svg"]) || (begins(&["<?xml", "<!--"]) && text.contains("<svg")) {
        hint::PICTURE
    } else if begins(&["<!doctype html", "<html", "<head", "<body"]) {
        hint::WEB_PAGE
    } else if begins(&["return-path:", "received:", "delivered-to:", "mime-version:"]) {
        hint::MAIL
    } else {
        hint::TEXT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_of_phones_are_told_to_be_saved_as_jpeg() {
        for (head, expected) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], hint::HEIC),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", hint::HEIC),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", hint::PICTURE),
            // Beyond the box is not part of it.
            (b"\0\0\0\x10ftypmif1\0\0\0\0avif", hint::HEIC),
            (b"\0\0\0\x1cftypavif\0\0\0\0mif1", hint::PICTURE),
            (b"\0\0\0\x18ftypmp42\0\0\0\0isom", hint::VIDEO),
            (b"\0\0\0\x18ftypqt  \0\0\0\0", hint::VIDEO),
            (b"\0\0\0\x18ftypM4A \0\0\0\0", hint::SOUND),
            (b"\xff\xff\xff\xffftyp", hint::VIDEO),
            (b"\0\0\0\0ftyphei", hint::VIDEO),
        ] {
            assert_eq!(hint(head), expected, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn usual_files_are_named() {
        for (head, expected) in [
            (&b"{\\rtf1\\ansi"[..], hint::DOCUMENT),
            (b"II*\0\x08\0\0\0", hint::PICTURE),
            (b"BM\x36\0\0\0\0\0\0\0\x36", hint::PICTURE),
            (b"BMI and health", hint::TEXT),
            (b"RIFF\0\0\0\0WAVEfmt ", hint::SOUND),
            (b"RIFF\0\0\0\0AVI LIST", hint::VIDEO),
            (b"RIFF\0\0\0\0CDDA", hint::OTHER),
            (b"MZ\x90\0\x03", hint::OTHER),
            (b"Rar!\x1a\x07\x01\0", hint::ARCHIVE),
            (b"<!DOCTYPE HTML><p>", hint::WEB_PAGE),
            (b"\xef\xbb\xbf\n<html>", hint::WEB_PAGE),
            (b"<html>%PDF-1.4", hint::LATE_PDF),
            (b"\n%PDF-1.4", hint::LATE_PDF),
            (b"<?xml version='1.0'?><svg xmlns=''/>", hint::PICTURE),
            (b"<?xml version='1.0'?><letter/>", hint::TEXT),
            (b"Received: from a by b\r\n", hint::MAIL),
            (b"Dear doctor,\r\n", hint::TEXT),
            (b"\xff\xfeD\0e\0a\0r\0", hint::TEXT),
            (b"\xfe\xff\0D\0e", hint::TEXT),
            ("Grüße".as_bytes(), hint::TEXT),
            (&"Grü".as_bytes()[..3], hint::TEXT),
            (b"a\0b", hint::OTHER),
            (b"\xc3\x28 latin", hint::OTHER),
            (b"\xff", hint::OTHER),
        ] {
            assert_eq!(hint(head), expected, "{}", head.escape_ascii());
        }
    }
}
