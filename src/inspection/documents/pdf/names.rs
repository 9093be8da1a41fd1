//! Names in the bytes of a file, whatever its tables say.

use std::collections::HashSet;

/// The longest name that is looked for, in bytes.
const LONGEST: usize = 12;

/// What the names say.
#[derive(Default)]
pub(super) struct Names {
    pub(super) javascript: bool,
    pub(super) launch: bool,
    /// The places behind the headers of objects that were not read and may be streams of objects.
    pub(super) unlisted: Vec<usize>,
    /// Whether objects are packed in a way in which no known program packs them, and which readers may understand differently.
    pub(super) is_unclear: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In an object that was read, outside of its stream: what is in a text or in a comment there is known to be only words.
    Read,
    /// In the stream of such an object, in which nothing is an object.
    Stream,
    /// Anywhere else. What is a text depends on where one begins to read.
    Unread,
}

/// The names in a file whose objects behind these headers were read.
pub(super) fn in_file(bytes: &[u8], bodies: &HashSet<usize>) -> Names {
    let mut search = Search::new(bytes, Place::Unread);
    while let Some(byte) = bytes.get(search.at) {
        if *byte == b'o' && search.is_end_of_header() {
            search.at += 3;
            let is_read = bodies.contains(&search.at);
            search.enter(if is_read { Place::Read } else { Place::Unread });
        } else {
            search.step(*byte);
        }
    }
    search.names
}

/// The names in what was unpacked from a stream of objects, which begin at these places, in order.
pub(super) fn in_packed(bytes: &[u8], objects: &[usize]) -> Names {
    let mut search = Search::new(bytes, Place::Read);
    let mut objects = objects.iter().peekable();
    while let Some(byte) = bytes.get(search.at) {
        while let Some(object) = objects.next_if(|object| **object <= search.at) {
            // What stands before it, or around it, would hide it.
            if *object < search.at || !search.is_between_words() {
                return in_unread(bytes);
            }
        }
        search.step(*byte);
        // No stream can be packed.
        if search.place == Place::Stream {
            return in_unread(bytes);
        }
    }
    search.names
}

fn in_unread(bytes: &[u8]) -> Names {
    let mut search = Search::new(bytes, Place::Unread);
    while let Some(byte) = bytes.get(search.at) {
        search.step(*byte);
    }
    search.names
}

struct Search<'a> {
    bytes: &'a [u8],
    at: usize,
    names: Names,
    place: Place,
    /// Behind the last header.
    body: usize,
    /// How many brackets of a text are open.
    depth: usize,
    is_comment: bool,
    /// Whether a text of hexadecimal digits is open, in which brackets are none.
    is_digits: bool,
    is_packed: bool,
    has_parameters: bool,
}

impl<'a> Search<'a> {
    fn new(bytes: &'a [u8], place: Place) -> Self {
        Self {
            bytes,
            at: 0,
            names: Names::default(),
            place,
            body: 0,
            depth: 0,
            is_comment: false,
            is_digits: false,
            is_packed: false,
            has_parameters: false,
        }
    }

    fn enter(&mut self, place: Place) {
        (self.place, self.body, self.depth) = (place, self.at, 0);
        (self.is_comment, self.is_digits) = (false, false);
        (self.is_packed, self.has_parameters) = (false, false);
    }

    /// Whether no text and no comment is open.
    fn is_between_words(&self) -> bool {
        self.depth == 0 && !self.is_comment && !self.is_digits
    }

    fn step(&mut self, byte: u8) {
        let is_outside = self.depth == 0 && !self.is_comment;
        match (self.place, byte) {
            (Place::Stream, _) => {}
            (Place::Unread, b'/') => self.name(),
            (Place::Unread, _) => {}
            (Place::Read, b'\r' | b'\n') => self.is_comment = false,
            (Place::Read, _) if self.is_comment => {}
            (Place::Read, b'\\') if !is_outside => self.at += 1,
            (Place::Read, b'>') if is_outside => self.is_digits = false,
            (Place::Read, b'<') if is_outside && self.bytes.get(self.at + 1) == Some(&b'<') => self.at += 1,
            (Place::Read, b'<') if is_outside => self.is_digits = true,
            (Place::Read, byte) if self.is_digits && byte != b'/' => {}
            (Place::Read, b'(') => self.depth += 1,
            (Place::Read, b')') => self.depth = self.depth.saturating_sub(1),
            (Place::Read, _) if !is_outside => {}
            (Place::Read, b'%') => self.is_comment = true,
            (Place::Read, b'/') => self.name(),
            (Place::Read, b's') if self.is_stream() => self.place = Place::Stream,
            (Place::Read, _) => {}
        }
        self.at += 1;
    }

