//! Where in Markdown a text is: in code, at the beginning of a line, behind which character. A tag in code is an example.

/// Follows a text, character by character.
#[derive(Debug, Clone)]
pub(super) struct Code {
    /// The mark and length of the fence that is open.
    fence: Option<(char, usize)>,
    /// The length of the backtick run that opened a code span; 0: none is open.
    span: usize,
    /// The run of fence marks that is being read, and whether it began its line.
    run: Option<Run>,
    /// Whether the line has only white space so far.
    line_start: bool,
    before: Option<char>,
    before_space: Option<char>,
    /// The last word, as far as it is kept.
    word: String,
}

/// The most bytes of a word that are kept.
const MAX_WORD_BYTES: usize = 16;

#[derive(Debug, Clone, Copy)]
struct Run {
    mark: char,
    length: usize,
    begins_line: bool,
}

/// The shortest fence.
const MIN_FENCE: usize = 3;

impl Default for Code {
    /// At the beginning of a text.
    fn default() -> Self {
        Self {
            fence: None,
            span: 0,
            run: None,
            line_start: true,
            before: None,
            before_space: None,
            word: String::new(),
        }
    }
}

impl Code {
    /// After this text.
    pub(super) fn after(text: &str) -> Self {
        let mut code = Self::default();
        text.chars().for_each(|letter| code.push(letter));
        code
    }

    /// Whether a text without these bytes may be [skipped](Self::skip).
    pub(super) const fn is_plain(byte: u8) -> bool {
        !matches!(byte, b'\n' | b'`' | b'~')
    }

    /// Goes on behind a text that is all [plain](Self::is_plain).
    pub(super) fn skip(&mut self, text: &str) {
        let Some(last) = text.chars().next_back() else {
            return;
        };
        self.end_run(text.chars().next());
        // Of a longer word nothing behind this is kept.
        let tail_begins = text.char_indices().rev().take(2 * MAX_WORD_BYTES).last();
        let tail = text.get(tail_begins.map_or(0, |(at, _)| at)..).unwrap_or_default();
        for letter in tail.chars() {
            self.push_of_word(letter);
            self.before = Some(letter);
        }
        self.before = Some(last);
        if let Some(visible) = text.chars().rev().find(|letter| !letter.is_whitespace()) {
            self.before_space = Some(visible);
            self.line_start = false;
        }
    }

    pub(super) fn push(&mut self, letter: char) {
        if matches!(letter, '`' | '~') {
            match &mut self.run {
                Some(run) if run.mark == letter => run.length += 1,
                _ => {
                    self.end_run(Some(letter));
                    self.run = Some(Run {
                        mark: letter,
                        length: 1,
                        begins_line: self.line_start,
                    });
                }
            }
            self.line_start = false;
        } else {
            self.end_run(Some(letter));
        }
        if letter == '\n' {
            if self.line_start {
                // A code span never goes beyond its paragraph.
                self.span = 0;
            }
            self.line_start = true;
        } else if !letter.is_whitespace() {
            self.line_start = false;
            self.before_space = Some(letter);
        }
        self.push_of_word(letter);
        self.before = Some(letter);
    }

    fn push_of_word(&mut self, letter: char) {
        if !letter.is_alphabetic() {
            return;
        }
        if !self.before.is_some_and(char::is_alphabetic) {
            self.word.clear();
        }
        if self.word.len() < MAX_WORD_BYTES {
            self.word.push(letter);
        }
    }

    /// Ends the run of marks that is being read, because `next` follows it.
    fn end_run(&mut self, next: Option<char>) {
        let Some(run) = self.run.take() else {
            return;
        };
        let is_fence = run.begins_line && run.length >= MIN_FENCE;
        match self.fence {
            Some((mark, length)) => {
                let closes = is_fence && run.mark == mark && run.length >= length;
                if closes && next.is_none_or(char::is_whitespace) {
                    self.fence = None;
                }
            }
            None if is_fence => self.fence = Some((run.mark, run.length)),
            None if run.mark != '`' => {}
            None if self.span == 0 => self.span = run.length,
            None if self.span == run.length => self.span = 0,
            None => {}
        }
    }

    /// Whether a tag that begins here would be in code.
    pub(super) fn is_code(&mut self) -> bool {
        self.end_run(Some('<'));
        self.fence.is_some() || self.span > 0
    }

    /// Whether the line has only white space so far.
    pub(super) const fn is_line_start(&self) -> bool {
        self.line_start
    }

    /// The last character.
    pub(super) const fn before(&self) -> Option<char> {
        self.before
    }

    /// The last character that is no white space.
    pub(super) const fn before_space(&self) -> Option<char> {
        self.before_space
    }

    /// The last word; of a very long one, its beginning.
    pub(super) fn word(&self) -> &str {
        &self.word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_recognised() {
        for text in [
            "`",
            "a ``b` ",
            "```\n",
            "```html\n<p>\n",
            "  ~~~\nx\n```\n",
            "````\n```\n",
            "a\n```x",
        ] {
            assert!(Code::after(text).is_code(), "{text:?}");
        }
        for text in [
            "",
            "a `b` ",
            "```\nx\n```\n",
            "~~~ html\n~~~  \n",
            "one ` alone\n\nnext ",
            "~",
            "a ~~~ b",
        ] {
            assert!(!Code::after(text).is_code(), "{text:?}");
        }
    }

    #[test]
    fn a_plain_text_may_be_skipped() {
        let mut code = Code::after("`");
        code.skip("x y ");
        assert!(code.is_code() && !code.is_line_start());
        assert_eq!((code.before(), code.before_space()), (Some(' '), Some('y')));
        let mut code = Code::after("a\n");
        code.skip("  ");
        assert!(code.is_line_start());
    }
}
