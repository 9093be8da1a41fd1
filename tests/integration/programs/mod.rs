//! The programs as operators and developers run them.

mod admin;
mod dev;
mod operating;
mod pooler;
mod startup;
