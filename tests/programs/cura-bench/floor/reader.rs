//! Reads answers over a connection that is kept, with as little work as possible: the load shares the machine with what it measures.
//!
//! Neither side splits an event over HTTP chunks, so the lines between events can be passed over.

use std::io::{Error, Result};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::load::Person;

/// Who reads, one answer after the other.
pub struct Reader<'a> {
    address: &'a str,
    /// Kept from an answer that ended well.
    connection: Option<BufReader<TcpStream>>,
}

impl<'a> Reader<'a> {
    pub fn of(address: &'a str) -> Self {
        let connection = None;
        Self { address, connection }
    }

    /// Asks, and gives each piece of the answer to `hear`. Returns the whole text, if the end of the stream says it.
    ///
    /// # Errors
    /// When the answer is refused, fails, or does not end.
    pub async fn read(
        &mut self,
        person: &Person,
        question: &str,
        mut hear: impl FnMut(&str),
    ) -> Result<Option<String>> {
        let mut stream = match self.connection.take() {
            Some(kept) => kept,
            None => BufReader::new(TcpStream::connect(self.address).await?),
        };
        stream.get_ref().set_nodelay(true)?;
        stream.write_all(self.request(person, question).as_bytes()).await?;
        let (mut line, mut name, mut completed) = (String::new(), String::new(), None);
        stream.read_line(&mut line).await?;
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(Error::other(line.trim_end().to_owned()));
        }
        // The chunk of no bytes is the end.
        while line != "0\r\n" {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Err(Error::other("the stream broke off"));
            }
            if let Some(event) = line.strip_prefix("event: ") {
                event.trim_end().clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                match (name.as_str(), content(data)) {
                    ("chunk", Some(piece)) => hear(piece),
                    ("complete", whole) => completed = Some(whole.map(str::to_owned)),
                    ("error", _) => return Err(Error::other("the stream says `error`")),
                    _ => {}
                }
            }
        }
        stream.read_line(&mut line).await?;
        self.connection = Some(stream);
        completed.ok_or_else(|| Error::other("the stream ended without `complete`"))
    }

    fn request(&self, Person { path, token }: &Person, question: &str) -> String {
        let body = json!({ "content": question }).to_string();
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        )
    }
}

/// The text of an event's data; nothing in it is escaped.
fn content(data: &str) -> Option<&str> {
    let (_, rest) = data.split_once("\"content\":\"")?;
    Some(rest.split_once('"')?.0)
}
