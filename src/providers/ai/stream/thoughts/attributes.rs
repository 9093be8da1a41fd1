//! The attributes of a tag: `<think duration="3">`. Words without a value are none: `<think about it>` is a sentence.

/// The most bytes of attributes that a tag may have.
pub(super) const MAX_ATTRIBUTE_BYTES: usize = 128;

/// Reads what follows a tag's name and a space, character by character.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    place: Place,
    bytes: usize,
    /// Whether there may be any, as in an opening tag.
    allowed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Space,
    Name,
    Equals,
    Quoted(char),
    Bare,
    AfterValue,
}

impl Attributes {
    pub(super) const fn new(allowed: bool) -> Self {
        Self {
            place: Place::Space,
            bytes: 0,
            allowed,
        }
    }

    /// Goes on by a character: whether the tag ends with it; `None` when it is no tag.
    pub(super) fn push(&mut self, letter: char) -> Option<bool> {
        self.bytes += letter.len_utf8();
        if self.bytes > MAX_ATTRIBUTE_BYTES {
            return None;
        }
        let is_space = matches!(letter, ' ' | '\t');
        self.place = match (self.place, letter) {
            (Place::Space | Place::Bare | Place::AfterValue, '>') => return Some(true),
            (Place::Space | Place::Bare | Place::AfterValue, _) if is_space => Place::Space,
            (Place::Space, 'a'..='z' | 'A'..='Z' | '_') if self.allowed => Place::Name,
            (Place::Name, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | ':') => Place::Name,
            (Place::Name, '=') => Place::Equals,
            (Place::Equals, '"' | '\'') => Place::Quoted(letter),
            (Place::Quoted(quote), _) if letter == quote => Place::AfterValue,
            (Place::Quoted(quote), _) if !matches!(letter, '<' | '>' | '`' | '\n') => Place::Quoted(quote),
            (Place::Equals | Place::Bare, '!'..='~') if !matches!(letter, '<' | '`' | '"' | '\'' | '=') => Place::Bare,
            _ => return None,
        };
        Some(false)
    }
}
