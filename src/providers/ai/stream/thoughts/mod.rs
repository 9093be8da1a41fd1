//! Thoughts inside a completion's text: some servers pass on what a model thinks before it answers as if it were the answer.
//! They are taken out while the text streams: never shown, stored or told to the model again, and only their size is kept.

mod code;
mod filter;
mod harmony;
mod lone_closing;
mod tags;
#[cfg(test)]
mod tests;
mod without_thoughts;

pub(crate) use without_thoughts::without_thoughts;
