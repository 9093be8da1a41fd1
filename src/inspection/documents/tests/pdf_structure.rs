//! Files whose tables and objects do not fit together, made to show a viewer what their reader does not see; and ordinary ones.

use super::pdf::{PAGES, pdf};
use super::*;

const CATALOG: &str = "<< /Type /Catalog /Pages 2 0 R /OpenAction 3 0 R >>";
const HARMLESS: &str = "<< /Type /Action /S /GoTo >>";
const SCRIPT: &str = "<< /S /JavaScript /JS (x) >>";

fn of(bytes: &[u8]) -> Result<Vec<Finding>, FileReason> {
    findings(FileType::Pdf, bytes)
}

fn script() -> Result<Vec<Finding>, FileReason> {
    Ok(vec![Finding::PdfJavascript])
}

fn place_of(bytes: &[u8], part: &str) -> usize {
    let part = part.as_bytes();
    bytes.windows(part.len()).position(|bytes| bytes == part).unwrap()
}

/// A file that is written piece by piece.
struct Writer {
    bytes: Vec<u8>,
    table: usize,
}

impl Writer {
    fn new() -> Self {
        Self {
            bytes: b"%PDF-1.7\n".to_vec(),
            table: 0,
        }
    }

    /// An object, and where it begins.
    fn object(&mut self, number: u32, content: &str) -> usize {
        self.raw(&format!("{number} 0 obj\n{content}\nendobj\n"))
    }

    fn stream(&mut self, number: u32, dictionary: &str, content: &[u8]) -> usize {
        let at = self.raw(&format!(
            "{number} 0 obj\n<< {dictionary} /Length {} >>\nstream\n",
            content.len()
        ));
        self.bytes.extend_from_slice(content);
        self.raw("\nendstream\nendobj\n");
        at
    }

    fn raw(&mut self, text: &str) -> usize {
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.len() - text.len()
    }

    /// The table of references, and what stands behind it.
    fn table(&mut self, entries: &[(u32, usize)], trailer: &str) {
        let table = self.raw("xref\n0 1\n0000000000 65535 f \n");
        for (number, at) in entries {
            self.raw(&format!("{number} 1\n{at:010} 00000 n \n"));
        }
        self.table = table;
        self.raw(&format!(
            "trailer\n<< /Size 20 /Root 1 0 R {trailer} >>\nstartxref\n{table}\n%%EOF\n"
        ));
    }

    /// A table as a stream: number, then kind, place and index of each.
    fn table_stream(&mut self, number: u32, entries: &[(u32, [usize; 3])], dictionary: &str) -> usize {
        let index: String = entries.iter().map(|(number, _)| format!("{number} 1 ")).collect();
        let rows: Vec<u8> = entries
            .iter()
            .flat_map(|(_, row)| {
                row.iter()
                    .flat_map(|field| u32::try_from(*field).unwrap().to_be_bytes())
            })
            .collect();
        let head = format!("/Type /XRef /Size 20 /W [4 4 4] /Index [ {index}] {dictionary}");
        self.stream(number, &head, &rows)
    }

    /// The catalog and its pages, and where they begin.
    fn first(&mut self) -> Vec<(u32, usize)> {
        vec![(1, self.object(1, CATALOG)), (2, self.object(2, PAGES))]
    }
}

/// What a file says in which each entry and object is as it should be but for one script.
fn with(write: impl FnOnce(&mut Writer, &mut Vec<(u32, usize)>)) -> Result<Vec<Finding>, FileReason> {
    let mut file = Writer::new();
    let mut entries = file.first();
    write(&mut file, &mut entries);
    file.table(&entries, "");
    of(&file.bytes)
}

#[test]
fn an_object_that_hides_behind_another_of_its_number_is_found() {
    let found = with(|file, entries| {
        entries.push((3, file.object(3, SCRIPT)));
        // The reader takes this for the third one, because it says so.
        entries.push((9, file.object(3, HARMLESS)));
    });
    assert_eq!(found, script());
    let harmless = with(|file, entries| {
        entries.push((3, file.object(3, HARMLESS)));
        entries.push((9, file.object(3, HARMLESS)));
    });
    assert_eq!(harmless, Ok(vec![]));
}

