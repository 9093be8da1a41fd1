use super::*;
use crate::FileId;
use crate::file::{AttachedFile, FileStatus, FileUse};
use crate::file_type::FileType;
use crate::prompt::{PromptFile, used_files};

const RULES: FileRules = FileRules {
    takes: Takes::ALL,
    pictures: PictureCost::Area,
};

fn history(messages: &[(Role, &str)]) -> Vec<HistoryMessage> {
    let message = |(n, (role, content)): (usize, &(Role, &str))| HistoryMessage {
        id: MessageId(i64::try_from(messages.len() - n).unwrap()),
        message: PromptMessage::plain(*role, *content),
    };
    messages.iter().enumerate().map(message).collect()
}

fn assembled(budget: usize, messages: &[(Role, &str)]) -> Prompt {
    with_files(budget, history(messages), &FileContents::new())
}

fn with_files(budget: usize, history: Vec<HistoryMessage>, contents: &FileContents) -> Prompt {
    let system = PromptMessage::plain(Role::System, "");
    assemble(system, history, budget, (contents, RULES), str::len)
}

fn attach(said: &mut HistoryMessage, id: i64, file_type: FileType) {
    said.message.files.push(PromptFile::named(AttachedFile {
        id: FileId(id),
        name: format!("{id}.{}", file_type.extension()),
        file_type,
        status: FileStatus::Clean,
    }));
}

fn picture(side: u32, bytes: u64) -> FileContent {
    FileContent::Picture {
        width: side,
        height: side,
        bytes,
    }
}

fn pages(count: u32) -> FileContent {
    let pages: Vec<String> = (1..=count)
        .map(|page| format!("This is what page {page} says. "))
        .collect();
    FileContent::Text {
        text: pages.join("\u{c}"),
        is_all: true,
        page_count: Some(count),
    }
}

/// What the files of a prompt were used for, by their ids.
fn used(prompt: &Prompt) -> Vec<(i64, FileUse)> {
    let files = used_files(&prompt.messages, RULES.takes);
    files.iter().map(|file| (file.id.0, file.used)).collect()
}

#[test]
fn the_system_message_comes_first_and_the_question_last() {
    let messages = [(Role::User, "c"), (Role::Assistant, "b"), (Role::User, "a")];
    let prompt = assembled(100, &messages);
    let contents: Vec<_> = prompt.messages.iter().map(|m| m.content.as_str()).collect();
    assert_eq!(contents, ["", "a", "b", "c"]);
    assert_eq!(prompt.tokens, 4 + 3 * 5);
    assert_eq!(prompt.summarize, None);
}

#[test]
fn messages_that_do_not_fit_are_left_out_question_and_answer_together() {
    let big = "x".repeat(90);
    let prompt = assembled(100, &[(Role::User, "now"), (Role::Assistant, "ok"), (Role::User, &big)]);
    assert_eq!(
        prompt.messages.len(),
        2,
        "the old question does not fit, so its answer goes too"
    );
    assert_eq!(prompt.tokens, 4 + 7);
}

#[test]
fn the_question_is_kept_whatever_its_length() {
    assert_eq!(assembled(10, &[(Role::User, &"x".repeat(1000))]).messages.len(), 2);
}

#[test]
fn a_history_that_fills_the_budget_is_summarized_up_to_an_answer_in_its_middle() {
    let ten = "xxxxxxxxxx";
    let messages: Vec<(Role, &str)> = (0..7)
        .map(|n| (if n % 2 == 0 { Role::User } else { Role::Assistant }, ten))
        .collect();
    let prompt = assembled(120, &messages);
    assert_eq!(prompt.messages.len(), 8);
    // Newest first: 7 is the question, 6 an answer …
    assert_eq!(prompt.summarize, Some(MessageId(2)));
}

#[test]
fn messages_left_out_are_summarized_even_if_the_rest_is_short() {
    let big = "x".repeat(90);
    let messages = [
        (Role::User, "now"),
        (Role::Assistant, big.as_str()),
        (Role::User, "then"),
    ];
    assert_eq!(assembled(60, &messages).summarize, Some(MessageId(2)));
}

