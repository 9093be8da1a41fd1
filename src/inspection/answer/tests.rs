use cura_domain::file_type::FileType;
use image::{DynamicImage, ImageFormat, RgbaImage};

use super::*;
use crate::pictures::{for_model_and_lists, for_profile};
use crate::request::{Request, Wanted};

const fn asked(file_type: FileType, wanted: Wanted) -> Request {
    Request::Inspect {
        file_type,
        wanted,
        size: 9,
    }
}

const DOCUMENT: Request = asked(FileType::Docx, Wanted::Scan);
const PICTURE: Request = asked(FileType::Png, Wanted::Scan);
const AVATAR: Request = asked(FileType::Png, Wanted::Avatar);

fn document() -> Inspected {
    Inspected {
        findings: vec![Finding::Macros, Finding::PdfLaunch],
        text: DocumentText {
            pages: vec!["Dear Sir,".into(), String::new(), "ä\nb".into()],
            page_count: Some(7),
            is_cut: true,
        },
        ..Inspected::default()
    }
}

/// A PNG, transparent or not.
fn png_of(width: u32, height: u32, alpha: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let pixels = DynamicImage::from(RgbaImage::from_pixel(width, height, image::Rgba([9, 99, 199, alpha])));
    pixels.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// What is made of a picture twice as wide as high.
fn picture(alpha: u8) -> Inspected {
    let made = for_model_and_lists(FileType::Png, &png_of(4_000, 2_000, alpha)).unwrap();
    Inspected {
        large: Some(made.large),
        small: Some(made.small),
        ..Inspected::default()
    }
}

fn avatar() -> Inspected {
    let made = for_profile(FileType::Png, &png_of(700, 900, 255)).unwrap();
    Inspected {
        large: Some(made.large),
        small: Some(made.small),
        ..Inspected::default()
    }
}

fn written(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    answer.write(&mut bytes).unwrap();
    bytes
}

/// What the parent reads of what a child has said.
fn read(request: Request, inspected: Inspected) -> Option<Answer> {
    Answer::read(&written(&Answer::Inspected(inspected)), request)
}

#[test]
fn an_answer_is_read_as_it_was_written() {
    let empty_page = DocumentText {
        pages: vec![String::new()],
        page_count: Some(1),
        is_cut: false,
    };
    for (request, answer) in [
        (DOCUMENT, Answer::Inspected(document())),
        (PICTURE, Answer::Inspected(picture(255))),
        (PICTURE, Answer::Inspected(picture(9))),
        (AVATAR, Answer::Inspected(avatar())),
        (DOCUMENT, Answer::Inspected(Inspected::default())),
        (
            DOCUMENT,
            Answer::Inspected(Inspected {
                text: empty_page,
                ..Inspected::default()
            }),
        ),
        (DOCUMENT, Answer::Refused(FileReason::Encrypted)),
        (AVATAR, Answer::Refused(FileReason::Unreadable)),
        (PICTURE, Answer::Refused(FileReason::LimitsExceeded)),
        (Request::Probe, Answer::Confined(Landlock::Partial)),
        (Request::Probe, Answer::NoSandbox("no seccomp".into())),
        (PICTURE, Answer::NoSandbox("no seccomp".into())),
    ] {
        assert_eq!(Answer::read(&written(&answer), request), Some(answer));
    }
}

#[test]
fn what_is_no_answer_to_the_request_is_not_read() {
    for (request, answer) in [
        (Request::Probe, Answer::Refused(FileReason::Encrypted)),
        (Request::Probe, Answer::Inspected(Inspected::default())),
        (DOCUMENT, Answer::Confined(Landlock::Full)),
        // For the scanner to say, and for whoever asks it.
        (DOCUMENT, Answer::Refused(FileReason::Malware)),
        (DOCUMENT, Answer::Refused(FileReason::ScannerUnavailable)),
        // A document that looks like a picture, and the other way round.
        (DOCUMENT, Answer::Inspected(picture(255))),
        (PICTURE, Answer::Inspected(document())),
        (PICTURE, Answer::Inspected(Inspected::default())),
        (
            asked(FileType::Docx, Wanted::Avatar),
            Answer::Inspected(Inspected::default()),
        ),
        (asked(FileType::Docx, Wanted::Avatar), Answer::Inspected(avatar())),
        // Not square, and too large for a list.
        (AVATAR, Answer::Inspected(picture(255))),
    ] {
        assert_eq!(Answer::read(&written(&answer), request), None, "{request:?} {answer:?}");
    }
    let with = |request, inspected: Inspected, change: &dyn Fn(&mut Inspected)| {
        let mut inspected = inspected;
        change(&mut inspected);
        read(request, inspected)
    };
    for (request, inspected) in [(PICTURE, picture(255)), (AVATAR, avatar())] {
        assert!(with(request, inspected.clone(), &|_| {}).is_some());
        let changes: [&dyn Fn(&mut Inspected); 7] = [
            &|it| it.large = None,
            &|it| it.small = None,
            &|it| it.small = it.large.clone(),
            &|it| it.findings.push(Finding::Macros),
            &|it| it.text.pages.push(String::new()),
            &|it| it.text.page_count = Some(1),
            &|it| it.large.as_mut().unwrap().bytes.extend(b"PK\x05\x06"),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert_eq!(with(request, inspected.clone(), change), None, "{number}");
        }
    }
    assert_eq!(with(DOCUMENT, document(), &|it| it.small = picture(255).small), None);
}

#[test]
fn no_part_of_an_answer_and_nothing_behind_it_is_read() {
    for (request, inspected) in [(DOCUMENT, document()), (AVATAR, avatar())] {
        let bytes = written(&Answer::Inspected(inspected));
        for length in 0..bytes.len() {
            assert_eq!(Answer::read(&bytes[..length], request), None, "{length}");
        }
        assert_eq!(Answer::read(&[&bytes[..], b"!"].concat(), request), None);
    }
}

#[test]
fn what_is_larger_than_allowed_or_is_no_picture_is_not_read() {
    let document_with = |change: &dyn Fn(&mut Inspected)| {
        let mut inspected = document();
        change(&mut inspected);
        read(DOCUMENT, inspected)
    };
    assert!(document_with(&|_| {}).is_some());
    assert_eq!(document_with(&|it| it.findings = vec![Finding::Macros; 5]), None);
    assert_eq!(
        document_with(&|it| it.text.pages = vec!["x".repeat(MAX_TEXT_BYTES + 1)]),
        None
    );
    assert!(document_with(&|it| it.text.pages = vec!["x".repeat(MAX_TEXT_BYTES), String::new()]).is_some());
    let picture_with = |change: &dyn Fn(&mut Picture)| {
        let mut inspected = picture(255);
        change(inspected.small.as_mut().unwrap());
        read(PICTURE, inspected)
    };
    assert!(picture_with(&|_| {}).is_some());
    // Behind the pixels that are coded there is room for more that are.
    let grown = |it: &mut Picture, to: usize| {
        let end = it.bytes.split_off(it.bytes.len() - 2);
        it.bytes.resize(to - 2, 0);
        it.bytes.extend(end);
    };
    assert!(picture_with(&|it| grown(it, MAX_PICTURE_BYTES)).is_some());
    assert_eq!(picture_with(&|it| grown(it, MAX_PICTURE_BYTES + 1)), None);
    for side in [0, 319, 30_000] {
        assert_eq!(picture_with(&|it| it.width = side), None);
        assert_eq!(picture_with(&|it| it.height = side), None);
    }
    for bytes in [&b"GIF89a"[..], b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"] {
        assert_eq!(picture_with(&|it| it.bytes = bytes.to_vec()), None);
    }
    let mut bytes = written(&Answer::Refused(FileReason::Encrypted));
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Answer::read(&bytes, DOCUMENT), None);
}

