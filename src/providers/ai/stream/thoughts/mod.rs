//! Thoughts inside a completion's text: some servers pass on what a model thinks before it answers as if it were the answer.
//! They are taken out while the text streams: never shown, stored or told to the model again, and only their size is kept.

mod attributes;
mod code;
mod doubtful_pair;
mod filter;
mod harmony;
mod lone_closing;
mod recognise;
mod shown;
mod tag_reader;
mod tags;
mod talk;
#[cfg(test)]
mod tests;
mod without_thoughts;

pub(crate) use without_thoughts::without_thoughts;
