//! What a private Postgres is used for.

/// How much data a crash of the machine may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// None.
    Durable,
    /// All: for tests. The server stays for a while without users, because tests are many short processes.
    Throwaway,
}
