//! The result does not depend on how a text is split.

use proptest::prelude::*;

use super::{answer, filtered, letters};

const PARTS: [&str; 52] = [
    "<think>",
    "</think>",
    "<thinking>",
    "</thinking>",
    "◁think▷",
    "◁/think▷",
    "<|channel|>",
    "analysis",
    "final",
    "<|message|>",
    "<|end|>",
    "<|start|>",
    "assistant",
    "assistantfinal",
    "<|return|>",
    "[THINK]",
    "[/THINK]",
    "<answer>",
    "</answer>",
    "<|START_RESPONSE|>",
    "<|channel>",
    "<channel|>",
    "`",
    "```",
    "\n",
    "\n\n",
    " ",
    "Hello",
    "a",
    "é",
    ".",
    "<",
    "<|",
    "◁",
    "\"",
    "</",
    "<think a=\"1\">",
    "<think b",
    "<analysis>",
    "</analysis>",
    "<mm:think>",
    "</mm:think>",
    "<|think|>",
    "<|/think|>",
    "<|begin|>assistant<|content|>",
    " the ",
    " is ",
    "tags",
    ",",
    ":",
    "|",
    "Hello <think>x",
];

proptest! {
    #[test]
    fn the_result_is_the_same_however_a_text_is_split(
        parts in prop::collection::vec(0..PARTS.len(), 0..24),
        cuts in prop::collection::vec(0_usize..200, 0..12),
        continues in any::<bool>(),
    ) {
        let text: String = parts.iter().map(|&part| PARTS[part]).collect();
        let written = if continues { "Hel" } else { "" };
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&at| at <= text.len() && text.is_char_boundary(at)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let split: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
        let (whole, _, thoughts) = filtered(written, &letters(&text));
        let (joined, _, of_split) = filtered(written, &split);
        prop_assert_eq!((joined, of_split), (whole, thoughts), "{:?}", split);
    }

    #[test]
    fn an_ordinary_text_passes_unchanged(text in "[a-zA-Z .,\n`*é◁\\[\\]<>/|-]{0,60}") {
        prop_assert_eq!(answer(&text), text);
    }
}