    /// Whether the header of an object ends here, or an object.
    fn is_end_of_header(&self) -> bool {
        let Some(rest) = self.bytes[self.at..].strip_prefix(b"obj") else {
            return false;
        };
        let before = &self.bytes[..self.at];
        let is_among_words = self.depth > 0 || self.is_comment;
        let is_header = match self.place {
            _ if before.ends_with(b"end") => !is_among_words,
            Place::Read if is_among_words => ends_with_number(before),
            Place::Stream => ends_with_number(before),
            // Comments may stand within a header.
            Place::Read | Place::Unread => before
                .last()
                .is_some_and(|byte| is_space(*byte) || byte.is_ascii_digit()),
        };
        is_header && rest.first().is_none_or(|byte| !is_regular(*byte))
    }

    fn is_stream(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.bytes.get(at));
        let is_word = before.is_some_and(|byte| *byte == b'>' || is_space(*byte));
        is_word && self.bytes[self.at..].starts_with(b"stream")
    }

    fn add_unlisted(&mut self) {
        if self.names.unlisted.last() != Some(&self.body) {
            self.names.unlisted.push(self.body);
        }
    }

    /// Whether a text, a stream or a reference follows the name that begins here.
    fn is_before_script(&self) -> bool {
        let mut rest = self.bytes[self.at + 1..].iter().skip_while(|byte| is_regular(**byte));
        let value = rest.find(|byte| !is_space(**byte));
        value.is_some_and(|byte| matches!(byte, b'(' | b'<' | b'%') || byte.is_ascii_digit())
    }

    fn name(&mut self) {
        let (name, length) = decoded(&self.bytes[self.at + 1..]);
        match &name[..length] {
            // In packed pictures something looks like so short a name by accident.
            b"JS" if self.place == Place::Unread && !self.is_before_script() => {}
            b"JavaScript" | b"JS" | b"XFA" => self.names.javascript = true,
            b"Launch" => self.names.launch = true,
            b"ObjStm" | b"First" if self.place == Place::Unread => self.add_unlisted(),
            b"ObjStm" => self.is_packed = true,
            b"DecodeParms" => self.has_parameters = true,
            _ => {}
        }
        self.names.is_unclear |= self.is_packed && self.has_parameters;
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\0' | b'\x0c')
}

fn is_regular(byte: u8) -> bool {
    !is_space(byte) && !b"()<>[]{}/%".contains(&byte)
}

/// Whether a number stands there; or a line with a comment, before which one may stand.
fn ends_with_number(bytes: &[u8]) -> bool {
    let (before, space) = bytes.split_at(bytes.len() - count_back(bytes, is_space));
    let is_end_of_line = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let has_comment = || {
        let mut line = before.iter().rev().take_while(|byte| !is_end_of_line(byte));
        space.iter().any(is_end_of_line) && line.any(|byte| *byte == b'%')
    };
    before.last().is_some_and(u8::is_ascii_digit) || has_comment()
}

fn count_back(bytes: &[u8], is: fn(u8) -> bool) -> usize {
    bytes.iter().rev().take_while(|byte| is(**byte)).count()
}

/// The name that bytes begin with, without its escapes; one that is longer than all that are looked for is cut.
fn decoded(bytes: &[u8]) -> ([u8; LONGEST], usize) {
    let (mut name, mut length, mut at) = ([0; LONGEST], 0, 0);
    while length < LONGEST {
        let digit = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let byte = match bytes.get(at) {
            Some(b'#') => match (digit(at + 1), digit(at + 2)) {
                (Some(high), Some(low)) => {
                    at += 2;
                    u8::try_from(high * 16 + low).unwrap_or_default()
                }
                _ => b'#',
            },
            Some(byte) if is_regular(*byte) => *byte,
            _ => break,
        };
        name[length] = byte;
        length += 1;
        at += 1;
    }
    (name, length)
}
