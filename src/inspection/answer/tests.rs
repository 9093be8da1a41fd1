use super::*;

fn picture(encoding: Encoding, rest: &[u8]) -> Picture {
    Picture {
        encoding,
        width: 1_568,
        height: 1,
        bytes: [encoding.signature(), rest].concat(),
    }
}

fn full() -> Inspected {
    Inspected {
        findings: vec![Finding::Macros, Finding::PdfLaunch],
        text: DocumentText {
            pages: vec!["Dear Sir,".into(), String::new(), "ä\nb".into()],
            page_count: Some(7),
            is_cut: true,
        },
        large: Some(picture(Encoding::Png, b"large")),
        small: Some(picture(Encoding::Jpeg, b"")),
    }
}

fn written(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    answer.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn an_answer_is_read_as_it_was_written() {
    let empty_page = DocumentText {
        pages: vec![String::new()],
        page_count: Some(1),
        is_cut: false,
    };
    for answer in [
        Answer::Inspected(full()),
        Answer::Inspected(Inspected::default()),
        Answer::Inspected(Inspected {
            text: empty_page,
            ..Inspected::default()
        }),
        Answer::Refused(FileReason::Encrypted),
        Answer::Confined(Landlock::Partial),
        Answer::NoSandbox("no seccomp".into()),
    ] {
        assert_eq!(Answer::read(&written(&answer)), Some(answer));
    }
}

#[test]
fn no_part_of_an_answer_and_nothing_behind_it_is_read() {
    let bytes = written(&Answer::Inspected(full()));
    for length in 0..bytes.len() {
        assert_eq!(Answer::read(&bytes[..length]), None, "{length}");
    }
    assert_eq!(Answer::read(&[&bytes[..], b"!"].concat()), None);
}

#[test]
fn what_is_larger_than_allowed_or_is_no_picture_is_not_read() {
    let with = |change: &dyn Fn(&mut Inspected)| {
        let mut inspected = full();
        change(&mut inspected);
        Answer::read(&written(&Answer::Inspected(inspected)))
    };
    assert!(with(&|_| {}).is_some());
    assert_eq!(with(&|it| it.findings = vec![Finding::Macros; 5]), None);
    assert_eq!(with(&|it| it.text.pages = vec!["x".repeat(MAX_TEXT_BYTES + 1)]), None);
    assert!(with(&|it| it.text.pages = vec!["x".repeat(MAX_TEXT_BYTES), String::new()]).is_some());
    assert_eq!(
        with(&|it| it.large = Some(picture(Encoding::Png, &vec![0; MAX_PICTURE_BYTES]))),
        None
    );
    for side in [0, 30_000] {
        assert_eq!(with(&|it| it.small.as_mut().unwrap().width = side), None);
        assert_eq!(with(&|it| it.small.as_mut().unwrap().height = side), None);
    }
    assert_eq!(with(&|it| it.small.as_mut().unwrap().bytes = b"GIF89a".to_vec()), None);
    let mut bytes = written(&Answer::Refused(FileReason::Malware));
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Answer::read(&bytes), None);
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
    let Some(Answer::Inspected(read)) = Answer::read(&written(&Answer::Inspected(inspected))) else {
        panic!("it is an answer")
    };
    assert_eq!((read.text.pages.len(), read.text.is_cut), (MAX_PAGES, true));
    assert_eq!(read.text.pages[0], "a\nb");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, at: proptest::sample::Index, byte: u8) {
        let _ = Answer::read(&bytes);
        let mut changed = written(&Answer::Inspected(full()));
        let at = at.index(changed.len());
        changed[at] = byte;
        let _ = Answer::read(&changed);
    }
}
