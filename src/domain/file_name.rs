//! The name that a file is shown under. It comes from a stranger's computer: nothing is looked up or stored by it.

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use unicode_segmentation::UnicodeSegmentation;

use crate::file_type::FileType;
use crate::text::{composed, is_blank};

/// The longest name, in characters (Unicode scalar values).
pub const MAX_NAME_CHARS: usize = 255;
/// The longest end of a name, in characters, that is kept when the name is cut.
const MAX_EXTENSION_CHARS: usize = 16;

/// A name that is safe to show: one line, without a folder, without characters that hide or reorder others, in Unicode's composed
/// form, at most [`MAX_NAME_CHARS`] long and not empty. It says nothing about what the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// Cleans the name that a client gives; `file.{extension}` if nothing is left of it.
    pub fn new(raw: &str, file_type: FileType) -> Self {
        let last = raw.rsplit(['/', '\\']).next().unwrap_or_default();
        let visible: String = without_tricks(&composed(last)).collect();
        // Again: an accent may stand beside its letter only now.
        let line = composed(&visible).split_whitespace().collect::<Vec<_>>().join(" ");
        let name = cut(&line, MAX_NAME_CHARS);
        // "." and ".." are folders, and more dots are no better.
        if is_blank(&name) || name.chars().all(|c| c == '.' || c == ' ') {
            return Self(format!("file.{}", file_type.extension()));
        }
        Self(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name to save the file under. It ends as the type's names do, so that no computer takes the file for something else:
    /// a JPEG that is called `photo.html` becomes `photo.html.jpg`.
    pub fn for_saving(&self, file_type: FileType) -> String {
        let ends_right = self
            .0
            .rsplit_once('.')
            .is_some_and(|(stem, end)| !stem.is_empty() && file_type.may_end_in(end));
        if ends_right {
            return self.0.clone();
        }
        let end = file_type.extension();
        let stem = cut(self.0.trim_end_matches(['.', ' ']), MAX_NAME_CHARS - end.len() - 1);
        format!("{stem}.{end}")
    }
}

/// The characters of a name that are shown as what they are. White space becomes spaces; controls, marks of direction and what else
/// is invisible are left out, except where writing needs it.
fn without_tricks(name: &str) -> impl Iterator<Item = char> {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let is_shown = move |c: char| !c.is_control() && !ignorable.contains(c);
    let mut before = None;
    let mut rest = name.chars();
    std::iter::from_fn(move || {
        loop {
            let c = rest.next()?;
            let after = rest.clone().next();
            let is_kept = match c {
                _ if c.is_whitespace() => true,
                // Between letters of Persian and Indic writing, and within emojis.
                '\u{200c}' | '\u{200d}' => before.is_some_and(joins) && after.is_some_and(|c| joins(c) && is_shown(c)),
                // Behind an emoji, or a digit that becomes one.
                '\u{fe0e}' | '\u{fe0f}' => before.is_some_and(|c| is_shown(c) && takes_selector(c)),
                _ => is_shown(c),
            };
            if is_kept {
                before = Some(c);
                return Some(if c.is_whitespace() { ' ' } else { c });
            }
        }
    })
}

/// Whether a character may stand beside a joiner.
fn joins(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace() && !matches!(c, '\u{200c}' | '\u{200d}')
}

/// Whether a character may be shown as an emoji: no letter of ours, but digits may.
fn takes_selector(c: char) -> bool {
    matches!(c, '0'..='9' | '#' | '*') || (!c.is_ascii() && !c.is_whitespace())
}

/// `name` with at most `max` characters. It is cut between characters as people see them, and its end is kept if it is short.
fn cut(name: &str, max: usize) -> String {
    if name.chars().nth(max).is_none() {
        return name.to_owned();
    }
    let (stem, end) = name
        .rfind('.')
        .filter(|at| *at > 0 && name[*at..].chars().nth(MAX_EXTENSION_CHARS + 1).is_none())
        .map_or((name, ""), |at| name.split_at(at));
    let mut left = max.saturating_sub(end.chars().count());
    let fits = |grapheme: &&str| {
        let length = grapheme.chars().count();
        let fits = length <= left;
        left = if fits { left - length } else { 0 };
        fits
    };
    let stem: String = stem.graphemes(true).take_while(fits).collect();
    // Nothing to join is left behind the cut.
    let stem = stem.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '\u{200c}' | '\u{200d}'));
    format!("{stem}{end}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(raw: &str) -> String {
        FileName::new(raw, FileType::Jpeg).0
    }

    #[test]
    fn a_name_is_the_last_part_of_a_path() {
        for (raw, expected) in [
            ("photo.jpg", "photo.jpg"),
            ("/home/anna/photo.jpg", "photo.jpg"),
            ("C:\\Users\\Anna\\photo.jpg", "photo.jpg"),
            ("..\\../photo.jpg", "photo.jpg"),
            ("Brief vom 3. Mai.pdf", "Brief vom 3. Mai.pdf"),
            (".hidden", ".hidden"),
        ] {
            assert_eq!(clean(raw), expected);
        }
    }

    #[test]
    fn a_name_of_which_nothing_is_left_is_replaced() {
        for raw in [
            "",
            ".",
            "..",
            "...",
            ". .",
            "/",
            "a/",
            "..\\",
            " \t",
            "\u{200b}",
            "\u{202e}\u{2066}",
            "\0",
            "\u{2800}",
            "\u{3164}",
        ] {
            assert_eq!(clean(raw), "file.jpg", "{raw:?}");
            assert_eq!(FileName::new(raw, FileType::Docx).as_str(), "file.docx");
        }
    }

    #[test]
    fn a_name_has_no_characters_that_hide_or_reorder_others() {
        for (raw, expected) in [
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
            ("\u{2067}a\u{2069}\u{61c}\u{200f}.pdf", "a.pdf"),
            ("pho\u{200d}to\u{200b}\u{feff}\u{ad}.jpg", "photo.jpg"),
            ("a\u{0}b\u{7f}\u{9b}\u{1b}[31m.jpg", "ab[31m.jpg"),
            ("tag\u{e0041}\u{e007f}.jpg", "tag.jpg"),
            ("a\r\nSet-Cookie: b.jpg", "a Set-Cookie: b.jpg"),
            ("  two \u{a0}\u{2003} words\u{2028}.jpg ", "two words .jpg"),
            ("x\u{fe0f}\u{e0101}.jpg", "x.jpg"),
        ] {
            assert_eq!(clean(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn what_writing_needs_is_kept() {
        for name in [
            "نامه\u{200c}ی من.pdf",
            "क्\u{200d}ष.pdf",
            "👨\u{200d}👩\u{200d}👧.jpg",
            "❤\u{fe0f}.jpg",
            "1\u{fe0f}\u{20e3}.jpg",
        ] {
            assert_eq!(clean(name), name);
        }
        // Composed, also when something invisible stood between the letter and its accent.
        assert_eq!(clean("u\u{308}ber.pdf"), "\u{fc}ber.pdf");
        assert_eq!(clean("u\u{200b}\u{308}ber.pdf"), "\u{fc}ber.pdf");
    }

    #[test]
    fn a_long_name_is_cut_before_its_end_and_between_graphemes() {
        let name = clean(&format!("{}.jpeg", "a".repeat(300)));
        assert_eq!(name, format!("{}.jpeg", "a".repeat(250)));
        assert_eq!(clean(&"a".repeat(255)), "a".repeat(255));
        assert_eq!(clean(&"ü".repeat(256)), "ü".repeat(255));
        // What stands behind the last dot is no usual end.
        assert_eq!(
            clean(&format!("a.{}", "b".repeat(300))),
            format!("a.{}", "b".repeat(253))
        );
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!(
            clean(&format!("{}.jpg", family.repeat(60))),
            format!("{}.jpg", family.repeat(50))
        );
        assert_eq!(clean(&format!("{} {}", "a".repeat(254), "b")), "a".repeat(254));
        // One grapheme that is longer than a name may be.
        assert_eq!(clean(&format!("a{}", "\u{323}".repeat(300))), "file.jpg");
    }

    #[test]
    fn a_file_is_saved_under_a_name_that_ends_as_its_type() {
        for (name, file_type, expected) in [
            ("photo.jpg", FileType::Jpeg, "photo.jpg"),
            ("photo.JPEG", FileType::Jpeg, "photo.JPEG"),
            ("photo.html", FileType::Jpeg, "photo.html.jpg"),
            ("photo.jpg", FileType::Pdf, "photo.jpg.pdf"),
            ("photo", FileType::Png, "photo.png"),
            ("photo.exe. .", FileType::Png, "photo.exe.png"),
            (".png", FileType::Png, ".png.png"),
        ] {
            assert_eq!(FileName::new(name, file_type).for_saving(file_type), expected);
        }
        let long = FileName::new(&"a".repeat(300), FileType::Docx).for_saving(FileType::Docx);
        assert_eq!(long, format!("{}.docx", "a".repeat(250)));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_the_name_keeps_its_promises(
            raw in any::<String>(),
            dots in "[./\\\\ \u{200d}\u{202e}\u{301}a👩]{0,300}",
        ) {
            for raw in [&raw, &dots, &format!("{raw}{dots}")] {
                let name = FileName::new(raw, FileType::Pdf);
                let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
                let is_needed = |c: char| matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}');
                let is_forbidden = |c: char| c.is_control() || matches!(c, '/' | '\\') || (ignorable.contains(c) && !is_needed(c));
                prop_assert!(!name.0.is_empty() && name.0.chars().count() <= MAX_NAME_CHARS);
                prop_assert!(!name.0.chars().any(is_forbidden));
                prop_assert_eq!(name.0.trim(), &name.0);
                prop_assert_eq!(&composed(&name.0), &name.0);
                prop_assert_eq!(&FileName::new(&name.0, FileType::Pdf), &name, "cleaning again changes nothing");
                let saved = name.for_saving(FileType::Pdf);
                prop_assert!(saved.chars().count() <= MAX_NAME_CHARS && saved.to_ascii_lowercase().ends_with(".pdf"));
            }
        }
    }
}
