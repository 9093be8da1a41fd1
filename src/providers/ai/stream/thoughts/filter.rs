//! Takes thoughts out of a text, part by part. The same text gives the same result however it is split, and the time that it takes
//! grows with its length alone: a character is read again only when what was held turns out to be no tag, and what may be held
//! holds few beginnings of tags.
//!
//! **Where a thought begins.** A tag that people may write, too (`<think>`), counts at the beginning of a line. Elsewhere it is held
//! until its closing one comes (`doubtful_pair.rs`), as are names that are ordinary words, which count only where an answer begins.
//! A control token (`◁think▷`) counts anywhere. None counts in Markdown's code, where it is an example.
//!
//! **A closing tag without its opening one** (`lone_closing.rs`) means that the server put the opening one into the prompt: what
//! was shown was a thought, and is taken back. It counts once, before any other thought, and only if text follows it. A later
//! one is left out by the same rules, but takes nothing back.

use super::code::Code;
use super::doubtful_pair::{DoubtfulPair, Verdict};
use super::harmony::{Channel, HeaderReader};
use super::lone_closing::LoneClosing;
use super::shown::{Piece, Shown};
use super::tag_reader::TagReader;
use super::tags::{self, Kind, Match, NAMES, Name};

/// Takes the thoughts out of one completion.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) state: State,
    pub(super) shown: Shown,
    /// What may be the beginning of a tag, from its first character.
    pub(super) held: String,
    /// What is held, read as a tag.
    pub(super) tag: TagReader,
    /// What is held, read as a header.
    pub(super) header: HeaderReader,
    /// Whether the model writes in channels.
    pub(super) in_channels: bool,
    /// The wrapper of the answer that is open.
    pub(super) wrapper: Option<Name>,
    /// Which of [`NAMES`] were shown as text.
    pub(super) shown_names: [bool; NAMES.len()],
    /// Whether the text talks about tags: no pair is doubtful any more.
    pub(super) talks_of_tags: bool,
    /// The bytes of all thoughts.
    pub(super) thoughts: usize,
    /// The characters that were looked at.
    #[cfg(test)]
    pub(super) looked_at: usize,
}

/// Where in a completion the filter is.
#[derive(Debug)]
pub(super) enum State {
    Text,
    Thought(Thought),
    /// Behind the opening tag of what may be a thought, and perhaps behind the closing one.
    Doubtful(DoubtfulPair),
    /// In a channel that is not for the person.
    Channel,
    /// In an analysis whose control tokens were dropped.
    BareAnalysis,
    /// Behind a closing tag without its opening one.
    LoneClosing(LoneClosing),
}

/// A thought that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thought {
    pub(super) kind: Kind,
    /// Other names of [`NAMES`] that were opened in it.
    pub(super) opened: [usize; NAMES.len()],
    /// How often its own tag was opened in it.
    pub(super) nested: usize,
    /// Its last character.
    pub(super) last: Option<char>,
}

impl Filter {
    /// For a completion that goes on with `written`; empty for a new answer.
    pub(super) fn new(written: &str) -> Self {
        Self {
            state: State::Text,
            shown: Shown::after(written),
            held: String::new(),
            tag: TagReader::new(),
            header: HeaderReader::new(),
            in_channels: false,
            wrapper: None,
            shown_names: [false; NAMES.len()],
            talks_of_tags: false,
            thoughts: 0,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// The bytes of all thoughts until now.
    pub(super) const fn thoughts(&self) -> usize {
        self.thoughts
    }

    /// The bytes that are held back.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let doubtful = match &self.state {
            State::Doubtful(pair) => pair.held_bytes(),
            _ => 0,
        };
        self.held.len() + self.shown.held_bytes() + doubtful
    }

    /// Takes a part of the text if all of it, and nothing else, is for the person now; `false` when it has to be
    /// [pushed](Self::push).
    pub(super) fn passes(&mut self, part: &str) -> bool {
        let is_plain = matches!(self.state, State::Text)
            && !self.shown.at_start
            && self.held.is_empty()
            && part
                .bytes()
                .all(|byte| Code::is_plain(byte) && !tags::may_begin_a_tag(byte));
        if is_plain {
            self.shown.skip(part);
        }
        is_plain
    }

    /// Takes a part of the text, and gives what is known of it now.
    pub(super) fn push(&mut self, part: &str) -> Vec<Piece> {
        if self.skips_thought(part) {
            self.thoughts += part.len();
            return Vec::new();
        }
        part.chars().for_each(|letter| self.take(letter));
        self.shown.take_pieces()
    }

