//! What the first bytes of a file say.

use super::{Refusal, foreign};

/// How many bytes from the beginning are enough for [`signature`].
pub const HEAD_BYTES: usize = 4096;

/// A signature of a type that is taken, or may be when more of the file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// PNG.
    Png,
    /// JPEG: the marker of the beginning, and the first byte of another.
    Jpeg,
    /// GIF, one of its two versions.
    Gif,
    /// WebP in its RIFF container.
    Webp,
    /// PDF.
    Pdf,
    /// A ZIP archive with something in it: perhaps a DOCX.
    Zip,
    /// A compound file of Microsoft: perhaps a DOC.
    Compound,
}

/// The exact list. `None` stands for a byte that may be anything.
const SIGNATURES: [(&[Option<u8>], Signature); 8] = [
    (&exactly(*b"\x89PNG\r\n\x1a\n"), Signature::Png),
    (&exactly(*b"\xff\xd8\xff"), Signature::Jpeg),
    (&exactly(*b"GIF87a"), Signature::Gif),
    (&exactly(*b"GIF89a"), Signature::Gif),
    (&with_size(*b"RIFF", *b"WEBP"), Signature::Webp),
    (&exactly(*b"%PDF-"), Signature::Pdf),
    (&exactly(*b"PK\x03\x04"), Signature::Zip),
    (&exactly(*b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), Signature::Compound),
];

const fn exactly<const N: usize>(bytes: [u8; N]) -> [Option<u8>; N] {
    let mut pattern = [None; N];
    let mut at = 0;
    while at < N {
        pattern[at] = Some(bytes[at]);
        at += 1;
    }
    pattern
}

const fn with_size(container: [u8; 4], form: [u8; 4]) -> [Option<u8>; 12] {
    let ([a, b, c, d], [e, f, g, h]) = (exactly(container), exactly(form));
    [a, b, c, d, None, None, None, None, e, f, g, h]
}

/// The signature that a file begins with. `head` is its first [`HEAD_BYTES`], or all of a shorter one.
///
/// # Errors
/// [`Refusal::Damaged`] if the file ends within a signature, or is empty; [`Refusal::Unsupported`] if it begins with none.
pub fn signature(head: &[u8]) -> Result<Signature, Refusal> {
    for (pattern, signature) in SIGNATURES {
        if pattern
            .iter()
            .zip(head)
            .all(|(expected, byte)| expected.is_none_or(|expected| expected == *byte))
        {
            return (head.len() >= pattern.len())
                .then_some(signature)
                .ok_or(Refusal::Damaged);
        }
    }
    Err(Refusal::Unsupported {
        hint: foreign::hint(head),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_stands_at_the_first_byte() {
        for (begin, expected) in [
            (&b"\x89PNG\r\n\x1a\n\0\0"[..], Signature::Png),
            (b"\xff\xd8\xff\xe0", Signature::Jpeg),
            (b"GIF87a", Signature::Gif),
            (b"GIF89a", Signature::Gif),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", Signature::Webp),
            (b"%PDF-1.7", Signature::Pdf),
            (b"PK\x03\x04", Signature::Zip),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Signature::Compound),
        ] {
            assert_eq!(signature(begin), Ok(expected));
            let later = [b"\n", begin].concat();
            assert!(
                matches!(signature(&later), Err(Refusal::Unsupported { .. })),
                "{begin:?}"
            );
        }
    }

    #[test]
    fn a_file_that_ends_within_a_signature_is_damaged() {
        for (pattern, _) in SIGNATURES {
            let whole: Vec<u8> = pattern.iter().map(|byte| byte.unwrap_or(7)).collect();
            for end in 0..whole.len() {
                assert_eq!(signature(&whole[..end]), Err(Refusal::Damaged), "{whole:?} until {end}");
            }
        }
    }

    #[test]
    fn one_wrong_byte_is_no_signature() {
        for (pattern, known) in SIGNATURES {
            let whole: Vec<u8> = pattern.iter().map(|byte| byte.unwrap_or(7)).collect();
            for at in (0..whole.len()).filter(|at| pattern[*at].is_some()) {
                let mut wrong = whole.clone();
                wrong[at] ^= 0x55;
                assert_ne!(signature(&wrong), Ok(known), "{wrong:?}");
            }
        }
    }
}
