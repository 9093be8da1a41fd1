//! What parameters, headers, bodies and answers are, where the routes cannot say it: many operations have the same ones.
//!
//! A name alone is meant wherever it occurs; one behind an operation, or an operation and a status, is meant there, and wins.

use serde_json::{Value, json};

use super::values::{Object, id_of, operations, responses};

/// Parameters, by name, or by operation and name.
const PARAMETERS: &[(&str, &str)] = &[
    ("session_id", "The id of a session, from `GET /auth/sessions`."),
    ("message_id", "The id of a message."),
    (
        "cancelAnswer.message_id",
        "The id of an answer. A message of the user is a 404.",
    ),
    (
        "editMessage.message_id",
        "The id of a message of the user. An answer is a 404.",
    ),
    (
        "regenerateAnswer.message_id",
        "The id of an answer. A message of the user is a 404.",
    ),
    (
        "resumeStream.message_id",
        "The id of an answer, as `ack` and `start` name it.",
    ),
    ("conversation_id", "The id of a conversation."),
    ("device_id", "The id of a device, from `GET /devices`."),
    ("upload_id", "The id of a file, from its upload."),
    (
        "continueResumableUpload.upload_id",
        "The id of an upload that was begun: the last part of its `Location`.",
    ),
    (
        "getResumableUpload.upload_id",
        "The id of an upload that was begun: the last part of its `Location`.",
    ),
    (
        "deleteResumableUpload.upload_id",
        "The id of an upload that was begun: the last part of its `Location`.",
    ),
    ("file_id", "The id of a file. Use the link as it is."),
    (
        "key",
        "22 characters that only the `avatar_url` knows. Use the URL as it is.",
    ),
    ("limit", "The most items on a page: 1 to 100; default 20."),
    (
        "cursor",
        "`next_cursor` of the previous page, as it is; absent or empty for the first page. Another text is a 400 `invalid_cursor`.",
    ),
    ("status", "Which conversations; default `active`."),
    ("days", "The number of days, today included: 1 to 366; default 30."),
    ("size", "The side in pixels; default 512."),
    ("v", "`original`, or `thumb` for the picture of at most 320 pixels."),
    ("exp", "When the link expires, in seconds since 1970."),
    ("sig", "The signature of the link."),
    (
        "Idempotency-Key",
        "The client's key for this request: 1 to 255 visible ASCII characters, like a UUID. Keys belong to the user and live 24 hours.",
    ),
    (
        "Prefer",
        "`wait=N`: how many seconds to wait for the answer, 0 to 300; default 60, and 0 does not wait (RFC 7240). What cannot be read is ignored.",
    ),
    (
        "Last-Event-ID",
        "The id of the last event that was received of this stream; wins over `after`. Another text is a 400 `invalid_cursor`.",
    ),
    (
        "streamMessage.Last-Event-ID",
        "The id of the last event that was received of this answer. It counts only where the key is a repeated one.",
    ),
    (
        "streamMessageTo.Last-Event-ID",
        "The id of the last event that was received of this answer. It counts only where the key is a repeated one.",
    ),
    (
        "after",
        "The id of the last event that was received, for clients that cannot send `Last-Event-ID`.",
    ),
    ("Tus-Resumable", "The version of TUS: `1.0.0`."),
    ("Upload-Length", "The number of bytes of the file, 1 to 10,485,760."),
    (
        "Upload-Offset",
        "How many bytes have arrived before. Another number than the server has is a 409 `wrong_offset`.",
    ),
    (
        "Upload-Metadata",
        "`filename` and `message_id` (a message of the user that the file belongs to), as TUS writes them: the values in base64, at most 8 KiB in all. Other keys are kept and mean nothing.",
    ),
];

