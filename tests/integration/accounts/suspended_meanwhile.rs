//! Somebody who is suspended after their request was let in: nothing of it is stored any more, however long it took.

use cura_app::chat::{AnswerRequest, BusyPolicy, RequestKind, RequestOrigin, StartAnswerError};
use cura_app::devices::{DeviceError, NewDevice};
use cura_app::sign_in_guard::Place;
use cura_app::{App, Caller};
use cura_bin::wiring;
use cura_domain::account::{Email, NewPassword};
use cura_domain::device::{DeviceAddress, Platform};
use cura_domain::message::MessageText;
use cura_domain::{ConversationId, SessionId};
use cura_live::{Live, LiveConfig};
use cura_providers::ai::Ai;
use cura_store::Database;
use cura_tests::{TestDatabase, in_process};

/// A person who is signed in, as a request that was let in knows them.
async fn let_in(database: &TestDatabase, daily_tokens: u64) -> (App, Caller) {
    let (mut settings, files) = in_process();
    settings.limits.quota.daily_tokens = daily_tokens;
    let live = Live::in_process(LiveConfig::default());
    let store = Database::from(database.pool().clone());
    let app = wiring::app(&settings, store, live, Ai::demo(), files).unwrap();
    let email = Email::new("ada@example.com").unwrap();
    let password = NewPassword::new("a long password").unwrap();
    let place = Place::new("192.0.2.1".to_owned());
    let registered = app.accounts.register(&email, &password, None, &place).await.unwrap();
    let session = sqlx::query_scalar("SELECT id FROM sessions")
        .fetch_one(database.pool())
        .await
        .unwrap();
    let caller = Caller {
        user: registered.user.id,
        session: SessionId(session),
        until: chrono::DateTime::<chrono::Utc>::MAX_UTC,
        oldest_generation: 0,
    };
    (app, caller)
}

fn question(conversation: Option<ConversationId>, busy_policy: BusyPolicy) -> AnswerRequest {
    AnswerRequest {
        kind: RequestKind::Send {
            conversation,
            text: MessageText::new("Hi".to_owned()).unwrap(),
            files: Vec::new(),
        },
        busy_policy,
        key: None,
        origin: RequestOrigin::default(),
    }
}

fn phone() -> NewDevice {
    NewDevice {
        platform: Platform::Ios,
        address: DeviceAddress::Fcm("a-token-of-a-phone".to_owned()),
        name: None,
        replaces: None,
    }
}

async fn suspend(database: &TestDatabase) {
    let suspend = "UPDATE users SET suspended_at = now()";
    sqlx::query(suspend).execute(database.pool()).await.unwrap();
}

#[tokio::test]
async fn nothing_is_asked_with_or_without_a_budget_or_in_place_of_another_answer() {
    for daily_tokens in [0, 1_000_000] {
        let database = TestDatabase::create().await;
        let (app, caller) = let_in(&database, daily_tokens).await;
        let asked = app
            .chat
            .start(caller, &question(None, BusyPolicy::Reject))
            .await
            .unwrap();
        suspend(&database).await;
        let here = Some(asked.conversation);
        for request in [
            question(None, BusyPolicy::Reject),
            question(here, BusyPolicy::Reject),
            question(here, BusyPolicy::Queue),
            question(here, BusyPolicy::Interrupt),
        ] {
            let refused = app.chat.start(caller, &request).await.unwrap_err();
            assert!(matches!(refused, StartAnswerError::Suspended), "{refused:?}");
        }
        for (what, count) in [
            ("SELECT count(*) FROM messages", 2),
            ("SELECT count(*) FROM conversations", 1),
            ("SELECT count(*) FROM apalis.jobs WHERE job_type = 'generate-answer'", 1),
            (
                "SELECT count(*) FROM messages WHERE cancel_requested_at IS NOT NULL OR status = 'error'",
                0,
            ),
        ] {
            assert_eq!(database.count(what).await, count, "{what}");
        }
    }
}

#[tokio::test]
async fn no_device_is_registered() {
    let database = TestDatabase::create().await;
    let (app, caller) = let_in(&database, 0).await;
    suspend(&database).await;
    let refused = app.devices.register(caller, &phone()).await.unwrap_err();
    assert!(matches!(refused, DeviceError::Suspended), "{refused:?}");
    assert_eq!(database.count("SELECT count(*) FROM devices").await, 0);
    // They can go on once they are let.
    let restore = "UPDATE users SET suspended_at = NULL";
    sqlx::query(restore).execute(database.pool()).await.unwrap();
    app.devices.register(caller, &phone()).await.unwrap();
    app.chat
        .start(caller, &question(None, BusyPolicy::Reject))
        .await
        .unwrap();
}
