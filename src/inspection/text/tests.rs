mod hostile;
mod pdf;
mod samples;
mod word;
mod word_97;

use super::*;

/// The text of a document without pages.
fn of(file_type: FileType, bytes: &[u8]) -> String {
    let text = text_of(file_type, bytes).unwrap();
    assert!(
        text.pages.len() <= 1 && text.page_count.is_none() && !text.is_cut,
        "{text:?}"
    );
    text.pages.concat()
}
