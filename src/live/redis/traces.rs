//! Looks through all keys for those of a person: for operators, not for requests.

use std::time::Duration;

use cura_domain::{MessageId, UserId};

use super::connection::Connection;
use super::keys::{LIMIT_KEYS_BEGIN, text_of_key, user_keys_begin};
use super::request::Request;
use super::scan::Scan;
use super::trouble::RedisTrouble;
use crate::traces::Traces;

/// The most texts that are listed: as many answers do not run at a time.
const MAX_TEXTS: usize = 100_000;

/// What every server that must work has of `user`.
pub(super) async fn find(connection: &Connection, user: UserId) -> Result<Traces, RedisTrouble> {
    let mut traces = Traces::default();
    let (mut expires_within, mut is_kept) = (Duration::ZERO, false);
    for mut scan in Scan::all(connection).await? {
        while let Some(keys) = scan.next(connection).await? {
            for key in keys {
                if let Some(answer) = text_of_key(&key) {
                    note_text(&mut traces, answer);
                } else if is_of(user, &key) {
                    let left: i64 = connection.call(&Request::command("PTTL", &key).arg(&key)).await?;
                    // -2: it has gone meanwhile; -1: it stays.
                    if left != -2 {
                        traces.keys += 1;
                        is_kept |= left == -1;
                        expires_within = expires_within.max(Duration::from_millis(left.unsigned_abs()));
                    }
                }
            }
        }
    }
    traces.keys_expire_within = (traces.keys > 0 && !is_kept).then_some(expires_within);
    Ok(traces)
}

fn note_text(traces: &mut Traces, answer: MessageId) {
    if traces.texts.len() < MAX_TEXTS {
        traces.texts.push(answer);
    } else {
        traces.has_more_texts = true;
    }
}

/// Whether a key names `user`.
fn is_of(user: UserId, key: &str) -> bool {
    let counted_by = key
        .strip_prefix(LIMIT_KEYS_BEGIN)
        .and_then(|counter| counter.split_once(':'));
    key.starts_with(&user_keys_begin(user)) || counted_by.is_some_and(|(_, by)| by == format!("u:{user}"))
}

#[cfg(test)]
mod tests {
    use super::super::keys::{ended_key, limit_key, presence_key, state_key, text_key};
    use super::*;

    #[test]
    fn a_key_names_one_person() {
        let of_seven = |key: &str| is_of(UserId(7), key);
        assert!(of_seven(&presence_key(UserId(7))) && of_seven(&ended_key(UserId(7), MessageId(8))));
        assert!(of_seven(&limit_key("chat", "u:7")));
        for other in [
            presence_key(UserId(77)),
            ended_key(UserId(8), MessageId(7)),
            limit_key("chat", "u:77"),
            limit_key("chat", "a:7"),
            limit_key("sign-in", "7"),
            text_key(MessageId(7)),
        ] {
            assert!(!of_seven(&other), "{other}");
        }
        assert_eq!(text_of_key(&text_key(MessageId(7))), Some(MessageId(7)));
        assert_eq!(text_of_key(&state_key(MessageId(7))), None);
    }
}
