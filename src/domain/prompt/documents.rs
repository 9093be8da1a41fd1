//! How much of each document a prompt gives: all together a share of the budget, which they divide fairly.

use super::fence::{self, CleanText, DocumentPart};

/// A part of fewer tokens is not worth its place.
const MIN_PART_TOKENS: usize = 50;

/// How much of a text is counted to estimate the tokens of all of it, in UTF-8 bytes.
const SAMPLE_BYTES: usize = 4096;

/// A document whose text may be given.
pub(super) struct Document {
    text: CleanText,
    /// The tokens of its fence with all of the text, about.
    tokens: usize,
    /// Those of the fence alone.
    fence_tokens: usize,
    is_all: bool,
    page_count: Option<u32>,
}

impl Document {
    /// `text` is the beginning of its text, or all of it.
    pub(super) fn new(
        name: &str,
        text: &str,
        is_all: bool,
        page_count: Option<u32>,
        count: &impl Fn(&str) -> usize,
    ) -> Self {
        let text = fence::clean(text);
        // Bytes are never fewer than tokens.
        let fence_tokens = name.len() + fence::BYTES_BESIDE_TEXT_AND_NAME;
        Self {
            tokens: estimate(&text.text, count) + fence_tokens,
            fence_tokens,
            text,
            is_all,
            page_count,
        }
    }

    /// The tokens of all of it, the fence included, about.
    pub(super) const fn tokens(&self) -> usize {
        self.tokens
    }

    /// As much of it as `share` tokens have room for, the fence included. `None` if that is next to nothing. Of a long text only what may
    /// have room is counted.
    pub(super) fn part(&self, share: usize, count: &impl Fn(&str) -> usize) -> Option<DocumentPart> {
        let room = share.checked_sub(self.fence_tokens)?;
        let text_tokens = (self.tokens - self.fence_tokens).max(1);
        let mut bytes = if text_tokens <= room {
            self.text.text.len()
        } else {
            self.text.text.len() * room / text_tokens
        };
        loop {
            let end = self.text.good_end(bytes);
            let part = self.text.text.get(..end).unwrap_or_default();
            let tokens = count(part);
            if tokens <= room {
                let is_crumb = end < self.text.text.len() && room < MIN_PART_TOKENS;
                return (!is_crumb && !part.trim().is_empty()).then(|| self.cut_at(end));
            }
            // The beginning is denser than the rest.
            bytes = (end * room / tokens).min(end * 9 / 10);
        }
    }

    fn cut_at(&self, end: usize) -> DocumentPart {
        let text = &self.text;
        let is_all = end == text.text.len();
        let pages = text.pages_before(end);
        let has_unread_pages = self.page_count.is_some_and(|count| pages.with_text < count);
        DocumentPart {
            text: text.text.get(..end).unwrap_or_default().to_owned(),
            pages: self.page_count.map(|count| pages.with_text.min(count)),
            page_count: self.page_count,
            last_page: if is_all {
                None
            } else {
                self.page_count.map(|count| pages.begun.min(count))
            },
            is_whole: self.is_all && is_all && !has_unread_pages,
        }
    }
}

/// The tokens of a text: exactly of a short one; of a long one, as if it went on as it begins.
fn estimate(text: &str, count: &impl Fn(&str) -> usize) -> usize {
    if text.len() <= SAMPLE_BYTES {
        return count(text);
    }
    let sample = text.get(..text.floor_char_boundary(SAMPLE_BYTES)).unwrap_or_default();
    text.len().saturating_mul(count(sample)).div_ceil(sample.len().max(1))
}

/// The share of each document in `room`, of which these are the tokens: one that needs less than an equal share leaves the rest to the
/// others.
pub(super) fn shares(documents: &[usize], room: usize) -> Vec<usize> {
    let mut smallest_first: Vec<(usize, usize)> = documents.iter().copied().enumerate().collect();
    smallest_first.sort_by_key(|(_, tokens)| *tokens);
    let mut shares = vec![0; documents.len()];
    let (mut left, mut others) = (room, documents.len());
    for (at, tokens) in smallest_first {
        let share = tokens.min(left / others.max(1));
        if let Some(of_this) = shares.get_mut(at) {
            *of_this = share;
        }
        left -= share;
        others -= 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str, page_count: Option<u32>) -> Document {
        Document::new("", text, true, page_count, &str::len)
    }

    #[test]
    fn small_documents_are_whole_and_large_ones_share_what_is_left() {
        assert_eq!(shares(&[1000, 4, 1000], 1004), [500, 4, 500]);
        assert_eq!(shares(&[10, 20], 100_000), [10, 20]);
        assert_eq!(shares(&[1000, 1000], 0), [0, 0]);
        assert!(shares(&[], 10).is_empty());
    }

    #[test]
    fn a_part_ends_with_a_page_where_it_can_and_says_which() {
        let page = "word ".repeat(40);
        let document = document(&[&*page; 5].join("\u{c}"), Some(5));
        let fence = fence::BYTES_BESIDE_TEXT_AND_NAME;
        let part = document.part(520 + fence, &str::len).unwrap();
        assert_eq!((part.pages, part.page_count, part.is_whole), (Some(2), Some(5), false));
        assert!(part.text.ends_with("word "), "{:?}", part.text);
        let whole = document.part(2000, &str::len).unwrap();
        assert_eq!((whole.pages, whole.is_whole), (Some(5), true));
    }

    #[test]
    fn a_part_is_never_longer_than_its_share_and_none_is_a_crumb() {
        // Dense at the beginning.
        let count = |text: &str| text.chars().map(|c| if c == 'x' { 4 } else { 1 }).sum();
        let text = format!("{}{}", "x".repeat(1000), "y".repeat(9000));
        let document = Document::new("", &text, true, None, &count);
        let fence = fence::BYTES_BESIDE_TEXT_AND_NAME;
        for share in [0, fence, fence + 49, fence + 50, 1000, 5000] {
            match document.part(share, &count) {
                Some(part) => assert!(count(&part.text) + fence <= share && !part.is_whole, "{share}"),
                None => assert!(share < fence + 50, "{share}"),
            }
        }
    }

    #[test]
    fn pages_without_text_are_not_counted_as_read() {
        let document = document("one\u{c}\u{c} \u{c}four", Some(4));
        let part = document.part(1000, &str::len).unwrap();
        assert_eq!((part.pages, part.page_count, part.is_whole), (Some(2), Some(4), false));
    }

    #[test]
    fn what_was_cut_before_is_never_whole() {
        let document = Document::new("", "short", false, Some(900), &str::len);
        let part = document.part(1000, &str::len).unwrap();
        assert_eq!((part.is_whole, part.pages), (false, Some(1)));
    }
}
