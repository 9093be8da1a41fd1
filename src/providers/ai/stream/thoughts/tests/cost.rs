//! What is held has an end, and nothing makes the filter read a text again and again.

use super::super::doubtful_pair::MAX_HELD_PAIR;
use super::super::filter::Filter;
use super::super::shown::MAX_HELD_SPACE;

#[test]
fn white_space_and_headers_without_an_end_are_not_held_for_ever() {
    let long = " ".repeat(5000);
    for start in [
        "",
        "x</think>",
        "<|channel|>analysis<|message|>x<|end|>",
        "<|channel|>final",
        "<|start|>",
        "<think a=",
    ] {
        let mut filter = Filter::new("");
        for _ in 0..100 {
            filter.push(start);
            filter.push(&long);
            assert!(filter.held_bytes() <= MAX_HELD_SPACE + 600);
        }
    }
}

/// The most times that a character is looked at: once for each token of a header that turns out to be none, and what is around.
const MAX_LOOKS: usize = 8;

#[test]
fn a_character_is_looked_at_a_few_times_at_most() {
    for unit in [
        "<|channel|>final",
        "<|channel|>analysis",
        "<|channel|>final <|constrain|>",
        "<|start|>",
        "<|start|>assistant",
        "<|end|>",
        "<|end|> \n",
        "<|end|><|return|><|call|><|start|>a<|channel|>final <|constrain|>b",
        "[THIN",
        "[THINK",
        "◁",
        "<",
        "<t",
        "</thinkin",
        "<think a=\"",
        "<think a='[THIN",
        "a <think>x",
        "a <think>x</think>,",
        "a <think>x</think>tag ",
        "a <think>\n<think></think><analysis>x",
        "<analysis>x",
        "<analysis>x</analysis>|",
        "\n<think></think><analysis>x",
        "a </think> is ",
        "a </think>\n",
        "analysi",
        "assistantfina",
        "`<think>",
    ] {
        for start in [
            "",
            "Hello ",
            "<|channel|>analysis<|message|>",
            "analysisThe ",
            "<think>",
            "Hello <think>x",
            "Hello </think> ",
        ] {
            // Longer than all that is held.
            let length = if start.contains(" <think>") {
                MAX_HELD_PAIR + 2000
            } else {
                3000
            };
            let text = format!("{start}{}", unit.repeat(length / unit.len()));
            for size in [1, 1000] {
                let mut filter = Filter::new("");
                let letters: Vec<char> = text.chars().collect();
                for part in letters.chunks(size) {
                    filter.push(&part.iter().collect::<String>());
                }
                filter.finish();
                let looks = filter.looked_at;
                assert!(looks <= MAX_LOOKS * letters.len(), "{start:?} {unit:?}: {looks}");
            }
        }
    }
}
