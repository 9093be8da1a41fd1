//! Whether what the filter holds is a tag where it stands.

use super::doubtful_pair::DoubtfulPair;
use super::filter::{Filter, State, Thought};
use super::harmony::{self, Channel};
use super::lone_closing::LoneClosing;
use super::tags::{Kind, Match, NAMES, Tag};
use super::talk;

impl Filter {
    /// Changes the state if a whole tag is held with this last character, and says what is held.
    pub(super) fn recognise(&mut self, letter: char) -> Match<()> {
        match &mut self.state {
            State::Text => self.recognise_in_text(letter),
            State::Thought(thought) => {
                let mut thought = *thought;
                self.recognise_in_thought(&mut thought, letter)
            }
            State::Doubtful(pair) => match self.tag.push(letter) {
                Match::Is(tag @ (Tag::Open(kind) | Tag::Close(kind))) => {
                    let closes = matches!(tag, Tag::Close(_));
                    let Some(verdict) = pair.push_tag(kind, closes, &self.held) else {
                        return Match::No;
                    };
                    drop(self.take_held());
                    self.settle(verdict);
                    // It is taken; what of it may be a tag again is held.
                    Match::Begins
                }
                Match::Is(_) | Match::No => Match::No,
                Match::Begins => Match::Begins,
            },
            State::Channel => match self.header.push(letter) {
                Match::Is(channel) => {
                    self.begin_channel(channel);
                    Match::Is(())
                }
                Match::No => self.end_channel_before_text(),
                Match::Begins => Match::Begins,
            },
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

    fn recognise_in_thought(&mut self, thought: &mut Thought, letter: char) -> Match<()> {
        let kind = thought.kind;
        match self.tag.push(letter) {
            Match::Is(Tag::Close(closed)) if closed == kind => self.end_nested_thought(thought.nested),
            Match::Is(Tag::Close(Kind::Named(name))) if matches!(kind, Kind::Named(_)) => {
                match thought.opened.get_mut(name) {
                    Some(count) if *count > 0 => {
                        *count -= 1;
                        self.state = State::Thought(*thought);
                    }
                    _ => self.end_nested_thought(thought.nested),
                }
            }
            Match::Is(Tag::Open(opened)) if opened == kind => {
                // Where a word of a sentence would stand, it is one.
                let is_word = talk::quotes(thought.last) || matches!(thought.last, Some(' ' | '\t' | '`'));
                thought.nested += usize::from(!is_word);
                self.state = State::Thought(*thought);
                return Match::No;
            }
            Match::Is(Tag::Open(Kind::Named(name))) => {
                if let Some(count) = thought.opened.get_mut(name) {
                    *count += 1;
                }
                self.state = State::Thought(*thought);
            }
            Match::Is(_) | Match::No => return Match::No,
            Match::Begins => return Match::Begins,
        }
        Match::Is(())
    }

    fn end_nested_thought(&mut self, opened: usize) {
        self.state = State::Text;
        self.shown.end_nested_thought(opened);
    }

    fn recognise_in_text(&mut self, letter: char) -> Match<()> {
        let at_start = self.shown.at_start;
        let tag = self.tag.push(letter);
        if self.shown.code.is_code() && !at_start {
            return match tag {
                Match::Is(found) => {
                    self.talks_of_tags |= matches!(found, Tag::Open(Kind::Named(_)) | Tag::Close(Kind::Named(_)));
                    Match::No
                }
                Match::No => Match::No,
                Match::Begins => Match::Begins,
            };
        }
        let mut found = Match::No;
        if at_start {
            if harmony::bare_analysis(&self.held) == Match::Is(()) {
                self.state = State::BareAnalysis;
                return Match::Is(());
            }
            if harmony::bare_final(&self.held) == Match::Is(()) {
                self.end_thought();
                return Match::Is(());
            }
            found = harmony::bare_analysis(&self.held).or(harmony::bare_final(&self.held));
        }
        let header = self.header.push(letter);
        if self.in_channels && harmony::end(&self.held) == Match::Is(()) {
            return Match::Is(());
        }
        match header {
            Match::Is(channel) => {
                if channel == Channel::Final {
                    self.thoughts += self.shown.take_back();
                }
                self.begin_channel(channel);
                return Match::Is(());
            }
            Match::Begins => found = Match::Begins,
            Match::No => {}
        }
        match tag {
            Match::Is(tag) => self.take_tag(tag),
            Match::Begins => Match::Begins,
            Match::No => found,
        }
    }

    /// A tag in the text: whether it is one here.
    fn take_tag(&mut self, tag: Tag) -> Match<()> {
        match tag {
            Tag::Open(kind @ Kind::Named(_)) if !self.shown.at_start && !self.shown.code.is_line_start() => {
                let pair = DoubtfulPair::after(&self.shown.code, kind, &self.held);
                self.take_doubtful(kind, pair)
            }
            Tag::Open(kind @ Kind::AtStart(_)) => {
                let begins_answer = self.shown.at_start && self.shown.is_new();
                let pair = begins_answer.then(|| DoubtfulPair::at_start(kind, &self.held));
                self.take_doubtful(kind, pair)
            }
            Tag::Open(kind) => {
                self.state = State::Thought(Thought {
                    kind,
                    opened: [0; NAMES.len()],
                    nested: 0,
                    last: None,
                });
                Match::Is(())
            }
            Tag::Close(kind) => self.take_lone_closing(kind),
            Tag::OpenWrapper(wrapper) if self.shown.at_start && (self.shown.has_thought || wrapper.is_control()) => {
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

    fn take_doubtful(&mut self, kind: Kind, pair: Option<DoubtfulPair>) -> Match<()> {
        match pair {
            Some(pair) if !self.talks_of_tags => {
                self.state = State::Doubtful(pair);
                Match::Is(())
            }
            _ => {
                self.note_shown(kind);
                self.talks_of_tags |= matches!(kind, Kind::Named(_));
                Match::No
            }
        }
    }

    fn take_lone_closing(&mut self, kind: Kind) -> Match<()> {
        if matches!(kind, Kind::AtStart(_)) {
            return Match::No;
        }
        if self.shown.at_start {
            // It closes nothing that was shown, but what this completion continues.
            let code = &mut self.shown.code;
            let is_no_word = matches!(kind, Kind::Control(_)) || LoneClosing::after(code, &self.held).is_some();
            if self.shown.continues && !self.shown.has_thought && is_no_word && !self.shown.code.is_code() {
                self.shown.end_continued_thought();
            }
            self.end_thought();
            return Match::Is(());
        }
        let lone = match kind {
            Kind::Named(name) if self.shown_names.get(name).copied().unwrap_or_default() => None,
            Kind::Control(_) => Some(LoneClosing::of_control_token(&self.held)),
            _ => LoneClosing::after(&self.shown.code, &self.held),
        };
        let Some(lone) = lone else {
            return Match::No;
        };
        self.state = State::LoneClosing(lone);
        Match::Is(())
    }

    /// Text may follow the end of a message without a header.
    fn end_channel_before_text(&mut self) -> Match<()> {
        let Some(text) = harmony::behind_end(&self.held).map(str::to_owned) else {
            return Match::No;
        };
        drop(self.take_held());
        self.end_thought();
        text.chars().for_each(|letter| self.take(letter));
        // It is taken; what of it may be a tag again is held.
        Match::Begins
    }
}
