//! How a prompt is put together: the question always, with its pictures; of the rest, what has room.
//!
//! - Documents have at most half of the budget together, which they share fairly; each file is given once, with the newest message that
//!   has it.
//! - Pictures are bounded by their number and bytes, not by the budget: some models count more tokens for one than a budget has. They take
//!   at most half of it from what was said.
//! - Of earlier messages the newest are kept, with their pictures; what is left out is summarized.

use std::collections::HashSet;

use super::contents::{
    FileContent, FileContents, MAX_BYTES_BESIDE_TEXT, MAX_DOCUMENTS, MAX_PAGES_BESIDE_TEXT, MAX_PDF_PAGES, MAX_PICTURES,
};
use super::documents::{Document, shares};
use super::files::{Given, LeftOut, PromptFile, Takes, max_line_bytes};
use super::{HistoryMessage, PromptMessage, fence};
use crate::MessageId;
use crate::file::FileStatus;
use crate::message::Role;
use crate::picture_tokens::PictureCost;

/// The tokens of a message besides its text: the marks of its role, a few tokens in every provider's format.
const TOKENS_PER_MESSAGE: usize = 4;
/// The share of the budget from which the history is summarized: the rest must have room for the next messages.
const FULL: (usize, usize) = (3, 4);
/// How many files of messages that are left out are named at most.
const NAMED: usize = 10;

/// What a prompt may give beside text, and what that costs.
#[derive(Debug, Clone, Copy)]
pub struct FileRules {
    /// What the model takes.
    pub takes: Takes,
    /// What its pictures cost.
    pub pictures: PictureCost,
}

/// A prompt and its tokens.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The system message, then the conversation, oldest first, ending with the message to answer.
    pub messages: Vec<PromptMessage>,
    /// Its tokens, as `assemble` counted them, pictures included.
    pub tokens: usize,
    /// The last message of the older half, if the history has become so long that it should be summarized up to there.
    pub summarize: Option<MessageId>,
}

/// A message, and its tokens without documents and pictures.
struct Kept {
    said: HistoryMessage,
    tokens: usize,
}

/// Assembles a prompt of at most `budget` tokens, as `count` counts them, pictures beside it.
///
/// `newest_first` begins with the message to answer, which is always kept, with its pictures. Older ones are kept whole while they fit,
/// and the history never begins with an answer whose question was left out.
pub fn assemble(
    mut system: PromptMessage,
    newest_first: Vec<HistoryMessage>,
    budget: usize,
    (contents, rules): (&FileContents, FileRules),
    count: impl Fn(&str) -> usize,
) -> Prompt {
    let mut history = newest_first;
    give_beside_text(&mut history, contents, rules);
    let cost = |message: &PromptMessage| count(&message.text(rules.takes)) + TOKENS_PER_MESSAGE;
    let texts: Vec<usize> = history.iter().map(|said| cost(&said.message)).collect();
    let mut candidates = candidates(&history, contents, &count);
    if !candidates.is_empty() {
        system.content.push_str(fence::RULE);
    }
    let system_tokens = cost(&system);
    let walk = Walk::through(&history, &texts, &candidates, rules, (system_tokens, budget));
    candidates.retain(|candidate| candidate.message < walk.kept);
    let room = budget.saturating_sub(walk.said + walk.beside_text.min(budget / 2));
    let documents = give_documents(&mut history, &candidates, room.min(budget / 2), &count);
    let text_tokens = walk.said + documents + walk.beside_text.min(budget / 2);
    let (mut prompt, left_out) = finish(system, history, &texts, walk, (system_tokens, budget));
    prompt.tokens += documents + name_files(&mut prompt, left_out, budget.saturating_sub(text_tokens));
    prompt
}

