//! What the sandboxed child does with a file; nothing else of Cura runs there.
//!
//! The parsers of documents and pictures work on what strangers send. They run in a process of their own that can neither open
//! a file, nor connect, nor start a program, and that the kernel ends when it takes too much. Whatever a file does to its parser,
//! the worst result is a file that could not be read.

mod answer;
mod archive;
mod command;
mod documents;
mod inspect;
mod pictures;
mod request;
pub mod sandbox;
pub mod text;

pub use answer::{Answer, Encoding, Inspected, MAX_ANSWER_BYTES, MAX_PAGES, MAX_PICTURE_BYTES, Picture};
pub use archive::{Archive, Entry};
pub use command::{command, run_child_if_asked};
pub use request::{Request, Wanted};
