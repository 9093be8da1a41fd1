//! Files that are made to kill what reads them. Each ends its own child, or is refused, and the next file is inspected.

use std::time::Instant;

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;
use cura_inspection::text::MAX_TEXT_BYTES;
use cura_providers::scan::{Inspection, TIME_LIMIT};
use cura_tests::bombs::{
    brackets, form_that_draws_itself, frames, one_colour_png, packed_document, packed_document_within, packed_objects,
    packed_page, pages_in_a_circle,
};

use super::{assert_the_next_one_is_inspected, inspector, scan};

/// What comes of a bomb, after it was shown to have done no harm.
async fn outcome(file_type: FileType, bytes: &[u8]) -> Inspection {
    let inspector = inspector();
    let begun = Instant::now();
    let outcome = scan(&inspector, file_type, bytes).await.unwrap();
    // A busy machine starts and ends processes late.
    assert!(begun.elapsed() < TIME_LIMIT * 2);
    assert_the_next_one_is_inspected(&inspector).await;
    outcome
}

fn assert_refused_or_dead(outcome: &Inspection) {
    assert!(
        matches!(outcome, Inspection::Refused(_) | Inspection::Died(_)),
        "{outcome:?}"
    );
}

/// Nothing is made of it, or no more than is allowed.
fn assert_harmless(outcome: &Inspection) {
    match outcome {
        Inspection::Inspected(inspected) => {
            let length: usize = inspected.text.pages.iter().map(String::len).sum();
            assert!(
                length <= MAX_TEXT_BYTES && inspected.findings.is_empty(),
                "{inspected:?}"
            );
        }
        Inspection::Refused(_) | Inspection::Died(_) => {}
        Inspection::NoSandbox(_) => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn a_pdf_of_440_megabytes_packed_into_two_does_no_harm() {
    assert_harmless(&outcome(FileType::Pdf, &packed_page()).await);
}

#[tokio::test]
async fn objects_of_440_megabytes_packed_into_two_do_no_harm() {
    assert_refused_or_dead(&outcome(FileType::Pdf, &packed_objects()).await);
}

#[tokio::test]
async fn twelve_thousand_brackets_are_refused_or_end_the_child() {
    assert_refused_or_dead(&outcome(FileType::Pdf, &brackets(12_000)).await);
}

#[tokio::test]
async fn a_form_that_draws_itself_and_pages_in_a_circle_do_no_harm() {
    for pdf in [form_that_draws_itself(), pages_in_a_circle()] {
        assert_harmless(&outcome(FileType::Pdf, &pdf).await);
    }
}

#[tokio::test]
async fn archives_that_become_too_large_are_refused() {
    for bytes in [packed_document(), packed_document_within()] {
        assert_eq!(
            outcome(FileType::Docx, &bytes).await,
            Inspection::Refused(FileReason::LimitsExceeded)
        );
    }
}

#[tokio::test]
async fn a_picture_of_900_megapixels_is_refused() {
    let bytes = one_colour_png(30_000, 30_000);
    assert_eq!(
        outcome(FileType::Png, &bytes).await,
        Inspection::Refused(FileReason::LimitsExceeded)
    );
    let allowed = outcome(FileType::Png, &one_colour_png(10_000, 5_000)).await;
    assert!(matches!(allowed, Inspection::Inspected(_)), "{allowed:?}");
}

#[tokio::test]
async fn a_picture_of_3000_frames_is_refused() {
    assert_eq!(
        outcome(FileType::Gif, &frames(3_000)).await,
        Inspection::Refused(FileReason::LimitsExceeded)
    );
    let allowed = outcome(FileType::Gif, &frames(1_000)).await;
    assert!(matches!(allowed, Inspection::Inspected(_)), "{allowed:?}");
}
