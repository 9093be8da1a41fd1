//! A push as Firebase Cloud Messaging takes it (HTTP v1).

use chrono::{DateTime, Utc};
use cura_domain::device::DeviceAddress;
use serde_json::{Value, json};

use crate::push::message::{Banner, LIFETIME_SECONDS, Push, shortened};

/// The most bytes of a message, its target aside. Google counts what is shown and the data; we count everything.
const MAX_MESSAGE: usize = 4096;

/// The body of `messages:send`, with a text that fits; `None` for a device that Firebase does not reach.
pub(super) fn body(address: &DeviceAddress, push: &Push<'_>, now: DateTime<Utc>) -> Option<Value> {
    let target = match address {
        DeviceAddress::Fcm(_) => "token",
        DeviceAddress::Fid(_) => "fid",
        DeviceAddress::WebPush(_) => return None,
    };
    let with_data = |mut message: Value| {
        message["data"] = Value::Object(push.data());
        message
    };
    let mut message = match push {
        Push::Banner(banner) => shortened(banner, |title, body| {
            let message = with_data(shown(push, &Banner { title, body, ..*banner }, now));
            (message.to_string().len() <= MAX_MESSAGE).then_some(message)
        })?,
        Push::Dismissal(_) => with_data(silent(push, now)),
    };
    message[target] = json!(address.as_str());
    Some(json!({ "message": message }))
}

fn shown(push: &Push<'_>, banner: &Banner<'_>, now: DateTime<Utc>) -> Value {
    let expires = now.timestamp() + LIFETIME_SECONDS;
    let mut notification = json!({ "body": banner.body });
    if let Some(title) = banner.title {
        notification["title"] = json!(title);
    }
    let mut android = json!({
        "priority": "HIGH",
        "ttl": format!("{LIFETIME_SECONDS}s"),
        "notification": { "channel_id": "answers", "visibility": "PRIVATE" },
    });
    let mut headers =
        json!({ "apns-push-type": "alert", "apns-priority": "10", "apns-expiration": expires.to_string() });
    // The app may fetch the text itself.
    let mut aps = json!({ "alert": notification, "badge": banner.badge, "sound": "default", "mutable-content": 1 });
    if let Some(tag) = push.tag() {
        android["collapse_key"] = json!(tag);
        android["notification"]["tag"] = json!(tag);
        headers["apns-collapse-id"] = json!(tag);
        aps["thread-id"] = json!(tag);
    }
    json!({
        "notification": notification,
        "android": android,
        "apns": { "headers": headers, "payload": { "aps": aps } },
    })
}

/// Nothing but data. On iOS a badge in it would make it something that is shown, and an invalid push.
fn silent(push: &Push<'_>, now: DateTime<Utc>) -> Value {
    let expires = now.timestamp() + LIFETIME_SECONDS;
    json!({
        "android": { "priority": "NORMAL", "ttl": format!("{LIFETIME_SECONDS}s"), "collapse_key": push.tag() },
        "apns": {
            "headers": { "apns-push-type": "background", "apns-priority": "5", "apns-expiration": expires.to_string() },
            "payload": { "aps": { "content-available": 1 } },
        },
    })
}

#[cfg(test)]
mod tests {
    use cura_domain::{ConversationId, MessageId};

    use super::*;
    use crate::push::message::Dismissal;

    const ABOUT: (ConversationId, MessageId) = (ConversationId(7), MessageId(9));

    fn phone() -> DeviceAddress {
        DeviceAddress::fcm("token".to_owned()).unwrap()
    }

