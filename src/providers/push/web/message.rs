//! A push as a service worker reads it.

use cura_domain::app_link::AppLink;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::push::message::{Banner, Push, shortened};

/// The most bytes of a push before it is encrypted. Services take 3,993 (RFC 8030, section 7.2), some of them less.
const MAX_PLAINTEXT: usize = 3000;

#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    data: &'a Map<String, Value>,
}

/// The plaintext of a banner. Its text is shortened until it fits; `None` if it does not fit without any.
pub(super) fn plaintext(banner: &Banner<'_>, link: Option<&AppLink>) -> Option<Vec<u8>> {
    let push = Push::Banner(*banner);
    let (tag, data) = (push.tag(), push.data());
    let link = link
        .zip(banner.about)
        .map(|(link, (conversation, _))| link.to(conversation));
    shortened(banner, |title, body| {
        let message = Message {
            title,
            body,
            tag: tag.as_deref(),
            link: link.as_deref(),
            data: &data,
        };
        serde_json::to_vec(&message)
            .ok()
            .filter(|json| json.len() <= MAX_PLAINTEXT)
    })
}

#[cfg(test)]
mod tests {
    use cura_domain::{ConversationId, MessageId};
    use serde_json::json;

    use super::*;

    fn banner<'a>(title: Option<&'a str>, body: &'a str) -> Banner<'a> {
        Banner {
            kind: "answer",
            push_id: 3,
            about: Some((ConversationId(7), MessageId(9))),
            title,
            body,
            badge: 2,
        }
    }

    fn link() -> AppLink {
        AppLink::parse("https://app.example/c/{conversation_id}").unwrap()
    }

    fn read(plaintext: &[u8]) -> Value {
        serde_json::from_slice(plaintext).unwrap()
    }

    #[test]
    fn a_service_worker_gets_what_it_shows_and_where_it_leads() {
        let plaintext = plaintext(&banner(Some("Sleep"), "Breathe."), Some(&link())).unwrap();
        let expected = json!({
            "title": "Sleep",
            "body": "Breathe.",
            "tag": "c7",
            "link": "https://app.example/c/7",
            "data": { "type": "answer", "push_id": "3", "badge": "2", "conversation_id": "7", "message_id": "9" },
        });
        assert_eq!(read(&plaintext), expected);
    }

    #[test]
    fn what_there_is_nothing_of_is_left_out() {
        let test = Banner {
            kind: "test",
            about: None,
            ..banner(None, "It works.")
        };
        let plaintext = plaintext(&test, Some(&link())).unwrap();
        let data = json!({ "type": "test", "push_id": "3", "badge": "2" });
        assert_eq!(read(&plaintext), json!({ "body": "It works.", "data": data }));
    }

    #[test]
    fn a_text_that_is_too_long_is_shortened_between_what_people_see_as_characters() {
        let family = "👨‍👩‍👧‍👦";
        let shortened = plaintext(&banner(None, &family.repeat(300)), Some(&link())).unwrap();
        assert!(
            (MAX_PLAINTEXT - family.len()..=MAX_PLAINTEXT).contains(&shortened.len()),
            "{}",
            shortened.len()
        );
        let message = read(&shortened);
        let kept = message["body"].as_str().unwrap().strip_suffix('…').unwrap();
        assert_eq!(kept.replace(family, ""), "");
        // Quotes are longer in JSON; a title that is longer than the text is shortened first.
        let shortened = plaintext(&banner(Some(&"\"".repeat(4000)), "Breathe."), None).unwrap();
        assert!(shortened.len() <= MAX_PLAINTEXT);
        assert_eq!(read(&shortened)["body"], "Breathe.");
    }
}
