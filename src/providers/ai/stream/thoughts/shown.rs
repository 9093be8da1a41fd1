//! What of a completion is for the person: what was shown, and the white space that is shown only if text follows it.

use super::code::Code;

/// The most white space that is held back before it is known what follows it, in bytes.
pub(super) const MAX_HELD_SPACE: usize = 1024;

/// What the filter gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text for the person; never empty.
    Text(String),
    /// All text of this completion until now was a thought, and so was what it continues, unless a thought ended there.
    TakenBack,
}

/// The text of one completion for the person.
#[derive(Debug)]
pub(super) struct Shown {
    /// White space that is shown only if text follows it.
    space: String,
    /// Where in Markdown the text is.
    pub(super) code: Code,
    /// Text that is known to be for the person, and not given yet.
    text: String,
    /// The bytes of text since the completion began, or was taken back.
    bytes: usize,
    /// Whether any of them was given.
    given: bool,
    /// Whether what was given is to be taken back.
    taken_back: bool,
    /// Whether nothing but white space came since the beginning, or since a thought.
    pub(super) at_start: bool,
    /// Whether a thought has ended.
    pub(super) has_thought: bool,
    /// The thoughts within the one at the beginning that may not have ended yet: only their closing tags can tell.
    open_thoughts: usize,
    /// Whether the text goes on with a text that is shown already.
    pub(super) continues: bool,
    /// Whether that is to be taken back as soon as text follows: it was a thought that ended here.
    continued_a_thought: bool,
}

impl Shown {
    /// For a completion that goes on with `written`; empty for a new answer.
    pub(super) fn after(written: &str) -> Self {
        Self {
            space: String::new(),
            code: Code::after(written),
            text: String::new(),
            bytes: 0,
            given: false,
            taken_back: false,
            at_start: true,
            has_thought: false,
            open_thoughts: 0,
            continues: !written.is_empty(),
            continued_a_thought: false,
        }
    }

    /// The bytes that are held back.
    #[cfg(test)]
    pub(super) const fn held_bytes(&self) -> usize {
        self.space.len()
    }

    /// Whether this is a new answer that nothing was shown of.
    pub(super) const fn is_new(&self) -> bool {
        self.bytes == 0 && !self.continues
    }

    /// Goes on by a text that is given by others.
    pub(super) fn skip(&mut self, part: &str) {
        self.code.skip(part);
        self.bytes += part.len();
        self.given = true;
    }

    /// Shows a character.
    pub(super) fn push(&mut self, letter: char) {
        if self.at_start && letter.is_whitespace() && self.space.len() < MAX_HELD_SPACE {
            return self.space.push(letter);
        }
        if std::mem::take(&mut self.at_start) {
            let space = std::mem::take(&mut self.space);
            for letter in self.shown_space(&space).chars() {
                self.give(letter);
            }
        }
        self.give(letter);
    }

    /// Ends the text: white space that is all of it is shown.
    pub(super) fn end(&mut self) {
        if !self.has_thought && self.at_start {
            let space = std::mem::take(&mut self.space);
            self.bytes += space.len();
            self.text.push_str(&space);
        }
    }

    /// Of the white space before a text, what is shown: none of that which only sets a thought apart.
    fn shown_space<'a>(&self, space: &'a str) -> &'a str {
        if !self.has_thought {
            return space;
        }
        let from_line_end = space.find('\n').and_then(|at| space.get(at..)).unwrap_or_default();
        let behind_lines = space
            .rfind('\n')
            .map_or(space, |at| space.get(at + 1..).unwrap_or_default());
        match self.code.before().filter(|_| self.bytes > 0) {
            Some('\n') => "",
            Some(before) if before.is_whitespace() => from_line_end,
            Some(_) => space,
            None if self.continues => behind_lines,
            None => "",
        }
    }

    fn give(&mut self, letter: char) {
        self.taken_back |= std::mem::take(&mut self.continued_a_thought);
        self.code.push(letter);
        self.text.push(letter);
        self.bytes += letter.len_utf8();
    }

    /// What was shown of this completion was a thought, unless there was another one. Its bytes.
    pub(super) fn take_back(&mut self) -> usize {
        let may_be_thought = !self.has_thought || self.open_thoughts > 0;
        self.open_thoughts = self.open_thoughts.saturating_sub(1);
        if !may_be_thought || self.bytes == 0 {
            return 0;
        }
        self.text.clear();
        self.taken_back = self.given || self.continues;
        self.code = Code::default();
        std::mem::take(&mut self.bytes)
    }

    /// What this completion continues was a thought that ends here.
    pub(super) const fn end_continued_thought(&mut self) {
        self.continued_a_thought = true;
    }

    /// A thought ended, or one of so many that were opened within it.
    pub(super) fn end_nested_thought(&mut self, opened: usize) {
        self.open_thoughts = if self.is_new() { opened } else { 0 };
        self.end_thought();
    }

    /// A thought ended.
    pub(super) fn end_thought(&mut self) {
        self.has_thought = true;
        self.at_start = true;
        self.space.clear();
    }

    /// What is known, and was not given.
    pub(super) fn take_pieces(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if std::mem::take(&mut self.taken_back) {
            pieces.push(Piece::TakenBack);
            self.given = false;
        }
        if !self.text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut self.text)));
            self.given = true;
        }
        pieces
    }
}
