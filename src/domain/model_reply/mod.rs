//! A model's reply to a question of Cura's own, for a title or a summary: what was asked for in it, or nothing. Models wrap it
//! in courtesies, code fences and JSON, in any language, and sometimes refuse.

mod preamble;
mod refusal;
mod wrapping;

use crate::text::{is_blank, is_invisible};

/// The most words of a title; a reply with more is something else.
const MAX_TITLE_WORDS: usize = 14;
/// The most characters of a title that is worth being shortened; a reply with more is something else.
const MAX_TITLE_REPLY_CHARS: usize = 100;
/// From here on a text says more than a few words do, in UTF-8 bytes.
const LONG_PAST_BYTES: usize = 2000;
/// The shortest sentence about a person, in UTF-8 bytes; "Done." is shorter.
const SHORTEST_SENTENCE_BYTES: usize = 16;
/// How many times as long as its summary a text is at most.
const TIMES_ITS_SUMMARY: usize = 1000;
/// What models answer that have no title.
const NO_TITLES: [&str; 18] = [
    "title",
    "titel",
    "untitled",
    "no title",
    "new chat",
    "new conversation",
    "conversation",
    "none",
    "null",
    "n/a",
    // Roles, classes and errors of servers.
    "assistant",
    "user",
    "safe",
    "unsafe",
    "error",
    "internal server error",
    "bad gateway",
    "service unavailable",
];

/// The title in a reply, on one line and not yet shortened; `None` when there is none. `is_whole`: whether the model finished
/// the reply, else its last line is no title.
pub(crate) fn title(reply: &str, is_whole: bool) -> Option<String> {
    let reply = storable(reply);
    let text = wrapping::unwrap(&reply, "title")?.replace("\\n", "\n");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_list = lines.iter().any(|line| wrapping::without_number(line, "2").is_some());
    let mut lines = lines.into_iter().peekable();
    while let Some(line) = lines.next() {
        let line = match wrapping::without_number(line, "1") {
            Some(item) if is_list => item,
            _ => line,
        };
        let line = wrapping::without_markup(wrapping::without_box(line));
        let line = preamble::without_interjection(&line);
        let title = preamble::behind_label(line, &preamble::TITLE_LABELS);
        let said = title.unwrap_or(line);
        if refusal::is_refusal(said) || refusal::is_deliberation(said) {
            return None;
        }
        let Some(title) = title else {
            continue;
        };
        let is_cut = !is_whole && lines.peek().is_none();
        return Some(bare(title)).filter(|title| !is_cut && is_title(title));
    }
    None
}

/// The summary in a reply that the model finished, of `replaced` UTF-8 bytes of text; `None` when there is none. A courtesy in place
/// of a long past is none: it would be all that is ever told again of it.
pub fn summary(reply: &str, replaced: usize) -> Option<String> {
    let reply = storable(reply);
    let text = wrapping::unwrap(&reply, "summary")?;
    if refusal::is_refusal(&text) {
        return None;
    }
    let text = preamble::without_first_line(&text, &preamble::SUMMARY_LABELS);
    let is_summary = !is_blank(text) && text.len() >= shortest_summary(replaced) && !refusal::is_refusal(text);
    is_summary.then(|| text.to_owned())
}

/// The shortest summary of so much text, in UTF-8 bytes, which say about the same in every script. One plain sentence is better
/// than nothing, so no more is asked for than that.
fn shortest_summary(replaced: usize) -> usize {
    if replaced < LONG_PAST_BYTES {
        return 0;
    }
    (replaced / TIMES_ITS_SUMMARY).max(SHORTEST_SENTENCE_BYTES)
}

/// Without what is no text: control characters but line breaks, and invisible ones but those that join letters or emoji.
fn storable(reply: &str) -> String {
    let is_kept = |letter: &char| match letter {
        '\n' | '\t' | '\u{200c}' | '\u{200d}' => true,
        letter => !letter.is_control() && !is_invisible(*letter),
    };
    reply
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(is_kept)
        .collect()
}

/// Without quotation marks and marks of emphasis around it, and without its full stop.
fn bare(title: &str) -> String {
    const AROUND: &str = "\"'“”„‟‘’‚«»‹›「」『』《》`*_#.。";
    title
        .trim_matches(|letter: char| letter.is_whitespace() || AROUND.contains(letter))
        .to_owned()
}

