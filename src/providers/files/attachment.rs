//! `Content-Disposition` of a file that is downloaded.

use std::fmt::Write;

/// The value of `Content-Disposition` that saves a file under this name, whatever characters it has (RFC 6266, section 4.3).
pub fn attachment(file_name: &str) -> String {
    let mut value = "attachment; filename*=UTF-8''".to_owned();
    for byte in file_name.bytes() {
        // `attr-char` of RFC 8187, section 3.2.1.
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            value.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_within_its_header() {
        for (name, value) in [
            ("letter.pdf", "letter.pdf"),
            ("a b.pdf", "a%20b.pdf"),
            ("Größe.pdf", "Gr%C3%B6%C3%9Fe.pdf"),
            ("a\"; b=\r\nc:'%", "a%22%3B%20b%3D%0D%0Ac%3A%27%25"),
        ] {
            assert_eq!(attachment(name), format!("attachment; filename*=UTF-8''{value}"));
        }
    }
}
