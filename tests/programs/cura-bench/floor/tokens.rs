//! Whether a stream says what it has to: the tokens of its own answer, each once and in order.

use std::time::Duration;

use cura_tests::provider::now;

/// What a stream has said so far.
pub struct Tokens {
    label: String,
    expected: usize,
    text: String,
    /// Where the token begins that is not complete yet.
    read: usize,
    right: usize,
    wrong: usize,
}

impl Tokens {
    pub fn expect(label: String, expected: usize) -> Self {
        let (text, read, right, wrong) = (String::new(), 0, 0, 0);
        Self {
            label,
            expected,
            text,
            read,
            right,
            wrong,
        }
    }

    /// Takes a piece of text; notes how late each of its tokens is.
    pub fn hear(&mut self, piece: &str, late: &mut Vec<Duration>) {
        let now = now();
        self.text.push_str(piece);
        while let Some(length) = self.text[self.read..].find(' ') {
            let token = &self.text[self.read..self.read + length];
            self.read += length + 1;
            match sent(token, &self.label, self.right) {
                Some(sent) => {
                    self.right += 1;
                    late.push(now.saturating_sub(sent));
                }
                None => self.wrong += 1,
            }
        }
    }

    /// Whether it has said nothing yet.
    pub fn heard_nothing(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether this is what it has said, if anybody claims to know.
    pub fn are(&self, whole: Option<&str>) -> bool {
        whole.is_none_or(|whole| whole == self.text)
    }

    /// How many tokens were lost, doubled, out of order or of another answer.
    pub fn wrong(&self) -> usize {
        self.wrong + (self.expected - self.right)
    }
}

/// When this token was sent, if it is the one of this label and number.
fn sent(token: &str, label: &str, number: usize) -> Option<Duration> {
    let (its_number, sent) = token.strip_prefix(label)?.strip_prefix(':')?.split_once(':')?;
    (its_number.parse() == Ok(number)).then_some(())?;
    sent.parse().ok().map(Duration::from_micros)
}
