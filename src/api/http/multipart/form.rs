//! The parts of a form: one file, the fields beside it, and what is not known and is ignored, as in JSON.

use std::io;

use cura_app::files::Arrival;
use cura_domain::file::MAX_FILE_BYTES;
use multer::{Field, Multipart};
use poem::http::header;

use super::ReceivedForm;
use crate::http::arriving_body::{Allowance, Pieces, Stop, malformed_body};
use crate::http::payload::PRIVILEGED;
use crate::http::problem::{FieldError, MAX_ERRORS, Problem};

/// The most parts.
const MAX_PARTS: usize = 8;
/// The most headers of one part, in bytes; and what comes before the first part.
const MAX_PART_HEADER_BYTES: usize = 8 * 1024;
/// The line that begins a part, and the end of the one before, in bytes, at most.
const BOUNDARY_LINE: usize = 128;
/// The longest field beside the file, in bytes: an id.
const MAX_FIELD_BYTES: usize = 32;

/// What was read so far.
#[derive(Default)]
struct Read {
    raw_name: Option<String>,
    message_id: Option<Option<i64>>,
    faults: Vec<FieldError>,
}

impl Read {
    fn fault(&mut self, name: &str, code: &str, detail: &str) {
        if self.faults.len() < MAX_ERRORS {
            self.faults.push(FieldError::new(format!("/{name}"), code, detail));
        }
    }
}

/// Reads a form.
///
/// # Errors
/// As of [`super::FileForm::receive`].
pub(super) async fn read(pieces: &mut Pieces, boundary: String, mut arrival: Arrival) -> Result<ReceivedForm, Problem> {
    let allowance = pieces.allowance();
    let mut multipart = Multipart::new(pieces, boundary);
    let (mut read, mut parts) = (Read::default(), 0);
    while let Some(mut field) = next_part(&mut multipart, &allowance).await? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(malformed_body("The form has more than 8 parts."));
        }
        match field.name() {
            Some("file") if read.raw_name.is_none() => {
                read.raw_name = Some(file_name(&field));
                receive_file(&mut field, &mut arrival).await?;
            }
            Some("file") => read.fault("file", "too_many", "must be one file"),
            Some("message_id") if read.message_id.is_none() => {
                let text = receive_text(&mut field).await?;
                read.message_id = Some(message_id(text.as_deref()).unwrap_or_else(|code| {
                    read.fault("message_id", code, "must be the id of a message");
                    None
                }));
            }
            Some("message_id") => read.fault("message_id", "too_many", "must be one message"),
            Some(name) if PRIVILEGED.contains(&name) => {
                let name = name.to_owned();
                read.fault(&name, "not_allowed", "cannot be set");
            }
            Some(_) | None => {}
        }
        // What is left of it.
        while chunk(&mut field).await?.is_some() {}
    }
    if read.raw_name.is_none() {
        read.fault("file", "required", "is required");
    }
    match read.raw_name {
        Some(raw_name) if read.faults.is_empty() => Ok(ReceivedForm {
            file: arrival.end().await.map_err(disk_problem)?,
            raw_name,
            message_id: read.message_id.flatten(),
        }),
        _ => Err(Problem::invalid(read.faults)),
    }
}

/// Whether the client may still be sending.
pub(super) fn is_too_large(problem: &Problem) -> bool {
    problem.code() == Problem::too_large().code()
}

async fn next_part<'r>(multipart: &mut Multipart<'r>, allowance: &Allowance) -> Result<Option<Field<'r>>, Problem> {
    allowance.set(MAX_PART_HEADER_BYTES + BOUNDARY_LINE);
    let field = multipart.next_field().await.map_err(problem)?;
    allowance.lift();
    let headers = field.iter().flat_map(|field| field.headers());
    let length: usize = headers.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if length > MAX_PART_HEADER_BYTES {
        return Err(Stop::LongHead.into());
    }
    Ok(field)
}

