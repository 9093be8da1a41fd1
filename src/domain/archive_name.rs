//! The names of files in an archive of a person's data. Whatever system unpacks it takes them, and no two are equal.

use crate::FileId;
use crate::file_name::FileName;
use crate::file_type::FileType;

/// How long a name may be, in bytes, without its id and its end: file systems take 255 with both.
const LONGEST_STEM: usize = 200;

/// The path of a file in an archive: its id, which no other file has, and its name without what some systems refuse.
pub fn archive_name(id: FileId, name: &str, file_type: FileType) -> String {
    let name = FileName::new(name, file_type).for_saving(file_type);
    let (stem, end) = name.rsplit_once('.').unwrap_or((&name, file_type.extension()));
    let stem: String = stem.chars().map(portable).collect();
    let cut = &stem[..stem.floor_char_boundary(LONGEST_STEM)];
    format!("files/{id}-{}.{end}", cut.trim_end_matches(['.', ' ']))
}

/// Windows refuses some characters, and two are for folders.
const fn portable(c: char) -> char {
    match c {
        '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*' => '_',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_persons_behind_the_id() {
        for (name, file_type, expected) in [
            ("letter.pdf", FileType::Pdf, "files/7-letter.pdf"),
            (
                "Brief an Jürgen 1.2.docx",
                FileType::Docx,
                "files/7-Brief an Jürgen 1.2.docx",
            ),
            ("photo.html", FileType::Jpeg, "files/7-photo.html.jpg"),
            ("../../etc/passwd", FileType::Png, "files/7-passwd.png"),
            (
                "what? <now>: \"a|b*\".gif",
                FileType::Gif,
                "files/7-what_ _now__ _a_b__.gif",
            ),
            ("", FileType::Doc, "files/7-file.doc"),
            ("a. .pdf", FileType::Pdf, "files/7-a.pdf"),
        ] {
            assert_eq!(archive_name(FileId(7), name, file_type), expected, "{name:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_so_that_file_systems_take_it() {
        for letter in ["x", "ü", "語", "🦀"] {
            let name = archive_name(
                FileId(i64::MAX),
                &format!("{}.docx", letter.repeat(250)),
                FileType::Docx,
            );
            let file = name.strip_prefix("files/").unwrap();
            assert!(
                file.len() <= 255 && file.ends_with(".docx") && file.contains(letter),
                "{file}"
            );
        }
    }
}