fn is_title(title: &str) -> bool {
    title.chars().any(char::is_alphanumeric)
        && title.split_whitespace().count() <= MAX_TITLE_WORDS
        && title.chars().count() <= MAX_TITLE_REPLY_CHARS
        && !NO_TITLES.contains(&title.to_lowercase().as_str())
        && !"{[".contains(title.chars().next().unwrap_or('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_found_in_whatever_is_around_it() {
        for reply in [
            "Trouble sleeping",
            "\n  \"Trouble sleeping.\"\nI hope it helps",
            "“Trouble sleeping”",
            "„Trouble sleeping“",
            "« Trouble sleeping »",
            "**Trouble sleeping**",
            "# Trouble sleeping",
            "- Trouble sleeping",
            "1. Trouble sleeping\n2. Awake at night",
            "Title: Trouble sleeping",
            "**Title:** Trouble sleeping",
            "**Title: \"Trouble sleeping\"**",
            "Titel: Trouble sleeping",
            "Titre : « Trouble sleeping »",
            "Título: Trouble sleeping",
            "Titolo: Trouble sleeping",
            "Suggested title: Trouble sleeping",
            "Title for the conversation: Trouble sleeping",
            "Sure! Here is a title for the conversation:\n\nTrouble sleeping",
            "Sure! Here is a title for the conversation: \"Trouble sleeping\"",
            "Sure, here's a title:\n**Trouble sleeping**\n\nLet me know if you need another one.",
            "Certainly!\n\nTrouble sleeping",
            "Sure! Trouble sleeping",
            "Okay. Trouble sleeping",
            "Certainly, here's the title: **Trouble sleeping**",
            "Based on the conversation, a fitting title is: Trouble sleeping",
            "Title: Trouble sleeping\n\nExplanation: they do not sleep.",
            "Title:\n\nTrouble sleeping",
            "{\"title\":\"**Trouble sleeping**\\n\"}",
            "json\n{\"title\": \"Trouble sleeping\"}",
            "Here is a suggestion:\nTitle: Trouble sleeping",
            "Klar! Hier ist ein Titel: Trouble sleeping",
            "Gerne, hier ist ein passender Titel:\n\n„Trouble sleeping“",
            "Bien sûr ! Voici un titre : « Trouble sleeping »",
            "¡Claro! Aquí tienes un título:\nTrouble sleeping",
            "Certo! Ecco un titolo: Trouble sleeping",
            "Claro! Aqui está um título: Trouble sleeping",
            "```\nTrouble sleeping\n```",
            "```json\n{\"title\": \"Trouble sleeping\"}\n```",
            "{\"title\": \"Trouble sleeping\"}",
            "{ \"Title\" : \"Trouble sleeping\", \"language\": \"en\" }",
            "{\"result\": {\"title\": \"Trouble sleeping\"}}",
            "{\"titel\": \"Trouble sleeping\"}",
            "[\"Trouble sleeping\", \"Awake\"]",
            "Here is the JSON:\n{\"title\": \"Trouble sleeping\"}",
            "Sure!\n```json\n{\n  \"title\": \"Trouble sleeping\"\n}\n```\nDone.",
            "<title>Trouble sleeping</title>",
            "Trouble sleeping<|im_end|>",
            "Here: {\"title\": \"Trouble sleeping\"}",
            "{'title': 'Trouble sleeping'}",
            "{\"conversation_title\": \"Trouble sleeping\", \"language\": \"en\"}",
            "The title is \"Trouble sleeping",
            "\\boxed{Trouble sleeping}",
            "Trouble sleeping\\n",
            "标题：Trouble sleeping",
            "タイトル：Trouble sleeping",
            "Название: Trouble sleeping",
            "Trouble\u{0}\u{202e} sleeping\u{7}",
        ] {
            assert_eq!(title(reply, true).as_deref(), Some("Trouble sleeping"), "{reply:?}");
        }
    }

    #[test]
    fn ordinary_titles_stay_as_they_are() {
        for text in [
            "I can't sleep",
            "Sorry for being angry",
            "I'm sorry, Mom",
            "I can't help worrying",
            "We need to talk",
            "I need to sleep",
            "I'm sorry I left",
            "Feeling safe at home",
            "Es tut mir leid, Mama",
            "No puedo dormir",
            "Ich kann nicht mehr",
            "Sure of nothing",
            "Okay, but not okay",
            "Why: a question of years",
            "Summary of a bad year",
            "Topic of the day",
            "Here is where I stay",
            "Claro que duele",
            "9/11",
            "Claro de luna",
            "Monday: first day at work",
            "1. Advent allein",
            "Sleep, stress & work",
            "睡不着",
            "نوم متقطع",
            "Great-grandmother's funeral",
            "Hier ist es zu kalt",
            "Schlaf 😴",
        ] {
            assert_eq!(title(text, true).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_reply_without_a_title_has_none() {
        let ramble =
            "The person says that they have not slept for a week and would like to know what they could do about it";
        for reply in [
            "",
            " \n \"\" ",
            "😀🎉",
            "...",
            "\u{200b}\u{feff}",
            "Title:",
            "Sure! Here is a title:",
            "I'm sorry, but I can't assist with that request.",
            "I\u{2019}m sorry, but I cannot create a title for this conversation.",
            "Sorry, I can't help with that.",
            "I cannot provide a title for this conversation.",
            "As an AI language model, I cannot do this.",
            "Es tut mir leid, aber dabei kann ich nicht helfen.",
            "Leider kann ich dazu keinen Titel erstellen.",
            "Je suis désolé, mais je ne peux pas vous aider.",
            "Lo siento, pero no puedo ayudarte con eso.",
            "Mi dispiace, ma non posso aiutarti.",
            "Desculpe, mas não posso ajudar com isso.",
            "Title: I'm sorry, but I can't assist with that.",
            "{\"title\": \"\"}",
            "{\"title\": null}",
            "{\"title\": \"Trouble sl",
            "{\"error\": {\"code\": 7}}",
            "```json\n{\"title\": \"Tro",
            "Untitled",
            "null",
            "safe",
            "assistant",
            "Internal server error",
            "I'm really sorry you're feeling this way",
            "I cannot discuss self-harm",
            "This content violates our policy",
            "I must decline this request",
            "Sorry, I am unable to assist you",
            "Ich kann dir damit leider nicht weiterhelfen",
            "申し訳ありませんが、お答えできません",
            "抱歉，我无法回答这个问题",
            "Извините, но я не могу помочь",
            "죄송하지만 도와드릴 수 없습니다",
            "The user is asking about sleep",
            "We need to produce a short title",
            "Okay, the user wants a title. Let me think. Trouble sleeping",
            ramble,
        ] {
            assert_eq!(title(reply, true), None, "{reply:?}");
        }
    }

    #[test]
    fn a_reply_that_was_cut_has_a_title_only_in_a_line_that_ended() {
        assert_eq!(title("Trouble sle", false), None);
        assert_eq!(title("{\"title\": \"Trouble", false), None);
        assert_eq!(
            title("Trouble sleeping\n\nI chose this becau", false).as_deref(),
            Some("Trouble sleeping")
        );
    }

    #[test]
    fn a_summary_is_found_in_whatever_is_around_it() {
        for reply in [
            "Ann sleeps badly.\n\n- Since May.",
            "Sure! Here is the summary:\n\nAnn sleeps badly.\n\n- Since May.",
            "**Summary:**\nAnn sleeps badly.\n\n- Since May.",
            "Summary: Ann sleeps badly.\n\n- Since May.",
            "Zusammenfassung:\nAnn sleeps badly.\n\n- Since May.",
            "Résumé : Ann sleeps badly.\n\n- Since May.",
            "## Resumen\n\nAnn sleeps badly.\n\n- Since May.",
            "```\nAnn sleeps badly.\n\n- Since May.\n```",
            "{\"summary\": \"Ann sleeps badly.\\n\\n- Since May.\"}",
            "```json\n{\"summary\": \"Ann sleeps badly.\\n\\n- Since May.\"}\n```",
            "Ann sleeps\u{0} badly.\r\n\r\n- Since May.\n",
        ] {
            assert_eq!(
                summary(reply, 0).as_deref(),
                Some("Ann sleeps badly.\n\n- Since May."),
                "{reply:?}"
            );
        }
    }

    #[test]
    fn a_reply_without_a_summary_has_none() {
        for reply in [
            "",
            " \n",
            "Summary:",
            "```\n```",
            "I'm sorry, but I can't assist with that.",
            "Summary: I'm sorry, but I can't help with that.",
            "I cannot discuss self-harm. If you are in crisis call 988.",
            "I'm really sorry you're feeling this way. Please call 988.",
            "Je suis désolée, mais je ne peux pas répondre.",
            "{\"summary\": \"\"}",
            "{\"summary\": \"Ann sl",
            "{}",
        ] {
            assert_eq!(summary(reply, 0), None, "{reply:?}");
        }
        let own = "Person: I can't sleep. They told me that they are sorry, but hopeful.";
        assert_eq!(summary(own, 5000).as_deref(), Some(own));
    }

    #[test]
    fn a_few_words_are_no_summary_of_a_long_past() {
        for reply in ["OK.", "Done!", "Summary:\nGot it.", "好的。", "{\"summary\": \"None\"}"] {
            assert_eq!(summary(reply, 5000), None, "{reply}");
        }
        for reply in ["Ann sleeps badly.", "安最近睡眠不好。"] {
            assert_eq!(summary(reply, 5000).as_deref(), Some(reply));
            assert_eq!(summary(reply, 100_000), None, "{reply}");
        }
        assert_eq!(summary("She likes tea.", 100).as_deref(), Some("She likes tea."));
    }
}