#[test]
fn an_object_beside_the_place_that_is_listed_is_found() {
    for off in [1, 3] {
        let found = with(|file, entries| {
            let at = file.object(3, SCRIPT);
            entries.push((3, at + off));
        });
        assert_eq!(found, script());
    }
    // At no place of the file, or not listed at all: viewers search for it.
    for at in [None, Some(0), Some(1_000_000)] {
        let found = with(|file, entries| {
            file.object(3, SCRIPT);
            entries.extend(at.map(|at| (3, at)));
        });
        assert_eq!(found, script());
    }
}

#[test]
fn an_object_with_an_odd_header_that_cannot_be_read_is_not_left_out() {
    let deep = format!("<< /X {}{} /JS (x) >>", "[".repeat(1_000), "]".repeat(1_000));
    for (before, header) in [
        ("", "003 0 obj "),
        ("%c\n", "3 0 obj "),
        ("\0", "3\0%c\r0 obj "),
        ("", "3 00 obj"),
    ] {
        let of = |content: &str| {
            with(|file, entries| {
                let at = file.raw(&format!("{before}{header}{content} endobj\n"));
                entries.push((3, at));
            })
        };
        assert_eq!(of(&deep), script(), "{header}");
        assert_eq!(of(SCRIPT), script(), "{header}");
        assert_eq!(of(HARMLESS), Ok(vec![]), "{header}");
    }
}

#[test]
fn a_number_that_is_listed_twice_in_a_stream_of_objects_is_not_read() {
    let of = |content: &str, first: usize, count: usize| {
        let mut file = Writer::new();
        let entries = file.first();
        let packed = file.stream(
            5,
            &format!("/Type /ObjStm /N {count} /First {first}"),
            content.as_bytes(),
        );
        let mut rows: Vec<_> = entries.iter().map(|(number, at)| (*number, [1, *at, 0])).collect();
        rows.extend([(3, [2, 5, 0]), (5, [1, packed, 0])]);
        let table = file.table_stream(6, &rows, "/Root 1 0 R");
        file.raw(&format!("startxref\n{table}\n%%EOF\n"));
        super::findings(FileType::Pdf, &file.bytes)
    };
    let twice = format!("3 0 3 29 {SCRIPT} {HARMLESS}");
    assert_eq!(of(&twice, 9, 2), Err(FileReason::Unreadable));
    assert_eq!(of(&format!("3 0 4 29 {SCRIPT} {HARMLESS}"), 9, 2), script());
    assert_eq!(of(&format!("3 0 {HARMLESS}"), 4, 1), Ok(vec![]));
    // What no entry leads to is there all the same.
    assert_eq!(of(&format!("3 0 {HARMLESS} {SCRIPT}"), 4, 1), script());
    // Fewer than it says.
    assert_eq!(of(&format!("3 0 {HARMLESS}"), 4, 2), Err(FileReason::Unreadable));
}

#[test]
fn a_stream_of_objects_that_may_be_unpacked_in_two_ways_is_not_read() {
    let content = format!("3 0 {HARMLESS}");
    let of = |more: &str, length: usize| {
        with(|file, entries| {
            let at = file.raw(&format!(
                "5 0 obj << {more} /N 1 /First 4 /Length {length} >>\nstream\n{content}\nendstream endobj\n"
            ));
            entries.push((5, at));
        })
    };
    assert_eq!(of("/Type /ObjStm", content.len()), Ok(vec![]));
    assert_eq!(of("", content.len()), Ok(vec![]));
    for more in [
        "/Type /ObjStm /Filter /ASCIIHexDecode",
        "/Filter /ASCIIHexDecode",
        "/Type /ObjStm /F /AHx",
        "/Type /ObjStm /DP << >>",
        "/Type /ObjStm /DecodeParms [ << /Predictor 12 >> ]",
        "/Type /Obj#53tm /Decode#50arms [ << /Predictor 12 >> ]",
        "/DecodeParms [ << /Predictor 12 >> ]",
    ] {
        assert_eq!(of(more, content.len()), Err(FileReason::Unreadable), "{more}");
    }
    assert_eq!(of("/Type /ObjStm", 4), Err(FileReason::Unreadable));
}