/// Headers of answers, by name, or by operation, status and name.
const HEADERS: &[(&str, &str)] = &[
    ("Location", "The path of what was created."),
    ("sendMessage.202.Location", "The path of the answer."),
    ("editMessage.202.Location", "The path of the answer."),
    ("regenerateAnswer.202.Location", "The path of the answer."),
    (
        "downloadFile.302.Location",
        "The address of the file at the file store, good for a minute.",
    ),
    (
        "showAvatar.302.Location",
        "The address of the picture at the file store, good for a minute.",
    ),
    (
        "Link",
        "The path of the next page, as `<…>; rel=\"next\"`; absent on the last page.",
    ),
    ("X-Total-Count", "The number of items on all pages."),
    (
        "Idempotent-Replayed",
        "`true` if an earlier request with the same key stored the message; else absent.",
    ),
    (
        "uploadFile.201.Idempotent-Replayed",
        "`true` if an earlier request with the same key uploaded the file; else absent.",
    ),
    ("Retry-After", "How many seconds to wait before asking again."),
    ("Upload-Offset", "How many bytes have arrived."),
    ("Upload-Length", "How many bytes there will be."),
    ("Upload-Metadata", "As it was sent when the upload was begun."),
    (
        "Upload-Expires",
        "When the upload is gone, as an HTTP date (`Mon, 30 Nov 2026 04:00:00 GMT`).",
    ),
    ("Tus-Resumable", "The version of TUS: `1.0.0`, in every response."),
    ("Tus-Version", "The versions of TUS that are supported: `1.0.0`."),
    (
        "Tus-Extension",
        "The extensions of TUS that are supported: `creation,expiration,termination`.",
    ),
    ("Tus-Max-Size", "The largest file, in bytes."),
    ("ETag", "The same for the same bytes."),
    (
        "exportMe.200.ETag",
        "The archive's SHA-256, in hexadecimal, in quotation marks.",
    ),
    (
        "Content-Range",
        "Which bytes these are, and how many the file has: `bytes 0-99/1234`.",
    ),
    (
        "downloadFile.416.Content-Range",
        "How many bytes the file has: `bytes */1234`.",
    ),
    (
        "showAvatar.416.Content-Range",
        "How many bytes the picture has: `bytes */1234`.",
    ),
];

/// Answers, by operation and status.
const RESPONSES: &[(&str, &str)] = &[
    ("login.200", "Signed in."),
    ("refreshTokens.200", "The new pair."),
    ("changePassword.200", "The password is changed; the new pair."),
    ("listSessions.200", "The sessions."),
    ("createTicket.200", "The ticket, or the stream token."),
    ("getMessage.200", "The message."),
    ("cancelAnswer.200", "The final message."),
    ("getConversation.200", "The conversation."),
    ("updateConversation.200", "The changed conversation."),
    ("listDevices.200", "The devices."),
    ("getPushConfig.200", "What pushes can go through."),
    ("getLiveness.200", "The process is alive."),
    ("getReadiness.200", "The server accepts requests."),
    ("getUpload.200", "The file."),
    ("getMe.200", "The profile."),
    ("updateMe.200", "The changed profile."),
    ("setAvatar.200", "The profile with its new `avatar_url`."),
    ("getUsage.200", "The usage."),
];

/// Bodies of requests, by operation.
const BODIES: &[(&str, &str)] = &[
    ("register", "The new account."),
    ("login", "Address and password."),
    ("refreshTokens", "The refresh token to exchange."),
    ("logout", "The refresh token of the session that ends."),
    ("changePassword", "The current password and the new one."),
    (
        "createTicket",
        "What it is for; absent, a ticket for one socket or stream.",
    ),
    ("editMessage", "The new text."),
    (
        "regenerateAnswer",
        "What happens while another answer is unfinished; may be absent.",
    ),
    ("sendMessage", "The message."),
    ("streamMessage", "The message."),
    ("streamMessageTo", "The message."),
    ("createConversation", "The new conversation; may be `{}`."),
    ("updateConversation", "The fields to change."),
    ("markRead", "The last message that was read."),
    ("registerDevice", "The device."),
    ("uploadFile", "The file, and the message that it belongs to."),
    (
        "continueResumableUpload",
        "The bytes that follow those that have arrived: all that are missing, or some.",
    ),
    ("deleteMe", "The password of the account."),
    ("updateMe", "The fields to change."),
    ("setAvatar", "The picture."),
];

pub(super) fn add(document: &mut Value) {
    for (_, _, operation) in operations(document) {
        let id = id_of(operation);
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = parameter["name"].as_str().unwrap_or_default().to_owned();
            describe(parameter, find(PARAMETERS, &[&format!("{id}.{name}"), &name]));
        }
        if let Some(body) = operation.get_mut("requestBody").and_then(Value::as_object_mut) {
            describe(body, find(BODIES, &[&id]));
        }
        for (status, response) in responses(operation) {
            describe(response, find(RESPONSES, &[&format!("{id}.{status}")]));
            let headers = response.get_mut("headers").and_then(Value::as_object_mut);
            for (name, header) in headers.into_iter().flatten() {
                let keys = [&format!("{id}.{status}.{name}"), &format!("{id}.{name}"), name];
                if let Some(header) = header.as_object_mut() {
                    describe(header, find(HEADERS, &keys.map(String::as_str)));
                }
            }
        }
    }
}

fn find(texts: &[(&str, &'static str)], keys: &[&str]) -> Option<&'static str> {
    let of_key = |key: &&str| texts.iter().find(|(known, _)| known == key).map(|(_, text)| *text);
    keys.iter().find_map(of_key)
}

fn describe(fields: &mut Object, text: Option<&str>) {
    if let Some(text) = text {
        fields.insert("description".to_owned(), json!(text));
    }
}