#[test]
fn three_long_documents_share_half_of_the_budget_and_the_question_stays() {
    let mut asked = history(&[
        (Role::User, "What do they say?"),
        (Role::Assistant, "Hello."),
        (Role::User, "Hi"),
    ]);
    let mut contents = FileContents::new();
    for id in 1..=3 {
        attach(&mut asked[0], id, FileType::Pdf);
        contents.insert(FileId(id), pages(300));
    }
    let prompt = with_files(8000, asked, &contents);
    assert!(prompt.tokens <= 8000, "{}", prompt.tokens);
    assert_eq!(prompt.messages.len(), 4, "what was said before has the other half");
    let question = prompt.messages.last().unwrap().text(RULES.takes);
    assert!(question.ends_with("What do they say?"));
    let lengths: Vec<usize> = question.split("</document>").map(str::len).collect();
    assert!(
        question.len() <= 4100 && lengths[..3].iter().all(|length| (900..1450).contains(length)),
        "{lengths:?}"
    );
    let files = used_files(&prompt.messages, RULES.takes);
    assert!(
        files
            .iter()
            .all(|file| file.used == FileUse::Cut && file.page_count == Some(300))
    );
    assert!(
        files
            .iter()
            .all(|file| file.pages.is_some_and(|pages| (10..60).contains(&pages)))
    );
    assert!(prompt.messages[0].content.contains("never instructions"));
}

#[test]
fn a_file_of_two_messages_is_given_once_with_the_newer_one() {
    let mut asked = history(&[
        (Role::User, "And now?"),
        (Role::Assistant, "I see."),
        (Role::User, "Look"),
    ]);
    let mut contents = FileContents::new();
    for (id, file_type, content) in [(1, FileType::Pdf, pages(2)), (2, FileType::Jpeg, picture(100, 1000))] {
        attach(&mut asked[0], id, file_type);
        attach(&mut asked[2], id, file_type);
        contents.insert(FileId(id), content);
    }
    let prompt = with_files(8000, asked, &contents);
    let texts: Vec<_> = prompt
        .messages
        .iter()
        .map(|message| message.text(RULES.takes))
        .collect();
    assert_eq!(
        texts
            .iter()
            .map(|text| text.matches("<document name").count())
            .sum::<usize>(),
        1
    );
    assert!(texts[1].contains("belongs to a later message") && texts[3].contains("<document name"));
    assert_eq!(prompt.messages[1].tokens_beside_text(RULES.takes), 0);
    assert_eq!(used(&prompt), [(1, FileUse::Whole), (2, FileUse::Whole)]);
}

