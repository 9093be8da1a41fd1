//! What people write about tags is a text.

use super::{answer, result};

#[test]
fn a_text_about_tags_stays_as_it_is() {
    for text in [
        "a < b, a <b> c [1] ◁ <think",
        "The tag <think> begins a thought, </think> ends it.",
        "It ends with </think>.",
        "It ends with \"</think>\" and an answer.",
        "It ends with (</think>)\n\nNext",
        "It ends with `</think>`\n\nNext",
        "It ends with **</think>** always",
        "The closing one is\n</think> as you see.",
        "Write </think>\n\nNext",
        "So: <think>a</think>\n\nNext",
        "```\n<think>\na\n</think>\n\nHello\n```\n",
        "```html\n</think>\n\nHello\n```\n",
        "~~~\n◁/think▷\n\nHello\n~~~",
        "`◁think▷` and `◁/think▷`",
        "`<|channel|>analysis<|message|>` is a header",
        "An <answer> and <output>x</output>",
        "<p>Hello</p>",
        "analysis of it",
        "assistants",
        "[THIN]K",
        "<|end|>",
        "<<think>>",
        "<think about you>",
        "<think/>",
        "Write it like this: <think>your thoughts</think>",
        "Thoughts go into <think>your thoughts</think>.",
        "Models emit <think>...</think> tags",
        "Models emit <think>thoughts</think> tags.",
        "Models emit <think></think> pairs",
        "| <think>a</think> | b |",
        "\"<think>a</think>\" is one",
        "`<think>` begins it, so <think>a</think> is a thought",
        "First <think> is written, then <think>a</think> is whole",
        "Text (<think>a</think>) and [<think>b</think>]",
        "`x <think>a</think>` and ``<think a=\"1\">b</think>``",
        "Put </think> after it",
        "It goes with </think> and an answer",
        "It ends on this mark </think> and goes on",
        "Every thought has an end. </think> is its sign.",
        "The mark </think>, then text",
        "The mark </think> (closing)",
        "Das </think> Tag",
        "An <analysis>a</analysis> of it",
        "My <scratchpad> and </scratchpad>\n\nNext",
        "They are sad.\n</analysis>\n\nHello",
        "They are sad.\n\n<reflection>a</reflection>\n\nHello",
        "<analysis>\nAll of it is asked for.\n</analysis>",
        "<analysis>\nA part",
        "<analysis>a</analysis>\n<conclusion>b</conclusion>",
        "<analysis> is the tag, </analysis> ends it",
        "<analysis>a</analysis>, then text",
        "```xml\n<analysis>a</analysis>\n<b>c</b>\n```\n",
        "<|thinks|>",
        "<longcat_thin",
        " \n Hello",
        " \n ",
    ] {
        assert_eq!(answer(text), text);
    }
    let fence = "See:\n```\nthink\n";
    assert_eq!(
        result(fence, "</think>\n\nx\n```\n"),
        "x\n```\n",
        "a completion begins with its thoughts"
    );
    assert_eq!(result(fence, "a\n</think>\n\nx\n```\n"), "a\n</think>\n\nx\n```\n");
}
