//! Takes thoughts out of a text, part by part. The same text gives the same result however it is split.
//!
//! **Where a thought begins.** A tag that people may write, too (`<think>`), counts only at the beginning of a line, and a
//! control token (`◁think▷`) anywhere; neither counts in Markdown's code, where it is an example.
//!
//! **A closing tag without its opening one** (`lone_closing.rs`) means that the server put the opening one into the prompt: what
//! was shown was a thought, and is taken back. It counts once, before any other thought, and only if text follows it. A later
//! one is left out by the same rules, but takes nothing back.

use super::code::Code;
use super::harmony::{self, Channel};
use super::lone_closing::LoneClosing;
use super::tags::{self, Kind, Match, NAMES, Name, Tag};

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

/// Takes the thoughts out of one completion.
#[derive(Debug)]
pub(super) struct Filter {
    state: State,
    /// What may be the beginning of a tag, from its first character.
    held: String,
    /// White space that is shown only if text follows it.
    space: String,
    code: Code,
    /// Text that is known to be for the person, and not given yet.
    text: String,
    /// The bytes of text since the completion began, or was taken back.
    shown: usize,
    /// Whether any of them was given.
    given: bool,
    /// Whether what was given is to be taken back.
    taken_back: bool,
    /// Whether nothing but white space came since the beginning, or since a thought.
    at_start: bool,
    /// Whether a thought has ended.
    has_thought: bool,
    /// Whether the model writes in channels.
    in_channels: bool,
    /// Whether the text goes on with a text that is shown already.
    continues: bool,
    /// Whether that is to be taken back as soon as text follows: it was a thought that ended here.
    continued_a_thought: bool,
    /// The wrapper of the answer that is open.
    wrapper: Option<Name>,
    /// Which of [`NAMES`] were shown as text.
    shown_names: [bool; NAMES.len()],
    /// The bytes of all thoughts.
    thoughts: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Text,
    /// In a thought. Other names of [`NAMES`] that were opened in it.
    Thought(Kind, [usize; NAMES.len()]),
    /// In a channel that is not for the person.
    Channel,
    /// In an analysis whose control tokens were dropped.
    BareAnalysis,
    /// Behind a closing tag without its opening one.
    LoneClosing(LoneClosing),
}

impl Filter {
    /// For a completion that goes on with `written`; empty for a new answer.
    pub(super) fn new(written: &str) -> Self {
        Self {
            state: State::Text,
            held: String::new(),
            space: String::new(),
            code: Code::after(written),
            text: String::new(),
            shown: 0,
            given: false,
            taken_back: false,
            at_start: true,
            has_thought: false,
            in_channels: false,
            continues: !written.is_empty(),
            continued_a_thought: false,
            wrapper: None,
            shown_names: [false; NAMES.len()],
            thoughts: 0,
        }
    }

    /// The bytes of all thoughts until now.
    pub(super) const fn thoughts(&self) -> usize {
        self.thoughts
    }

