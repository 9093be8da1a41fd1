//! What is a thought, and what is a text about tags.

mod any_cut;
mod cost;
mod pairs;
mod talk;

use super::filter::Filter;
use super::shown::Piece;

/// What is left of these parts, whether anything was taken back, and the bytes of the thoughts.
fn filtered(written: &str, parts: &[&str]) -> (String, bool, usize) {
    let mut filter = Filter::new(written);
    let (mut text, mut taken_back) = (String::new(), false);
    let mut apply = |pieces: Vec<Piece>| {
        for piece in pieces {
            match piece {
                Piece::Text(more) => text.push_str(&more),
                Piece::TakenBack => {
                    assert!(!text.is_empty() || !written.is_empty(), "nothing to take back");
                    text.clear();
                    taken_back = true;
                }
            }
        }
    };
    for part in parts {
        if filter.passes(part) {
            apply(vec![Piece::Text((*part).to_owned())]);
        } else {
            apply(filter.push(part));
        }
    }
    apply(filter.finish());
    (text, taken_back, filter.thoughts())
}

fn letters(text: &str) -> Vec<&str> {
    text.split("").filter(|letter| !letter.is_empty()).collect()
}

/// The result of a whole text, however it is split in two.
fn result(written: &str, text: &str) -> String {
    let by_letter = filtered(written, &letters(text));
    for at in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
        let (before, after) = text.split_at(at);
        let (halves, _, thoughts) = filtered(written, &[before, after]);
        assert_eq!((&halves, thoughts), (&by_letter.0, by_letter.2), "{before:?} {after:?}");
    }
    by_letter.0
}

fn answer(text: &str) -> String {
    result("", text)
}

#[test]
fn thoughts_are_taken_out_whatever_the_tags() {
    for text in [
        "<think>\nThey are sad.\n</think>\n\nHello",
        "\n<think>They are sad.</think>Hello",
        "<THINK>They are sad.</Think> Hello",
        "<thinking>They are sad.</thinking>\nHello",
        "<thought>They are sad.</thought>Hello",
        "<reasoning>They are sad.</reasoning>Hello",
        "<think>They are sad.</thinking>Hello",
        "<think>A <thought>b</thought> c</think>Hello",
        "<think></think>\n\nHello",
        "</think>\n\nHello",
        "<seed:think>They<seed:cot_budget_reflect>3</seed:cot_budget_reflect> are</seed:think>Hello",
        "[THINK]They are sad.[/THINK]Hello",
        "◁think▷They are sad.◁/think▷Hello",
        "<|START_THINKING|>They are sad.<|END_THINKING|><|START_RESPONSE|>Hello<|END_RESPONSE|>",
        "<|START_RESPONSE|>Hello<|END_RESPONSE|>",
        "<unused94>thought\nThey are sad.<unused95>Hello",
        "<|channel>thought\nThey are sad.<channel|>Hello",
        "<|inner_prefix|>They are sad.<|inner_suffix|>Hello",
        "<think>They are sad.</think>\n<answer>\nHello</answer>",
        "<|channel|>analysis<|message|>They are sad.<|end|><|start|>assistant<|channel|>final<|message|>Hello",
        "<|channel|>analysis<|message|>They<|end|>\n<|channel|>commentary to=f <|constrain|>json<|message|>{}<|call|>\
         <|start|>assistant<|channel|>final<|message|>Hello<|return|>",
        "<|start|>assistant<|channel|>analysis<|message|>They<|channel|>final<|message|>Hello<|end|>",
        "<|channel|>analysis<|message|>They<|end|>Hello",
        "<|channel|>final<|message|>Hello<|return|>",
        "analysisThe user is sad. A final answer. assistantfinalHello",
        "assistantfinalHello",
        "<think>They are sad.</think><think>Once more.</think>Hello",
        "<think duration=\"3\">They are sad.</think>Hello",
        "<thinking effort=high budget='1 k'>They are sad.</thinking >Hello",
        "<longcat_think>They are sad.</longcat_think>Hello",
        "<mm:think>They are sad.</mm:think>Hello",
        "<|think|>They are sad.<|/think|>Hello",
        "<|think|>They are sad.<|end|><|begin|>assistant<|content|>Hello",
        "<|thinking|>They are sad.<|/thinking|>Hello",
        "<analysis>They are sad.</analysis>\n\nHello",
        "<reflection>\nThey are sad.\n</reflection>\nHello",
        "\n<scratchpad>They are sad.</scratchpad>\n<answer>\nHello</answer>",
        "<inner_monologue tone=\"kind\">They are sad.</inner_monologue>Hello",
        "<think>They<think>are</think></think>Hello",
    ] {
        assert_eq!(answer(text), "Hello", "{text:?}");
    }
}

