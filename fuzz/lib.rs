//! What holds whatever bytes come. `make fuzz` looks for bytes for which it does not, as long as it is told to; `make test` tries the
//! files that are known, and some changes of them.

pub mod file_link;
pub mod file_type;

#[cfg(test)]
mod tests;
