//! Pairs within a line, and within each other.

use super::super::doubtful_pair::MAX_HELD_PAIR;
use super::super::filter::Filter;
use super::super::shown::MAX_HELD_SPACE;
use super::{answer, filtered, letters, result};

#[test]
fn a_pair_within_a_line_is_taken_out() {
    for (text, left) in [
        ("Hello <think>x</think> world", "Hello world"),
        ("Hello<think>x</think>world", "Helloworld"),
        ("Hello <think>They are sad.\n\nVery.</think>\n\nYou", "Hello \n\nYou"),
        ("Hello <think>\nthey are\n</think>\nYou", "Hello \nYou"),
        ("Hello <think> They are sad. </think> You", "Hello You"),
        ("Hello <think a=\"1\">x</thinking> world", "Hello world"),
        ("Hello <think>a<think>b</think>c</think> world", "Hello world"),
        ("Hello <think>`a < b`</think> world", "Hello world"),
        ("Hello <think>x</think>", "Hello "),
        ("Hello <think>x</think><think>y</think> world", "Hello world"),
        ("Hello <think>x</think> you <think>y</think> world", "Hello you world"),
    ] {
        assert_eq!(answer(text), left, "{text:?}");
    }
}

#[test]
fn a_pair_within_a_line_without_its_end_loses_nothing() {
    for text in [
        "Hello <think>x and more\n\nand more",
        "Hello <think>x</thin",
        "Hello <think>\nx\n",
        "Hello <think>a<think>b</think> c",
    ] {
        assert_eq!(answer(text), text);
    }
    let long = format!("Hello <think>{}", "They are sad.\n".repeat(MAX_HELD_PAIR / 10));
    let mut filter = Filter::new("");
    for part in letters(&long) {
        filter.push(part);
        assert!(filter.held_bytes() <= MAX_HELD_PAIR + MAX_HELD_SPACE + 600);
    }
    assert_eq!(filtered("", &letters(&long)).0, long);
    let closed = format!("{long}</think>, world");
    assert_eq!(filtered("", &letters(&closed)).0, closed);
}

#[test]
fn a_thought_within_a_thought_does_not_end_it() {
    for text in [
        "<think>a<think>b</think>c</think>Hello",
        "<think>\na\n<think>\nb\n</think>\nc\n</think>\n\nHello",
        "<think>a<think>b<think>c</think>d</think>e</think>Hello",
        "[THINK]a[THINK]b[/THINK]c[/THINK]Hello",
    ] {
        assert_eq!(answer(text), "Hello", "{text:?}");
    }
    let mentioned = "<think>No <think> tags!</think>Hello.\n</think>\n\nYou";
    assert_eq!(answer(mentioned), "Hello.\nYou", "nothing is taken back");
    assert_eq!(result("Hel", "<think>a<think>b</think>lo"), "lo");
}