    #[test]
    fn a_banner_is_for_every_phone_and_the_next_one_takes_its_place() {
        let banner = Push::Banner(Banner {
            kind: "answer",
            push_id: 3,
            about: Some(ABOUT),
            title: None,
            body: "Your answer is there.",
            badge: 2,
        });
        let message = body(&phone(), &banner, DateTime::UNIX_EPOCH).unwrap()["message"].clone();
        let data = json!({ "type": "answer", "push_id": "3", "badge": "2", "conversation_id": "7", "message_id": "9" });
        assert_eq!((&message["token"], &message["data"]), (&json!("token"), &data));
        assert_eq!(message["notification"], json!({ "body": "Your answer is there." }));
        let android = &message["android"];
        assert_eq!(
            (&android["collapse_key"], &android["notification"]["tag"]),
            (&json!("c7"), &json!("c7"))
        );
        assert_eq!(
            (&android["priority"], &android["ttl"]),
            (&json!("HIGH"), &json!("86400s"))
        );
        assert_eq!(android["notification"]["visibility"], "PRIVATE");
        let headers = &message["apns"]["headers"];
        assert_eq!(
            (&headers["apns-push-type"], &headers["apns-priority"]),
            (&json!("alert"), &json!("10"))
        );
        assert_eq!(
            (&headers["apns-collapse-id"], &headers["apns-expiration"]),
            (&json!("c7"), &json!("86400"))
        );
        let aps = &message["apns"]["payload"]["aps"];
        assert_eq!(
            (&aps["thread-id"], &aps["mutable-content"], &aps["badge"]),
            (&json!("c7"), &json!(1), &json!(2))
        );
        let by_id = DeviceAddress::fid("id".to_owned()).unwrap();
        let message = body(&by_id, &banner, DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(
            (&message["message"]["fid"], &message["message"]["token"]),
            (&json!("id"), &Value::Null)
        );
    }

    #[test]
    fn a_text_that_is_too_long_is_shortened_until_the_message_fits() {
        let family = "👨‍👩‍👧‍👦";
        let long = family.repeat(200);
        let banner = |title, body| {
            Push::Banner(Banner {
                kind: "answer",
                push_id: i64::MAX,
                about: Some((ConversationId(i64::MAX), MessageId(i64::MAX))),
                title,
                body,
                badge: u32::MAX,
            })
        };
        // A token has its own limit.
        let address = DeviceAddress::fcm("t".repeat(4096)).unwrap();
        let sent = |push: Push<'_>| {
            let mut message = body(&address, &push, DateTime::UNIX_EPOCH).unwrap()["message"].clone();
            assert!(message.as_object_mut().unwrap().remove("token").is_some());
            (message.to_string().len(), message)
        };
        let (size, message) = sent(banner(Some("Sleep"), &long));
        // It is in there twice.
        assert!((MAX_MESSAGE - 2 * family.len()..=MAX_MESSAGE).contains(&size), "{size}");
        let shown = message["notification"]["body"].as_str().unwrap();
        assert_eq!(message["apns"]["payload"]["aps"]["alert"]["body"], shown);
        assert_eq!(shown.strip_suffix('…').unwrap().replace(family, ""), "");
        assert_eq!(message["notification"]["title"], "Sleep");
        let (size, message) = sent(banner(Some(&long), "Breathe."));
        assert!(size <= MAX_MESSAGE, "{size}");
        assert_eq!(message["notification"]["body"], "Breathe.");
        let (_, message) = sent(banner(Some("Sleep"), "Breathe."));
        assert_eq!(message["notification"], json!({ "title": "Sleep", "body": "Breathe." }));
    }

    #[test]
    fn a_dismissal_shows_nothing() {
        let dismissal = Push::Dismissal(Dismissal {
            push_id: 4,
            about: ABOUT,
            badge: 0,
        });
        let message = body(&phone(), &dismissal, DateTime::UNIX_EPOCH).unwrap()["message"].clone();
        assert_eq!(
            (&message["data"]["type"], &message["notification"]),
            (&json!("read"), &Value::Null)
        );
        assert_eq!(message["apns"]["payload"]["aps"], json!({ "content-available": 1 }));
        assert_eq!(message["apns"]["headers"]["apns-priority"], "5");
        assert_eq!(message["android"]["notification"], Value::Null);
    }
}
