//! What `pg_dump` and `pg_restore` say when they fail: the beginning of it, and never a value of a row.

use std::process::Stdio;

use cura_devdb::ClientProgram;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// How much of what a program says is kept, in bytes. What follows is read and dropped, so that the program does not wait.
const MAX_SAID_BYTES: usize = 16 * 1024;
/// The longest line of it that is repeated, in characters.
const MAX_LINE_CHARS: usize = 300;
/// The longest name that Postgres gives to anything, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// A command that finds its database in its environment, and is killed when it is dropped.
pub(crate) fn command(program: &ClientProgram, variables: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(&program.path);
    // What they hold comes from the URL, or would contradict it.
    for name in ["PGSERVICE", "PGSERVICEFILE", "PGOPTIONS", "PGHOSTADDR", "PGAPPNAME"] {
        command.env_remove(name);
    }
    command
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .env("PGCONNECT_TIMEOUT", "10")
        // What it says is looked at.
        .env("LC_ALL", "C")
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Reads what a program says to its end; gives its beginning.
pub(crate) async fn listen(mut stderr: impl AsyncRead + Unpin) -> String {
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        let room = MAX_SAID_BYTES - said.len();
        said.extend_from_slice(&buffer[..read.min(room)]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// The first line that says what failed. Quoted values go, if they are not names; lines of context, which quote rows, are never repeated.
pub(crate) fn first_error(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find(|line| line.contains("error:")).or_else(|| lines().next());
    let Some(line) = line else {
        return "it said nothing".to_owned();
    };
    let line = line.rsplit_once("error: ").map_or(line, |(_, what)| what);
    let mut text = String::new();
    for (n, part) in line.split('"').enumerate() {
        if n % 2 == 0 {
            text.push_str(part);
        } else if is_name(part) {
            text.push_str(&format!("\"{part}\""));
        } else {
            text.push_str("\"…\"");
        }
    }
    text.chars().take(MAX_LINE_CHARS).collect()
}

fn is_name(text: &str) -> bool {
    let is_of_names = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte);
    text.len() <= MAX_NAME_BYTES
        && text.contains('_') | text.bytes().all(|byte| byte.is_ascii_lowercase())
        && text.bytes().all(is_of_names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_error_is_repeated_and_no_value() {
        let said = "pg_restore: while PROCESSING TOC:\npg_restore: error: could not execute query: ERROR:  permission denied to create \
                    extension \"pgcrypto\"\nCONTEXT:  COPY messages, line 1: \"hunter2 hunter2\"";
        let expected = "could not execute query: ERROR:  permission denied to create extension \"pgcrypto\"";
        assert_eq!(first_error(said), expected);
        let said = "pg_restore: error: COPY failed for table \"known_places\": ERROR:  invalid input syntax for type bigint: \"Hunter 2\"";
        assert!(!first_error(said).contains("Hunter"), "{}", first_error(said));
        assert!(first_error(said).contains("\"known_places\""));
        assert_eq!(first_error("\n"), "it said nothing");
    }
}