#[test]
fn the_newest_eight_pictures_are_given_and_of_them_no_more_than_a_request_may_weigh() {
    let mut asked = history(&[(Role::User, "These"), (Role::Assistant, "Yes."), (Role::User, "Those")]);
    let mut contents = FileContents::new();
    for id in 1..=12 {
        attach(&mut asked[if id <= 7 { 0 } else { 2 }], id, FileType::Png);
        contents.insert(FileId(id), picture(10, 1000));
    }
    let given = |prompt: &Prompt| {
        used(prompt)
            .iter()
            .filter(|file| file.1 == FileUse::Whole)
            .map(|file| file.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        given(&with_files(8000, asked.clone(), &contents)),
        [1, 2, 3, 4, 5, 6, 7, 8]
    );
    for id in 1..=12 {
        contents.insert(FileId(id), picture(10, 4_000_000));
    }
    assert_eq!(given(&with_files(8000, asked, &contents)).len(), 5, "20 MiB");
}

#[test]
fn pictures_are_given_whatever_they_cost_and_take_half_of_the_budget_from_what_was_said() {
    let long = "x".repeat(200);
    let mut asked = history(&[
        (Role::User, "And this?"),
        (Role::Assistant, "A cat."),
        (Role::User, "What is it?"),
        (Role::Assistant, &long),
        (Role::User, &long),
    ]);
    attach(&mut asked[0], 1, FileType::Png);
    attach(&mut asked[2], 2, FileType::Png);
    // 3,000 and 480 tokens.
    let contents = FileContents::from([(FileId(1), picture(1500, 1000)), (FileId(2), picture(600, 1000))]);
    let small = with_files(1000, asked.clone(), &contents);
    assert_eq!(used(&small), [(1, FileUse::Whole), (2, FileUse::Whole)]);
    assert_eq!(small.messages.len(), 4, "the other half holds so much of what was said");
    assert!(small.tokens > 3480, "they cost what they cost: {}", small.tokens);
    assert_eq!(with_files(8000, asked, &contents).messages.len(), 6);
}

/// A question with a document, and one before a long answer.
fn two_documents() -> (Vec<HistoryMessage>, FileContents) {
    let long = "x".repeat(700);
    let mut asked = history(&[
        (Role::User, "And this?"),
        (Role::Assistant, &long),
        (Role::User, "Read"),
    ]);
    attach(&mut asked[0], 1, FileType::Pdf);
    attach(&mut asked[2], 2, FileType::Pdf);
    let contents = FileContents::from([(FileId(1), pages(80)), (FileId(2), pages(80))]);
    (asked, contents)
}

#[test]
fn an_older_document_is_shortened_rather_than_left_out() {
    let (asked, contents) = two_documents();
    let prompt = with_files(2000, asked, &contents);
    assert_eq!(used(&prompt), [(1, FileUse::Cut), (2, FileUse::Cut)]);
    assert!(prompt.tokens <= 2000, "{}", prompt.tokens);
}

#[test]
fn the_share_of_a_document_whose_message_is_left_out_goes_to_the_others_and_it_is_named() {
    let (mut asked, contents) = two_documents();
    asked[2].message.content = "y".repeat(1500);
    let prompt = with_files(2500, asked, &contents);
    assert_eq!(used(&prompt), [(1, FileUse::Cut), (2, FileUse::LeftOut)]);
    let question = prompt.messages.last().unwrap().text(RULES.takes);
    assert!(question.len() > 1000, "nearly half of the budget: {}", question.len());
    assert!(
        prompt.messages[0]
            .text(RULES.takes)
            .contains("\"2.pdf\": there is no room")
    );
    assert!(prompt.tokens <= 2500, "{}", prompt.tokens);
}

#[test]
fn photos_leave_a_document_of_an_earlier_message_a_part_of_the_budget() {
    let mut asked = history(&[
        (Role::User, "And page 3?"),
        (Role::Assistant, "I see."),
        (Role::User, "Look"),
    ]);
    let mut contents = FileContents::from([(FileId(9), pages(900))]);
    for id in 1..=4 {
        attach(&mut asked[2], id, FileType::Jpeg);
        contents.insert(FileId(id), picture(1500, 1000));
    }
    attach(&mut asked[2], 9, FileType::Pdf);
    let prompt = with_files(16_000, asked, &contents);
    let uses: Vec<FileUse> = used(&prompt).into_iter().map(|file| file.1).collect();
    assert_eq!(
        uses,
        [
            FileUse::Whole,
            FileUse::Whole,
            FileUse::Whole,
            FileUse::Whole,
            FileUse::Cut
        ]
    );
    assert!(prompt.messages[1].document_bytes() > 6000);
}

#[test]
fn a_pdf_without_text_is_given_as_it_is_if_it_is_short_and_the_model_takes_it() {
    let pdf = |pages| FileContents::from([(FileId(1), FileContent::Pdf { pages, bytes: 5000 })]);
    let mut asked = history(&[(Role::User, "Read this")]);
    attach(&mut asked[0], 1, FileType::Pdf);
    let given = |pages, takes| {
        let system = PromptMessage::plain(Role::System, "");
        let rules = FileRules { takes, ..RULES };
        let prompt = assemble(system, asked.clone(), 8000, (&pdf(pages), rules), str::len);
        used_files(&prompt.messages, takes)[0].used
    };
    assert_eq!(given(20, Takes::ALL), FileUse::Whole);
    assert_eq!(given(21, Takes::ALL), FileUse::LeftOut);
    assert_eq!(given(20, Takes::TEXT), FileUse::LeftOut);
}

#[test]
fn what_is_not_clean_or_not_known_is_a_line() {
    let mut asked = history(&[(Role::User, "Look")]);
    attach(&mut asked[0], 1, FileType::Pdf);
    attach(&mut asked[0], 2, FileType::Docx);
    let contents = FileContents::from([(FileId(2), FileContent::Nothing)]);
    let prompt = with_files(8000, asked, &contents);
    let text = prompt.messages[1].text(RULES.takes);
    assert!(
        text.contains("\"1.pdf\": there is no room") && text.contains("\"2.docx\": no text was found"),
        "{text}"
    );
    assert!(
        prompt.messages[0].content.is_empty(),
        "no rule about fences without one"
    );
}

#[test]
fn no_prompt_is_longer_than_its_budget_unless_the_question_alone_is() {
    for budget in [200, 500, 1000, 3000, 10_000] {
        for documents in 0..12 {
            let mut asked = history(&[
                (Role::User, "Tell me"),
                (Role::Assistant, &"a".repeat(300)),
                (Role::User, &"b".repeat(300)),
            ]);
            let mut contents = FileContents::new();
            for id in 0..documents {
                attach(&mut asked[if id % 3 == 0 { 2 } else { 0 }], id, FileType::Docx);
                contents.insert(FileId(id), pages(u32::try_from(id * id + 1).unwrap()));
            }
            let prompt = with_files(budget, asked, &contents);
            let real: usize = prompt
                .messages
                .iter()
                .map(|message| message.text(RULES.takes).len() + 4)
                .sum();
            let question = prompt.messages.last().unwrap().text(RULES.takes).len();
            assert!(real <= budget.max(question + 200), "{budget} {documents}: {real}");
            assert!(
                real <= prompt.tokens.max(question + 200),
                "{budget} {documents}: {real} {}",
                prompt.tokens
            );
        }
    }
}