/// The name that a client gives its file, if it gives one. Some write it as for HTTP, which forms should not: `filename*=UTF-8''a%20b`.
fn file_name(field: &Field<'_>) -> String {
    let extended = || {
        let disposition = field.headers().get(header::CONTENT_DISPOSITION)?;
        extended_name(std::str::from_utf8(disposition.as_bytes()).ok()?)
    };
    // Who writes both means the first for those who do not know the second.
    let plain = || field.file_name().map(str::to_owned);
    extended().or_else(plain).unwrap_or_default()
}

/// The name in an extended parameter (RFC 8187).
fn extended_name(disposition: &str) -> Option<String> {
    let (_, value) = disposition.split_once("filename*=")?;
    let (charset, value) = value.split(';').next()?.trim().split_once('\'')?;
    let (_language, value) = value.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let (mut bytes, mut rest) = (Vec::new(), value.bytes());
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match byte {
            b'%' => bytes.push(u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

async fn receive_file(field: &mut Field<'_>, arrival: &mut Arrival) -> Result<(), Problem> {
    while let Some(bytes) = chunk(field).await? {
        if arrival.size() + bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(Problem::too_large());
        }
        arrival.write(&bytes).await.map_err(disk_problem)?;
    }
    Ok(())
}

/// A field beside the file; `None` if it is longer than any is.
async fn receive_text(field: &mut Field<'_>) -> Result<Option<Vec<u8>>, Problem> {
    let mut text = Vec::new();
    while let Some(bytes) = chunk(field).await? {
        if text.len() + bytes.len() > MAX_FIELD_BYTES {
            return Ok(None);
        }
        text.extend_from_slice(&bytes);
    }
    Ok(Some(text))
}

/// An id; an empty field is none, as a form has no null.
fn message_id(text: Option<&[u8]>) -> Result<Option<i64>, &'static str> {
    let text = text
        .and_then(|text| std::str::from_utf8(text).ok())
        .ok_or("invalid_type")?;
    match text.trim() {
        "" => Ok(None),
        id => id.parse().map(Some).map_err(|_| "invalid_type"),
    }
}

async fn chunk(field: &mut Field<'_>) -> Result<Option<hyper::body::Bytes>, Problem> {
    field.chunk().await.map_err(problem)
}

fn problem(error: multer::Error) -> Problem {
    let stop = match error {
        multer::Error::StreamReadFailed(cause) => cause.downcast_ref::<Stop>().copied(),
        _ => None,
    };
    stop.map_or_else(
        || malformed_body("The body is no whole form (RFC 7578)."),
        Problem::from,
    )
}

/// 503: what arrives cannot be written.
pub(super) fn disk_problem(error: io::Error) -> Problem {
    tracing::error!(error = %error.kind(), "an upload cannot be written to DATA_DIR");
    Problem::storage_unavailable()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_written_as_for_http() {
        for (disposition, name) in [
            (
                "form-data; name=\"file\"; filename*=UTF-8''na%C3%AFve%20file.png",
                Some("na\u{ef}ve file.png"),
            ),
            ("form-data; filename*=utf-8'de'a.png; name=\"file\"", Some("a.png")),
            ("form-data; filename*=iso-8859-1''a.png", None),
            ("form-data; filename*=UTF-8''%C3", None),
            ("form-data; filename*=UTF-8''%4", None),
            ("form-data; filename*=UTF-8''%zz", None),
            ("form-data; filename*=a.png", None),
            ("form-data; name=\"file\"", None),
        ] {
            assert_eq!(extended_name(disposition).as_deref(), name, "{disposition}");
        }
    }

    #[test]
    fn the_id_of_a_message_is_a_number_or_nothing() {
        for (text, id) in [
            (Some(b"7".as_slice()), Ok(Some(7))),
            (Some(b" 7\r\n"), Ok(Some(7))),
            (Some(b""), Ok(None)),
            (Some(b"seven"), Err("invalid_type")),
            (Some(b"9999999999999999999"), Err("invalid_type")),
            (Some(b"\xff"), Err("invalid_type")),
            (None, Err("invalid_type")),
        ] {
            assert_eq!(message_id(text), id, "{text:?}");
        }
    }
}