#[test]
fn a_thought_without_an_end_is_no_text() {
    for text in [
        "<think>They are",
        "<think>They are </thin",
        "<|channel|>analysis<|message|>They <|end|>",
        "<|channel|>analysis<|message|>They <|end|><|start|>assi",
        "analysisThey are",
        "◁think▷They",
        "<think>They</think>\n\n",
        "<think>They</think>\n<answer>",
    ] {
        assert_eq!(answer(text), "", "{text:?}");
    }
    assert_eq!(answer("Hello\n\n<think>They are"), "Hello\n\n");
}

#[test]
fn a_model_may_think_again() {
    assert_eq!(
        answer("<think>a</think>Hello\n\n<think>b</think>\n\nYou"),
        "Hello\n\nYou"
    );
    assert_eq!(answer("Let me see. ◁think▷b◁/think▷ You"), "Let me see. You");
    assert_eq!(answer("Let me see.◁think▷b◁/think▷\nYou"), "Let me see.\nYou");
}

#[test]
fn a_lone_closing_tag_takes_back_what_was_shown() {
    for text in [
        "They are sad.\n</think>\n\nHello",
        "They are sad. </think>\n\nHello",
        "They are sad.</think>Hello",
        "briefly</think>Hello",
        "They are sad.\n</think>Hello",
        "They are sad.\n</think> Hello",
        "They are sad.\n</thinking>\n\n**Hello**",
        "They are ◁/think▷Hello",
        "They are <|END_THINKING|><|START_RESPONSE|>Hello<|END_RESPONSE|>",
        "They are <channel|>Hello",
        "They are sad.<|end|><|start|>assistant<|channel|>final<|message|>Hello",
        "Is it `code?\n\n</think>\n\n<answer>Hello</answer>",
        "They are sad.\n</think>\n<think>b</think>Hello",
        "They are sad. </think> Hello",
        "They are sad. </think>Hello",
        "They are sad </think> Hello",
        "They are sad </think>\n\nHello",
        "They are </mm:think>Hello",
        "They are </longcat_think>Hello",
        "They are <|/think|>Hello",
        "They are <|end|><|begin|>assistant<|content|>Hello",
    ] {
        let shown = filtered("", &letters(text));
        assert_eq!(answer(text).trim_matches('*'), "Hello", "{text:?}");
        assert!(shown.1, "{text:?}");
        assert!(!filtered("", &[text]).1, "nothing was given yet: {text:?}");
    }
    assert_eq!(answer("thoughts </think> answer"), "answer");
}

#[test]
fn a_closing_tag_with_nothing_behind_it_takes_nothing_back() {
    assert_eq!(answer("Hello\n</think>"), "Hello\n");
    assert_eq!(answer("Hello\n</think>\n \n"), "Hello\n");
}

#[test]
fn only_the_first_closing_tag_takes_back() {
    assert_eq!(answer("a\n</think>\n\nHello.\n</think>\n\nYou"), "Hello.\nYou");
    assert_eq!(answer("<think>a</think>Hello.\n</think>\n\nYou"), "Hello.\nYou");
}

#[test]
fn a_continuation_is_filtered_by_itself() {
    assert_eq!(result("Hel", "<think>a</think>lo"), "lo");
    assert_eq!(result("Hello", "<think>a</think>\n\n you"), " you");
    assert_eq!(result("Hello", " you"), " you");
    assert_eq!(result("Hel", "They are sad.\n</think>\n\nlo"), "lo");
}

#[test]
fn thoughts_are_counted_in_bytes() {
    assert_eq!(filtered("", &["<think>é1", "2</think>x"]).2, 4);
    assert_eq!(filtered("", &["é12\n", "</think>x"]).2, 5);
    assert_eq!(filtered("", &["x"]).2, 0);
}