#[test]
fn an_object_in_whose_place_a_packed_one_is_read_is_found() {
    let of = |content: &str| {
        with(|file, entries| {
            entries.push((9, file.object(9, content)));
            entries.push((5, file.stream(5, "/Type /ObjStm /N 1 /First 4", b"9 0 null")));
        })
    };
    assert_eq!(of("<</K <(> /S/JavaScript /JS<41> /Z <)> >>"), script());
    assert_eq!(of(HARMLESS), Ok(vec![]));
}

#[test]
fn an_object_within_a_stream_or_a_text_is_found_whatever_its_header_looks_like() {
    for header in ["9 0obj", "9 0%\nobj", "9 0 % a comment\r obj", "9 0 obj"] {
        let of = |action: &str| {
            let stream = with(|file, entries| {
                let at = file.stream(3, "", format!("{header}{action} endobj").as_bytes());
                let hidden = at + place_of(&file.bytes[at..], header);
                let harmless = file.object(9, HARMLESS);
                entries.extend([(3, at), (9, hidden), (9, harmless)]);
            });
            let text = with(|file, entries| {
                let content = format!("<< /Title ({header}{action} endobj) >>");
                entries.push((3, file.object(3, &content.replace("(x)", "<41>"))));
            });
            [stream, text]
        };
        assert_eq!(of("<</S/JavaScript/JS(x)>>"), [script(), script()], "{header}");
        assert_eq!(of("<</S/GoTo>>"), [Ok(vec![]), Ok(vec![])], "{header}");
    }
}

#[test]
fn what_stands_between_packed_objects_does_not_hide_any() {
    let of = |between: &str, action: &str| {
        with(|file, entries| {
            let first = format!("null {between} ");
            let list = format!("3 0 4 {} ", first.len());
            let content = format!("{list}{first}{action}");
            let dictionary = format!("/Type /ObjStm /N 2 /First {}", list.len());
            entries.push((5, file.stream(5, &dictionary, content.as_bytes())));
        })
    };
    for between in ["(", "%", "<", " stream"] {
        let found = of(between, "<</S/Launch/F(x)/S/URI>>");
        assert_eq!(found, Ok(vec![Finding::PdfLaunch]), "{between}");
        assert_eq!(of(between, HARMLESS), Ok(vec![]), "{between}");
    }
}

#[test]
fn an_object_that_only_our_reader_cannot_read_does_not_make_a_file_unreadable() {
    for odd in ["", "-", "."] {
        assert_eq!(of(&pdf(&[CATALOG, PAGES, HARMLESS, odd], "")), Ok(vec![]), "{odd}");
        let script_beside = format!("<< /X {odd}<(> /S /JavaScript >>");
        assert_eq!(of(&pdf(&[CATALOG, PAGES, &script_beside], "")), script(), "{odd}");
    }
    // A stream of objects that cannot be read is none that is left out.
    let broken = "<< /Type /ObjStm /N 1 /First 4 /X <(> /Length 8 >>\nstream\n9 0 null\nendstream";
    assert_eq!(of(&pdf(&[CATALOG, PAGES, broken], "")), Err(FileReason::Unreadable));
}

/// A file with a table, and one as a stream for whoever knows those, as Word writes it.
fn hybrid(packed: &[u8], has_previous: bool, is_updated: bool) -> Vec<u8> {
    let mut file = Writer::new();
    let entries = file.first();
    let packed = file.stream(5, "/Type /ObjStm /N 1 /First 4", packed);
    let stream = file.table_stream(6, &[(3, [2, 5, 0]), (5, [1, packed, 0])], "/Root 1 0 R");
    file.table(&entries, "");
    if has_previous {
        let previous = file.table;
        file.table(&[], &format!("/Prev {previous} /XRefStm {stream}"));
    } else {
        file.table(&entries, &format!("/XRefStm {stream}"));
    }
    if is_updated {
        let page = file.object(7, "<< /Type /Annot /Contents (The object of it) >>");
        let previous = file.table;
        file.table(&[(7, page)], &format!("/Prev {previous}"));
    }
    file.bytes
}

#[test]
fn objects_that_only_newer_viewers_see_are_found() {
    for has_previous in [false, true] {
        for is_updated in [false, true] {
            let of = |content: &str| of(&hybrid(format!("3 0 {content}").as_bytes(), has_previous, is_updated));
            assert_eq!(of(SCRIPT), script(), "{has_previous} {is_updated}");
            assert_eq!(of(HARMLESS), Ok(vec![]), "{has_previous} {is_updated}");
            assert_eq!(of("<< /X [ "), Err(FileReason::Unreadable));
        }
    }
}