    /// Ends the text. A thought without an end is no text, unless it was doubtful that it is one.
    pub(super) fn finish(&mut self) -> Vec<Piece> {
        if let State::Doubtful(pair) = &self.state {
            let verdict = pair.at_end();
            let held = self.take_held();
            self.settle(verdict);
            held.chars().for_each(|letter| self.take(letter));
        }
        if let State::LoneClosing(lone) = &self.state
            && let Some(is_tag) = lone.is_tag_at_end()
        {
            self.settle_lone_closing(is_tag);
        }
        let held_header = self.in_channels && self.header.has_begun();
        let held = self.take_held();
        match std::mem::replace(&mut self.state, State::Text) {
            State::Text => {
                if !held_header {
                    held.chars().for_each(|letter| self.shown.push(letter));
                }
                self.shown.end();
            }
            State::LoneClosing(_) => {}
            State::Thought(_) | State::Doubtful(_) | State::Channel | State::BareAnalysis => {
                self.thoughts += held.len()
            }
        }
        self.shown.take_pieces()
    }

    /// Whether this part is within a thought.
    fn skips_thought(&mut self, part: &str) -> bool {
        let is_plain = self.held.is_empty() && !part.bytes().any(tags::may_begin_a_tag);
        match &mut self.state {
            State::Thought(thought) if is_plain => {
                thought.last = part.chars().next_back().or(thought.last);
                true
            }
            State::Channel => is_plain,
            _ => false,
        }
    }

    pub(super) fn take(&mut self, letter: char) {
        #[cfg(test)]
        {
            self.looked_at += 1;
        }
        match &mut self.state {
            State::LoneClosing(lone) => {
                if let Some(is_tag) = lone.push(letter) {
                    self.settle_lone_closing(is_tag);
                }
                return;
            }
            State::Doubtful(pair) if pair.is_whole() => {
                let verdict = pair.push_behind(letter);
                return self.settle(verdict);
            }
            _ => {}
        }
        if self.held.is_empty() && !self.may_begin(letter) {
            return self.pass(letter);
        }
        let is_no_tag = self.held == "<" && !tags::may_follow(letter);
        self.held.push(letter);
        let found = if is_no_tag { Match::No } else { self.recognise(letter) };
        match found {
            Match::Begins => {}
            Match::Is(()) => drop(self.take_held()),
            Match::No => {
                let held = self.take_held();
                let mut letters = held.chars();
                // Another tag may begin behind the first character.
                letters.next().into_iter().for_each(|first| self.pass(first));
                letters.for_each(|letter| self.take(letter));
            }
        }
    }

    /// What is held, which is read anew from now on.
    pub(super) fn take_held(&mut self) -> String {
        self.tag = TagReader::new();
        self.header.reset();
        std::mem::take(&mut self.held)
    }

    fn may_begin(&self, letter: char) -> bool {
        let bare = match self.state {
            State::BareAnalysis => true,
            State::Text => self.shown.at_start,
            _ => false,
        };
        tags::begins_a_tag(letter) || (bare && letter == 'a')
    }

    /// A character that belongs to no tag.
    fn pass(&mut self, letter: char) {
        match &mut self.state {
            State::Text => return self.shown.push(letter),
            State::Doubtful(pair) => {
                let verdict = pair.push_inner(letter);
                return self.settle(verdict);
            }
            State::Thought(thought) => thought.last = Some(letter),
            State::Channel | State::BareAnalysis | State::LoneClosing(_) => {}
        }
        self.thoughts += letter.len_utf8();
    }

    /// Ends a doubtful pair as what it is.
    pub(super) fn settle(&mut self, verdict: Verdict) {
        if verdict == Verdict::Unknown {
            return;
        }
        let State::Doubtful(pair) = std::mem::replace(&mut self.state, State::Text) else {
            return;
        };
        if verdict == Verdict::Thought {
            self.thoughts += pair.inner.len();
            self.end_thought();
        } else {
            self.talks_of_tags = true;
            self.note_shown(pair.kind);
            pair.opening.chars().for_each(|letter| self.shown.push(letter));
            pair.inner.chars().for_each(|letter| self.take(letter));
            pair.closing.chars().for_each(|letter| self.take(letter));
        }
        let behind = pair.space.chars().chain(pair.word.chars());
        behind.for_each(|letter| self.take(letter));
    }

    /// Ends what is behind a lone closing tag.
    fn settle_lone_closing(&mut self, is_tag: bool) {
        let State::LoneClosing(lone) = std::mem::replace(&mut self.state, State::Text) else {
            return;
        };
        if is_tag {
            self.thoughts += self.shown.take_back();
            self.end_thought();
        } else {
            lone.tag.chars().for_each(|letter| self.shown.push(letter));
        }
        let behind = lone.space.chars().chain(lone.word.chars());
        behind.for_each(|letter| self.take(letter));
    }

    /// A tag of this kind is a word of the text.
    pub(super) fn note_shown(&mut self, kind: Kind) {
        if let Kind::Named(name) = kind
            && let Some(shown) = self.shown_names.get_mut(name)
        {
            *shown = true;
        }
    }

    pub(super) fn end_thought(&mut self) {
        self.state = State::Text;
        self.shown.end_thought();
    }

    pub(super) fn begin_channel(&mut self, channel: Channel) {
        self.in_channels = true;
        match channel {
            Channel::Final => self.end_thought(),
            Channel::Other => self.state = State::Channel,
        }
    }
}