#[test]
fn more_pages_than_are_told_apart_are_cut_and_a_form_feed_ends_no_page() {
    let text = DocumentText {
        pages: vec!["a\u{c}b".into(); MAX_PAGES + 1],
        ..DocumentText::default()
    };
    let inspected = Inspected {
        text,
        ..Inspected::default()
    };
    let Some(Answer::Inspected(read)) = read(DOCUMENT, inspected) else {
        panic!("it is an answer")
    };
    assert_eq!((read.text.pages.len(), read.text.is_cut), (MAX_PAGES, true));
    assert_eq!(read.text.pages[0], "a\nb");
}

#[test]
fn pages_that_no_child_of_ours_tells_apart_are_not_read() {
    let of = |page_ends: usize| {
        let head = format!(
            r#"{{"inspected":{{"findings":[],"text":{{"length":{page_ends},"page_count":null,"is_cut":false}},"large":null,"small":null}}}}"#
        );
        let length = u32::try_from(head.len()).unwrap().to_le_bytes();
        Answer::read(
            &[&length[..], head.as_bytes(), &vec![0xc; page_ends]].concat(),
            DOCUMENT,
        )
    };
    assert!(of(MAX_PAGES - 1).is_some());
    for page_ends in [MAX_PAGES, MAX_PAGES + MAX_TEXT_BYTES, 7_000_000] {
        assert_eq!(of(page_ends), None);
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, at: proptest::sample::Index, byte: u8) {
        for request in [DOCUMENT, PICTURE, Request::Probe] {
            let _ = Answer::read(&bytes, request);
        }
        let mut changed = written(&Answer::Inspected(document()));
        let at = at.index(changed.len());
        changed[at] = byte;
        let _ = Answer::read(&changed, DOCUMENT);
    }
}
