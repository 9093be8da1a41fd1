//! What was built, and from which commit.

/// The commit, as `CURA_COMMIT` or git said when the programs were built; `unknown` otherwise.
pub const COMMIT: &str = env!("CURA_COMMIT");
/// The release and the commit, as `--version` says them.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("CURA_COMMIT"), ")");