    /// The bytes that are held back.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held.len() + self.space.len()
    }

    /// Takes a part of the text if all of it, and nothing else, is for the person now; `false` when it has to be
    /// [pushed](Self::push).
    pub(super) fn passes(&mut self, part: &str) -> bool {
        let is_plain = self.state == State::Text
            && !self.at_start
            && self.held.is_empty()
            && part
                .bytes()
                .all(|byte| Code::is_plain(byte) && !tags::may_begin_a_tag(byte));
        if is_plain {
            self.code.skip(part);
            self.shown += part.len();
            self.given = true;
        }
        is_plain
    }

    /// Takes a part of the text, and gives what is known of it now.
    pub(super) fn push(&mut self, part: &str) -> Vec<Piece> {
        if self.is_plain_thought(part) {
            self.thoughts += part.len();
            return Vec::new();
        }
        part.chars().for_each(|letter| self.take(letter));
        self.take_pieces()
    }

    /// Ends the text. A thought without an end is no text.
    pub(super) fn finish(&mut self) -> Vec<Piece> {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Text => {
                let held = std::mem::take(&mut self.held);
                let is_tag = self.in_channels && matches!(harmony::header(&held), Match::Begins);
                if !is_tag {
                    held.chars().for_each(|letter| self.show(letter));
                }
                if !self.has_thought && self.at_start {
                    let space = std::mem::take(&mut self.space);
                    self.shown += space.len();
                    self.text.push_str(&space);
                }
            }
            // Nothing follows it: more likely a stray tag than an answer that is all thoughts.
            State::LoneClosing(_) => {}
            State::Thought(..) | State::Channel | State::BareAnalysis => {
                self.thoughts += std::mem::take(&mut self.held).len();
            }
        }
        self.take_pieces()
    }

    fn is_plain_thought(&self, part: &str) -> bool {
        matches!(self.state, State::Thought(..) | State::Channel)
            && self.held.is_empty()
            && !part.bytes().any(tags::may_begin_a_tag)
    }

    fn take_pieces(&mut self) -> Vec<Piece> {
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

    fn take(&mut self, letter: char) {
        if let State::LoneClosing(_) = &self.state {
            return self.take_behind_lone_closing(letter);
        }
        if self.held.is_empty() && !self.may_begin(letter) {
            return self.pass(letter);
        }
        let is_no_tag = self.held == "<" && !tags::may_follow(letter);
        self.held.push(letter);
        let found = if is_no_tag { Match::No } else { self.recognise() };
        match found {
            Match::Begins => {}
            Match::Is(()) => self.held.clear(),
            Match::No => {
                let held = std::mem::take(&mut self.held);
                let mut letters = held.chars();
                // Another tag may begin behind the first character.
                letters.next().into_iter().for_each(|first| self.pass(first));
                letters.for_each(|letter| self.take(letter));
            }
        }
    }

    fn may_begin(&self, letter: char) -> bool {
        let bare = match self.state {
            State::BareAnalysis => true,
            State::Text => self.at_start,
            _ => false,
        };
        tags::begins_a_tag(letter) || (bare && letter == 'a')
    }

    /// A character that belongs to no tag.
    fn pass(&mut self, letter: char) {
        if self.state == State::Text {
            self.show(letter);
        } else {
            self.thoughts += letter.len_utf8();
        }
    }

    /// Changes the state if a whole tag is held, and says what is held.
    fn recognise(&mut self) -> Match<()> {
        match &self.state {
            State::Text => self.recognise_in_text(),
            State::Thought(kind, opened) => {
                let (kind, opened) = (*kind, *opened);
                self.recognise_in_thought(kind, opened)
            }
            State::Channel => {
                let header = harmony::header(&self.held);
                match header {
                    Match::Is(channel) => {
                        self.begin_channel(channel);
                        Match::Is(())
                    }
                    // Text may follow the end of a message without a header.
                    Match::No => self.end_channel_before_text(),
                    Match::Begins => Match::Begins,
                }
            }
            State::BareAnalysis => {
                let is_final = harmony::bare_final(&self.held);
                if is_final == Match::Is(()) {
                    self.end_thought();
                }
                is_final
            }
            // Takes its characters itself.
            State::LoneClosing(_) => Match::No,
        }
    }

    fn recognise_in_thought(&mut self, kind: Kind, mut opened: [usize; NAMES.len()]) -> Match<()> {
        match tags::tag(&self.held) {
            Match::Is(Tag::Close(closed)) if closed == kind => self.end_thought(),
            Match::Is(Tag::Close(Kind::Named(name))) if matches!(kind, Kind::Named(_)) => match opened.get_mut(name) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    self.state = State::Thought(kind, opened);
                }
                _ => self.end_thought(),
            },
            Match::Is(Tag::Open(Kind::Named(name))) if kind != Kind::Named(name) => {
                if let Some(count) = opened.get_mut(name) {
                    *count += 1;
                }
                self.state = State::Thought(kind, opened);
            }
            Match::Is(_) | Match::No => return Match::No,
            Match::Begins => return Match::Begins,
        }
        Match::Is(())
    }

    fn recognise_in_text(&mut self) -> Match<()> {
        let in_code = self.code.is_code() && !self.at_start;
        if in_code {
            return Match::No;
        }
        let mut found = Match::No;
        if self.at_start {
            if harmony::bare_analysis(&self.held) == Match::Is(()) {
                self.state = State::BareAnalysis;
                return Match::Is(());
            }
            if harmony::bare_final(&self.held) == Match::Is(()) {
                self.has_thought = true;
                self.space.clear();
                return Match::Is(());
            }
            found = harmony::bare_analysis(&self.held).or(harmony::bare_final(&self.held));
        }
        if self.in_channels && harmony::end(&self.held) == Match::Is(()) {
            return Match::Is(());
        }
        match harmony::header(&self.held) {
            Match::Is(Channel::Final) => {
                self.take_back();
                self.begin_channel(Channel::Final);
                return Match::Is(());
            }
            Match::Is(Channel::Other) => {
                self.begin_channel(Channel::Other);
                return Match::Is(());
            }
            Match::Begins => found = Match::Begins,
            Match::No => {}
        }
        match tags::tag(&self.held) {
            Match::Is(tag) => self.take_tag(tag),
            Match::Begins => Match::Begins,
            Match::No => found,
        }
    }

    /// A tag in the text: whether it is one here.
    fn take_tag(&mut self, tag: Tag) -> Match<()> {
        match tag {
            Tag::Open(kind) => {
                if let Kind::Named(name) = kind
                    && !self.at_start
                    && !self.code.is_line_start()
                {
                    if let Some(shown) = self.shown_names.get_mut(name) {
                        *shown = true;
                    }
                    return Match::No;
                }
                self.state = State::Thought(kind, [0; NAMES.len()]);
                Match::Is(())
            }
            Tag::Close(kind) => self.take_lone_closing(kind),
            Tag::OpenWrapper(wrapper) if self.at_start && (self.has_thought || wrapper.is_control()) => {
                self.wrapper = Some(wrapper);
                Match::Is(())
            }
            Tag::CloseWrapper(wrapper) if self.wrapper == Some(wrapper) => {
                self.wrapper = None;
                Match::Is(())
            }
            Tag::OpenWrapper(_) | Tag::CloseWrapper(_) => Match::No,
        }
    }

    fn take_lone_closing(&mut self, kind: Kind) -> Match<()> {
        if self.at_start {
            // It closes nothing that was shown, but what this completion continues.
            let is_no_word = matches!(kind, Kind::Control(_)) || LoneClosing::after(&self.code, &self.held).is_some();
            let may_close = self.continues && !self.has_thought && is_no_word && !self.code.is_code();
            self.continued_a_thought |= may_close;
            self.end_thought();
            return Match::Is(());
        }
        let lone = match kind {
            Kind::Named(name) if self.shown_names.get(name).copied().unwrap_or_default() => None,
            Kind::Named(_) => LoneClosing::after(&self.code, &self.held),
            Kind::Control(_) => Some(LoneClosing::of_control_token(&self.held)),
        };
        let Some(lone) = lone else {
            return Match::No;
        };
        self.state = State::LoneClosing(lone);
        Match::Is(())
    }

    fn take_behind_lone_closing(&mut self, letter: char) {
        let State::LoneClosing(lone) = &mut self.state else {
            return;
        };
        if letter.is_whitespace() && lone.space.len() < MAX_HELD_SPACE {
            return lone.space.push(letter);
        }
        let is_tag = lone.is_tag_before(letter);
        let State::LoneClosing(lone) = std::mem::replace(&mut self.state, State::Text) else {
            return;
        };
        if is_tag {
            self.take_back();
            self.end_thought();
            self.space = lone.space;
        } else {
            lone.tag
                .chars()
                .chain(lone.space.chars())
                .for_each(|letter| self.show(letter));
        }
        self.take(letter);
    }

    /// What was shown of this completion was a thought, unless there was another one.
    fn take_back(&mut self) {
        if self.has_thought || self.shown == 0 {
            return;
        }
        self.thoughts += std::mem::take(&mut self.shown);
        self.text.clear();
        self.taken_back = self.given || self.continues;
        self.code = Code::default();
    }

    fn begin_channel(&mut self, channel: Channel) {
        self.in_channels = true;
        match channel {
            Channel::Final => self.end_thought(),
            Channel::Other => self.state = State::Channel,
        }
    }

    fn end_thought(&mut self) {
        self.state = State::Text;
        self.has_thought = true;
        self.at_start = true;
        self.space.clear();
    }

    /// Text may follow the end of a message without a header.
    fn end_channel_before_text(&mut self) -> Match<()> {
        let Some(text) = harmony::behind_end(&self.held).map(str::to_owned) else {
            return Match::No;
        };
        self.held.clear();
        self.end_thought();
        text.chars().for_each(|letter| self.take(letter));
        // It is taken; what of it may be a tag again is held.
        Match::Begins
    }

    /// Gives a character of the text.
    fn show(&mut self, letter: char) {
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

    /// Of the white space before a text, what is shown: none of that which only sets a thought apart.
    fn shown_space<'a>(&self, space: &'a str) -> &'a str {
        if !self.has_thought {
            return space;
        }
        let behind_lines = space
            .rfind('\n')
            .map_or(space, |at| space.get(at + 1..).unwrap_or_default());
        let follows_text = self.shown > 0 && !self.code.before().is_none_or(char::is_whitespace);
        match (follows_text, self.shown > 0 || !self.continues) {
            (true, _) => space,
            (false, true) => "",
            (false, false) => behind_lines,
        }
    }

    fn give(&mut self, letter: char) {
        self.taken_back |= std::mem::take(&mut self.continued_a_thought);
        self.code.push(letter);
        self.text.push(letter);
        self.shown += letter.len_utf8();
    }
}
