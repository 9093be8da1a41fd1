//! What an app shows after the events it received. It is strict: a gap, a repetition or an unknown event fails the test.

use std::collections::BTreeMap;

use serde_json::Value;

/// A message as an app shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// The text.
    pub text: String,
    /// `sending`, `sent` or `error`.
    pub status: String,
}

/// Everything an app shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Messages by id.
    pub messages: BTreeMap<i64, Shown>,
    /// Titles by conversation; deleted ones are not there.
    pub titles: BTreeMap<i64, Option<String>>,
    /// The last message read, by conversation.
    pub read: BTreeMap<i64, i64>,
    /// How often the app had to reload.
    pub resyncs: usize,
}

impl View {
    /// Shows one event.
    ///
    /// # Panics
    /// If it repeats an event, or an earlier one is missing.
    pub fn apply(&mut self, event: &Value) {
        let id = event["message_id"].as_i64().unwrap_or_default();
        let kind = event["type"].as_str().expect("a type");
        match kind {
            "message" => {
                let message = &event["message"];
                let shown = Shown {
                    text: message["content"].as_str().expect("content").to_owned(),
                    status: message["status"].as_str().expect("a status").to_owned(),
                };
                let is_sending = shown.status == "sending";
                // An operator may have an answer retried that failed.
                let known = self
                    .messages
                    .insert(id, shown)
                    .filter(|known| known.status != "error" || !is_sending);
                assert_eq!(known, None, "received twice: {event}");
            }
            "chunk" => {
                let shown = self.running(id, event);
                let offset = usize::try_from(event["offset"].as_u64().expect("an offset")).expect("small");
                assert_eq!(offset, shown.text.len(), "a gap or a repetition: {event}");
                shown.text.push_str(event["content"].as_str().expect("content"));
            }
            "reset" => {
                let offset = usize::try_from(event["offset"].as_u64().expect("an offset")).expect("small");
                self.running(id, event).text.truncate(offset);
            }
            "complete" | "error" if event["message_id"].is_i64() => {
                let shown = self.running(id, event);
                kind.strip_prefix("complete")
                    .map_or("error", |_| "sent")
                    .clone_into(&mut shown.status);
                if let Some(whole) = event["message"]["content"].as_str() {
                    assert_eq!(shown.text, whole, "what was streamed is what is stored");
                }
            }
            "conversation" => {
                let conversation = event["conversation_id"].as_i64().expect("an id");
                if event["deleted"] == true {
                    self.titles.remove(&conversation);
                } else {
                    let title = event["conversation"]["title"].as_str().map(str::to_owned);
                    self.titles.insert(conversation, title);
                }
            }
            "read" => {
                self.read.insert(event["conversation_id"].as_i64().expect("an id"), id);
            }
            "resync" => self.resyncs += 1,
            "start" | "queued" | "notice" | "typing" | "ack" | "pong" | "export" | "push" | "upload"
            | "announcement" => {}
            other => panic!("unknown event {other}: {event}"),
        }
    }

    fn running(&mut self, id: i64, event: &Value) -> &mut Shown {
        let shown = self.messages.get_mut(&id);
        let shown = shown.unwrap_or_else(|| panic!("of an unknown message: {event}"));
        assert_eq!(shown.status, "sending", "after its end: {event}");
        shown
    }
}
