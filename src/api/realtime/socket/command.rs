//! The commands that a client may send on a socket.

use cura_app::chat::{AnswerRequest, BusyPolicy, RequestKind, RequestOrigin};
use cura_domain::file::MAX_FILES_OF_A_MESSAGE;
use cura_domain::idempotency::IdempotencyKey;
use cura_domain::message::MessageText;
use cura_domain::{ConversationId, FileId};
use serde::Deserialize;
use serde_json::Value;

use crate::realtime::schema::ErrorEvent;

/// A valid frame.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Command {
    Message(MessageCommand),
    Cancel { message_id: i64 },
    Typing { is_typing: bool },
    Read { message_id: i64 },
    Visible { visible: bool },
    Auth { token: String },
    Ping {},
}

/// A message to send. Optional fields may also be null.
#[derive(Debug, Deserialize)]
pub(super) struct MessageCommand {
    content: String,
    client_message_id: Option<String>,
    attachments: Option<Vec<i64>>,
    on_busy: Option<BusyPolicyField>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BusyPolicyField {
    Reject,
    Interrupt,
    Queue,
}

/// The longest `client_message_id` that a refusal repeats, in bytes: the longest valid one.
const MAX_CLIENT_MESSAGE_ID: usize = 255;

const KNOWN: [&str; 7] = ["message", "cancel", "typing", "read", "visible", "auth", "ping"];

impl Command {
    /// Parses a frame.
    pub(super) fn read(frame: &str) -> Result<Self, Box<ErrorEvent>> {
        let refuse = |code: &str, detail: &str| {
            Box::new(ErrorEvent {
                detail: detail.to_owned(),
                ..ErrorEvent::new(code)
            })
        };
        let value: Value =
            serde_json::from_str(frame).map_err(|_| refuse("malformed_frame", "The frame is not a JSON object."))?;
        let Some(kind) = value.get("type").and_then(Value::as_str) else {
            return Err(refuse("malformed_frame", "The frame has no `type`."));
        };
        if !KNOWN.contains(&kind) {
            return Err(refuse("unknown_type", "There is no frame of this type."));
        }
        let client_message_id = value.get("client_message_id").and_then(Value::as_str).and_then(short);
        let faults = faults_of(kind, &value);
        // serde's own message may repeat what was sent, and names one field.
        serde_json::from_value(value).map_err(|_| {
            Box::new(ErrorEvent {
                client_message_id,
                ..*refuse("invalid_frame", &faults)
            })
        })
    }
}

/// A field of a command: its name, whether the command needs it, what it must be, and whether a value is that.
type FieldRule = (&'static str, bool, &'static str, fn(&Value) -> bool);

/// The fields of each command.
const FIELDS: &[(&str, &[FieldRule])] = &[
    (
        "message",
        &[
            ("content", true, "text", Value::is_string),
            ("client_message_id", false, "text", Value::is_string),
            ("attachments", false, "a list of ids", is_list_of_ids),
            ("on_busy", false, "reject, interrupt or queue", is_busy_policy),
        ],
    ),
    ("cancel", &[("message_id", true, "an id", Value::is_i64)]),
    ("read", &[("message_id", true, "an id", Value::is_i64)]),
    ("typing", &[("is_typing", true, "true or false", Value::is_boolean)]),
    ("visible", &[("visible", true, "true or false", Value::is_boolean)]),
    ("auth", &[("token", true, "text", Value::is_string)]),
];

fn is_list_of_ids(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_i64))
}

fn is_busy_policy(value: &Value) -> bool {
    matches!(value.as_str(), Some("reject" | "interrupt" | "queue"))
}

