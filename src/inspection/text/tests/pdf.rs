use std::time::Duration;

use super::samples::{HELVETICA, JAPANESE, line, pdf_of};
use super::*;

const LONG: Duration = Duration::from_secs(600);

/// The text, however busy the machine is.
fn pdf(bytes: &[u8]) -> DocumentText {
    let document = crate::documents::pdf::open(bytes).unwrap();
    crate::text::pdf::text_within(&document, LONG, LONG).unwrap()
}

#[test]
fn reading_a_pdf_ends_in_time_with_what_was_read() {
    let line = line("text", 700);
    let bytes = pdf_of(&[(HELVETICA, &line), (HELVETICA, &line)]);
    let document = crate::documents::pdf::open(&bytes).unwrap();
    for (taken, busy) in [(Duration::ZERO, LONG), (LONG, Duration::ZERO)] {
        let text = crate::text::pdf::text_within(&document, taken, busy).unwrap();
        assert_eq!((text.page_count, text.is_cut), (Some(2), true));
        assert!(text.pages.concat().is_empty());
    }
}

#[test]
fn each_page_of_a_pdf_has_its_text() {
    let first = [
        line("The patient prefers zebras.", 700),
        line("Gr\\374\\337e \\200 5", 680),
    ]
    .concat();
    let second = line("Second page", 700);
    let text = pdf(&pdf_of(&[
        (HELVETICA, &first),
        (HELVETICA, "q Q"),
        (HELVETICA, &second),
    ]));
    assert_eq!(text.page_count, Some(3));
    assert_eq!(text.pages.len(), 3);
    let lines: Vec<&str> = text.pages[0].lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, ["The patient prefers zebras.", "Grüße € 5"]);
    assert_eq!(text.pages[1..], ["", "Second page"]);
    assert!(!text.is_cut);
}

#[test]
fn a_page_at_which_the_reader_gives_up_does_not_take_the_others_away() {
    let good = line("good", 700);
    let bad = [line("before", 700), line("bad", 680)].concat();
    let text = pdf(&pdf_of(&[
        (JAPANESE, &bad),
        (HELVETICA, &good),
        (JAPANESE, &bad),
        (JAPANESE, &bad),
        (HELVETICA, &good),
        (JAPANESE, &bad),
    ]));
    assert_eq!(text.page_count, Some(6));
    assert_eq!(text.pages, ["", "good", "", "", "good", ""]);
}

#[test]
fn a_scanned_pdf_has_pages_without_text() {
    let scan = include_bytes!("../../../../tests/fixtures/files/scan.pdf");
    let text = pdf(scan);
    assert_eq!(text.page_count, Some(1));
    assert_eq!(text.pages.concat(), "");
    assert!(!text.is_cut);
}

#[test]
fn a_long_pdf_is_cut_and_its_pages_are_counted() {
    let content: String = (0..40).map(|n| line(&"long text ".repeat(30), 800 - n * 15)).collect();
    let pages = vec![(HELVETICA, content.as_str()); 100];
    let text = pdf(&pdf_of(&pages));
    assert!(text.is_cut);
    assert_eq!(text.page_count, Some(100));
    let length: usize = text.pages.iter().map(String::len).sum();
    assert!(length <= MAX_TEXT_BYTES && length > MAX_TEXT_BYTES - 100, "{length}");
    assert!(text.pages.len() < 100 && text.pages.len() > 10, "{}", text.pages.len());
}

#[test]
fn all_of_three_hundred_pages_are_read() {
    let contents: Vec<String> = (1..=300)
        .map(|n| line(&format!("Page {n} of a long letter"), 700))
        .collect();
    for font in [HELVETICA, JAPANESE] {
        // The first one makes the reader give up where it is Japanese.
        let pages: Vec<(&str, &str)> = contents
            .iter()
            .enumerate()
            .map(|(n, content)| (if n % 2 == 0 { font } else { HELVETICA }, content.as_str()))
            .collect();
        let text = pdf(&pdf_of(&pages));
        assert_eq!(
            (text.pages.len(), text.page_count, text.is_cut),
            (300, Some(300), false)
        );
        assert_eq!(text.pages[299], "Page 300 of a long letter");
    }
}