#[test]
fn a_kind_that_is_an_object_and_forms_with_scripts_are_found() {
    let objects = |third: &str, fourth: &str| of(&pdf(&[CATALOG, PAGES, third, fourth], ""));
    assert_eq!(
        objects("<< /S 4 0 R /F (cmd.exe) >>", "/Launch"),
        Ok(vec![Finding::PdfLaunch])
    );
    assert_eq!(objects("<< /S 4 0 R >>", "/JavaScript"), script());
    assert_eq!(objects("<< /XFA [ (template) 4 0 R ] >>", "null"), script());
    // Of two values for a key, viewers take the first or the last one.
    assert_eq!(
        objects("<< /S /Launch /S /GoTo >>", "null"),
        Ok(vec![Finding::PdfLaunch])
    );
}

#[test]
fn only_what_says_how_a_file_was_encrypted_may_be_missing() {
    let file = include_bytes!("../../../../tests/fixtures/files/encrypted.pdf");
    assert_eq!(of(file), Ok(vec![]));
    // An object that is nested too deeply for the reader; names are searched for in it, which are never encrypted.
    let deep = include_bytes!("../../../../tests/fixtures/files/encrypted_deep.pdf");
    assert_eq!(of(deep), Ok(vec![]));
}

#[test]
fn ordinary_files_are_read() {
    // Two versions of an object, and one that is gone.
    let mut file = Writer::new();
    let mut entries = file.first();
    entries.push((3, file.object(3, HARMLESS)));
    entries.push((
        4,
        file.object(4, "<< /Title (The obj of 4 0) /First 3 0 R /Last 3 0 R >>"),
    ));
    file.table(&entries, "");
    let previous = file.table;
    let newer = file.object(3, "<< /S /URI /URI (https://example.com/Web/JavaScript/Guide) >>");
    let table = file.raw(&format!(
        "xref\n0 1\n0000000004 65535 f \n3 2\n{newer:010} 00000 n \n0000000000 00001 f \n"
    ));
    file.raw(&format!(
        "trailer\n<< /Size 20 /Root 1 0 R /Prev {previous} >>\nstartxref\n{table}\n%%EOF\n"
    ));
    assert_eq!(of(&file.bytes), Ok(vec![]));
    // As programs write them: with objects in streams, for the net, and with changes behind the end.
    let linearized = include_bytes!("../../../../tests/fixtures/files/linearized.pdf");
    assert_eq!(of(linearized), Ok(vec![]));
    let updated = include_bytes!("../../../../tests/fixtures/files/updated.pdf");
    assert_eq!(of(updated), Ok(vec![]));
    // Words in streams and comments are words.
    let stream = "(an object of /JavaScript) /Launch";
    let content = format!(
        "<< /Length {} >> % /JavaScript\nstream\n{stream}\nendstream",
        stream.len()
    );
    assert_eq!(of(&pdf(&[CATALOG, PAGES, &content], "")), Ok(vec![]));
    // An outline of an older version.
    let outline = with(|file, entries| {
        file.object(3, "<< /Title (The object of study) /First 4 0 R /Count 1 >>");
        entries.push((3, file.object(3, HARMLESS)));
    });
    assert_eq!(outline, Ok(vec![]));
}

#[test]
fn an_end_that_is_followed_by_much_is_found_as_far_as_the_type_allows() {
    let ordinary = pdf(&[CATALOG, PAGES, HARMLESS], "");
    let followed_by = |count: usize| [ordinary.as_slice(), &vec![b'\n'; count]].concat();
    for count in [0, 500, 510, 600, 1_010] {
        assert_eq!(of(&followed_by(count)), Ok(vec![]), "{count}");
    }
    assert_eq!(of(&followed_by(1_100)), Err(FileReason::Unreadable));
    // What stands behind the mark counts, too.
    let mut bytes = followed_by(600);
    bytes.extend_from_slice(format!("9 0 obj {SCRIPT} endobj").as_bytes());
    assert_eq!(of(&bytes), script());
    let before = [b"x", ordinary.as_slice()].concat();
    assert_eq!(of(&before), Err(FileReason::Unreadable));
    assert_eq!(place_of(&ordinary, "%PDF-"), 0);
}