/// Every field of a frame that is missing or of the wrong type, as a sentence: there is one code for all of them.
fn faults_of(kind: &str, frame: &Value) -> String {
    let fields = FIELDS.iter().find(|(known, _)| *known == kind);
    let fields = fields.map_or(&[][..], |(_, fields)| fields);
    let faults = fields.iter().filter_map(|(name, is_needed, expected, is_right)| {
        let value = frame.get(name).filter(|value| *is_needed || !value.is_null());
        match value {
            None => is_needed.then(|| format!("{name} is required")),
            Some(value) => (!is_right(value)).then(|| format!("{name} must be {expected}")),
        }
    });
    let faults: Vec<String> = faults.collect();
    if faults.is_empty() {
        return "A field of the frame is missing or of the wrong type.".to_owned();
    }
    format!("{}.", faults.join("; "))
}

/// The id, unless it is too long to be repeated.
fn short(id: &str) -> Option<String> {
    (id.len() <= MAX_CLIENT_MESSAGE_ID).then(|| id.to_owned())
}

impl MessageCommand {
    /// The client's own id for the message, for the reply.
    pub(super) fn client_message_id(&self) -> Option<String> {
        self.client_message_id.as_deref().and_then(short)
    }

    /// Whether it may be a repetition.
    pub(super) fn has_key(&self) -> bool {
        self.client_message_id.is_some()
    }