/// Has the system message name files of messages that are left out, as many as have room. Returns at least the tokens of that.
fn name_files(prompt: &mut Prompt, left_out: Vec<PromptFile>, room: usize) -> usize {
    let mut tokens = 0;
    for file in left_out.into_iter().take(NAMED) {
        // A token has at least one byte.
        let more = max_line_bytes(std::iter::once(file.file.name.as_str()));
        if tokens + more > room {
            break;
        }
        if let Some(system) = prompt.messages.first_mut() {
            system.files.push(file.without_content());
            tokens += more;
        }
    }
    tokens
}

/// Which messages are kept: the newest ones.
#[derive(Debug)]
struct Walk {
    kept: usize,
    /// The tokens of what was said.
    said: usize,
    /// Those of what goes beside the text.
    beside_text: usize,
    /// Those that the documents have at least, if they need them.
    documents: usize,
}

impl Walk {
    /// `texts` are the tokens of each message without its documents, of which a quarter of the budget is left to those that are kept.
    fn through(
        history: &[HistoryMessage],
        texts: &[usize],
        candidates: &[Candidate],
        rules: FileRules,
        (system_tokens, budget): (usize, usize),
    ) -> Self {
        let mut walk = Self {
            kept: 0,
            said: system_tokens,
            beside_text: 0,
            documents: 0,
        };
        for (nth, (said, text)) in history.iter().zip(texts).enumerate() {
            let beside_text = walk.beside_text + said.message.tokens_beside_text(rules.takes);
            let of_message = candidates.iter().filter(|candidate| candidate.message == nth);
            let documents = walk.documents + of_message.map(|candidate| candidate.document.tokens()).sum::<usize>();
            let documents = documents.min(budget / 4);
            if nth > 0 && walk.said + text + beside_text.min(budget / 2) + documents > budget {
                break;
            }
            (walk.beside_text, walk.documents) = (beside_text, documents);
            walk.said += text;
            walk.kept = nth + 1;
        }
        walk
    }
}

/// The prompt without the tokens of documents, and the files of messages that are left out.
fn finish(
    system: PromptMessage,
    history: Vec<HistoryMessage>,
    texts: &[usize],
    mut walk: Walk,
    (system_tokens, budget): (usize, usize),
) -> (Prompt, Vec<PromptFile>) {
    let mut messages = history.into_iter().zip(texts.iter().copied());
    let mut kept: Vec<Kept> = messages
        .by_ref()
        .take(walk.kept)
        .map(|(said, tokens)| Kept { said, tokens })
        .collect();
    let left_out: Vec<HistoryMessage> = messages.map(|(said, _)| said).collect();
    let first_left_out = left_out.iter().find(|said| said.message.role == Role::Assistant);
    let first_left_out = first_left_out.map(|said| said.id);
    let files = left_out.into_iter().flat_map(|said| said.message.files);
    let files = files.filter(|file| file.given != Given::Line(LeftOut::Later)).collect();
    while kept.len() > 1
        && let Some(oldest) = kept.pop_if(|oldest| oldest.said.message.role == Role::Assistant)
    {
        walk.said -= oldest.tokens;
    }
    let half = walk.said.saturating_sub(system_tokens) / 2;
    let room = budget.saturating_sub(walk.documents + walk.beside_text.min(budget / 2));
    let summarize = if let Some(left_out) = first_left_out {
        // What no longer fits must be summarized; more of it, if the rest is long.
        middle(&kept, half).or(Some(left_out))
    } else if walk.said * FULL.1 > room * FULL.0 {
        middle(&kept, half)
    } else {
        None
    };
    let mut prompt = Vec::with_capacity(kept.len() + 1);
    prompt.push(system);
    prompt.extend(kept.into_iter().rev().map(|kept| kept.said.message));
    let prompt = Prompt {
        messages: prompt,
        tokens: walk.said + walk.beside_text,
        summarize,
    };
    (prompt, files)
}

/// The newest answer with at least `newer` tokens after it.
fn middle(newest_first: &[Kept], newer: usize) -> Option<MessageId> {
    let mut after = 0;
    for kept in newest_first {
        if after >= newer && kept.said.message.role == Role::Assistant {
            return Some(kept.said.id);
        }
        after += kept.tokens;
    }
    None
}

