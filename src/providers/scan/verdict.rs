//! What a scanner says of a file.

/// What a scanner says of a whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It knows nothing bad in it.
    Clean,
    /// It knows what is in it.
    Infected {
        /// What the scanner calls it: from 1 to 128 printable characters of ASCII, without spaces.
        signature: String,
    },
    /// It has not looked at all of it, since unpacking it would take more than the scanner is allowed.
    LimitsExceeded,
    /// It could not look into it, since it has a password.
    Encrypted,
}