    /// The request for an answer, if every field is valid. Otherwise the code is of the first that is not, and the detail names all.
    pub(super) fn check(
        self,
        conversation: ConversationId,
        origin: RequestOrigin,
    ) -> Result<AnswerRequest, Box<ErrorEvent>> {
        let client_message_id = self.client_message_id();
        let mut faults: Vec<(&str, String)> = Vec::new();
        let files: Vec<FileId> = self.attachments.into_iter().flatten().map(FileId).collect();
        if files.len() > MAX_FILES_OF_A_MESSAGE.unsigned_abs() as usize {
            let detail = format!("attachments must have at most {MAX_FILES_OF_A_MESSAGE} items.");
            faults.push(("invalid_frame", detail));
        }
        let key = self.client_message_id.as_deref().map(IdempotencyKey::new).transpose();
        let key =
            key.map_err(|error| faults.push(("invalid_client_message_id", format!("client_message_id {error}."))));
        let text = match files.is_empty() {
            true => MessageText::new(self.content),
            false => MessageText::beside_files(self.content),
        };
        let text = text.map_err(|error| faults.push(("invalid_content", format!("content {error}."))));
        let (Ok(key), Ok(text), None) = (key, text, faults.first()) else {
            let code = faults.first().map_or("invalid_frame", |(code, _)| code);
            let details: Vec<&str> = faults.iter().map(|(_, detail)| detail.as_str()).collect();
            return Err(Box::new(ErrorEvent {
                detail: details.join(" "),
                client_message_id,
                ..ErrorEvent::new(code)
            }));
        };
        Ok(AnswerRequest {
            kind: RequestKind::Send {
                conversation: Some(conversation),
                text,
                files,
            },
            busy_policy: match self.on_busy {
                None | Some(BusyPolicyField::Reject) => BusyPolicy::Reject,
                Some(BusyPolicyField::Interrupt) => BusyPolicy::Interrupt,
                Some(BusyPolicyField::Queue) => BusyPolicy::Queue,
            },
            key,
            origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_frame_is_refused_with_a_code_and_not_repeated() {
        for (frame, code) in [
            ("", "malformed_frame"),
            ("[]", "malformed_frame"),
            ("{\"type\":1}", "malformed_frame"),
            ("{\"type\":\"secret\"}", "unknown_type"),
            ("{\"type\":\"message\"}", "invalid_frame"),
            ("{\"type\":\"message\",\"content\":[\"secret\"]}", "invalid_frame"),
            ("{\"type\":\"cancel\",\"message_id\":\"secret\"}", "invalid_frame"),
            (
                "{\"type\":\"message\",\"content\":\"x\",\"on_busy\":\"secret\"}",
                "invalid_frame",
            ),
        ] {
            let refused = Command::read(frame).map(|_| ()).unwrap_err();
            assert_eq!(refused.code, code, "{frame}");
            assert!(!refused.detail.contains("secret"), "{}", refused.detail);
        }
        assert!(matches!(
            Command::read("{\"type\":\"ping\",\"more\":1}"),
            Ok(Command::Ping {})
        ));
    }

    #[test]
    fn every_fault_of_a_frame_is_in_the_detail() {
        for (frame, detail) in [
            (
                r#"{"type":"message","client_message_id":7,"attachments":["a"],"on_busy":"secret"}"#,
                "content is required; client_message_id must be text; attachments must be a list of ids; \
                 on_busy must be reject, interrupt or queue.",
            ),
            (r#"{"type":"cancel","message_id":null}"#, "message_id must be an id."),
            (r#"{"type":"typing"}"#, "is_typing is required."),
            (r#"{"type":"visible","visible":1}"#, "visible must be true or false."),
        ] {
            let refused = Command::read(frame).map(|_| ()).unwrap_err();
            assert_eq!((&*refused.code, &*refused.detail), ("invalid_frame", detail));
        }
        let refused = check(r#"{"type":"message","content":" ","client_message_id":"","attachments":[]}"#);
        let refused = refused.map(|_| ()).unwrap_err();
        assert_eq!(refused.code, "invalid_client_message_id");
        for named in ["client_message_id", "content must not be empty"] {
            assert!(refused.detail.contains(named), "{}", refused.detail);
        }
    }

    fn check(frame: &str) -> Result<AnswerRequest, Box<ErrorEvent>> {
        match Command::read(frame)? {
            Command::Message(message) => message.check(ConversationId(1), RequestOrigin::default()),
            _ => unreachable!("a message"),
        }
    }

    #[test]
    fn optional_fields_may_be_null() {
        let frame = r#"{"type":"message","content":"x","client_message_id":null,"attachments":null,"on_busy":null}"#;
        let request = check(frame).map_err(|refused| refused.code).unwrap();
        assert_eq!((request.key, request.busy_policy), (None, BusyPolicy::Reject));
    }

    #[test]
    fn beside_files_the_content_may_be_blank() {
        let request = check(r#"{"type":"message","content":"","attachments":[3,4]}"#).map_err(|refused| refused.code);
        match request.unwrap().kind {
            RequestKind::Send { files, .. } => assert_eq!(files, [FileId(3), FileId(4)]),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn a_client_message_id_longer_than_any_valid_one_is_not_repeated() {
        let named = |length: usize, content: &str| {
            let name = "x".repeat(length);
            format!(r#"{{"type":"message","content":{content},"client_message_id":"{name}"}}"#)
        };
        assert!(check(&named(MAX_CLIENT_MESSAGE_ID, r#""x""#)).is_ok());
        for (length, content, code) in [
            (MAX_CLIENT_MESSAGE_ID + 1, r#""x""#, "invalid_client_message_id"),
            (MAX_CLIENT_MESSAGE_ID + 1, "1", "invalid_frame"),
        ] {
            let refused = check(&named(length, content)).map(|_| ()).unwrap_err();
            assert_eq!((refused.code.as_str(), refused.client_message_id), (code, None));
        }
    }

    #[test]
    fn a_refusal_carries_the_client_message_id() {
        let refused = |frame: &str| check(frame).map(|_| ()).unwrap_err();
        for (frame, code) in [
            (
                r#"{"type":"message","content":" ","client_message_id":"a"}"#,
                "invalid_content",
            ),
            (
                r#"{"type":"message","content":1,"client_message_id":"a"}"#,
                "invalid_frame",
            ),
            (
                r#"{"type":"message","content":"x","attachments":[1,2,3,4,5,6,7,8,9,10,11],"client_message_id":"a"}"#,
                "invalid_frame",
            ),
        ] {
            let refused = refused(frame);
            assert_eq!(
                (refused.code.as_str(), refused.client_message_id.as_deref()),
                (code, Some("a"))
            );
        }
    }
}