/// Decides which files go beside the text, and says of the others why there is only a line: until documents are given.
fn give_beside_text(newest_first: &mut [HistoryMessage], contents: &FileContents, rules: FileRules) {
    let (mut pictures, mut bytes, mut all_pages) = (0, 0, 0);
    let mut seen = HashSet::new();
    for file in newest_first.iter_mut().flat_map(|said| &mut said.message.files) {
        if !seen.insert(file.file.id) {
            file.given = Given::Line(LeftOut::Later);
            continue;
        }
        let mut has_room = |more: u64| {
            let fits = bytes + more <= MAX_BYTES_BESIDE_TEXT && pictures < MAX_PICTURES;
            if fits {
                bytes += more;
                pictures += 1;
            }
            fits
        };
        file.given = match contents.get(&file.file.id) {
            Some(FileContent::Unknown) => Given::Line(LeftOut::NotRead),
            // Of more files than these nothing is read.
            None if file.file.status == FileStatus::Clean => Given::Line(LeftOut::NoRoom),
            None => Given::Line(LeftOut::NotRead),
            Some(FileContent::Nothing) => Given::Line(LeftOut::NoText),
            Some(FileContent::Text { .. }) => Given::Line(LeftOut::NoRoom),
            Some(FileContent::Picture { width, height, bytes }) if has_room(*bytes) => Given::Picture {
                tokens: rules.pictures.tokens(*width, *height),
            },
            Some(FileContent::Pdf { pages, bytes })
                if rules.takes.pdfs
                    && *pages <= MAX_PDF_PAGES
                    && all_pages + pages <= MAX_PAGES_BESIDE_TEXT
                    && has_room(*bytes) =>
            {
                all_pages += pages;
                Given::Pdf {
                    pages: *pages,
                    tokens: rules.pictures.of_pdf(*pages),
                }
            }
            Some(FileContent::Pdf { .. }) => Given::Line(LeftOut::NoText),
            Some(FileContent::Picture { .. }) => Given::Line(LeftOut::NoRoom),
        };
    }
}

/// A document whose text may be given, and where it is.
struct Candidate {
    message: usize,
    place: usize,
    document: Document,
}

/// The newest documents.
fn candidates(
    newest_first: &[HistoryMessage],
    contents: &FileContents,
    count: &impl Fn(&str) -> usize,
) -> Vec<Candidate> {
    let files = newest_first.iter().enumerate().flat_map(|(message, said)| {
        let files = said.message.files.iter().enumerate();
        files.map(move |(place, file)| (message, place, file))
    });
    let documents = files.filter(|(.., file)| file.given == Given::Line(LeftOut::NoRoom));
    let documents = documents.filter_map(|(message, place, file)| match contents.get(&file.file.id)? {
        FileContent::Text {
            text,
            is_all,
            page_count,
        } => Some(Candidate {
            message,
            place,
            document: Document::new(&file.file.name, text, *is_all, *page_count, count),
        }),
        _ => None,
    });
    documents.take(MAX_DOCUMENTS).collect()
}

/// Gives each document its share of `room`, and returns the tokens of all.
fn give_documents(
    newest_first: &mut [HistoryMessage],
    candidates: &[Candidate],
    room: usize,
    count: &impl Fn(&str) -> usize,
) -> usize {
    let mut tokens = 0;
    let sizes: Vec<usize> = candidates.iter().map(|candidate| candidate.document.tokens()).collect();
    for (candidate, share) in candidates.iter().zip(shares(&sizes, room)) {
        let said = newest_first.get_mut(candidate.message);
        let file = said.and_then(|said| said.message.files.get_mut(candidate.place));
        if let Some(file) = file
            && let Some(part) = candidate.document.part(share, count)
        {
            tokens += share;
            file.given = Given::Document(part);
        }
    }
    tokens
}

#[cfg(test)]
mod tests;
