//! A sign-in that a server is too busy to check did not fail: it is not counted as a failure.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use cura_app::SecretKeys;
use cura_app::accounts::{Accounts, SignInFrom};
use cura_app::auth_tokens::{TokenLifetimes, Tokens};
use cura_app::passwords::{HashCost, PasswordError, Passwords};
use cura_app::sessions::{Sessions, SignInError};
use cura_app::sign_in_guard::{Place, SignInGuard, SignInWaits};
use cura_bin::wiring::{clock, entropy};
use cura_domain::account::{Email, NewPassword};
use cura_live::{Live, LiveConfig};
use cura_store::Database;
use cura_tests::TestDatabase;

const PASSWORD: &str = "correct horse battery";
const SECRET: &[u8] = b"a secret of tests, long enough";

/// The accounts of a server that hashes so many passwords at a time.
fn accounts(database: &Database, live: &Live, hashes: usize) -> Accounts {
    let lifetime = TimeDelta::hours(1);
    let tokens = Tokens::new(
        SecretKeys::only(SECRET),
        TokenLifetimes {
            access: lifetime,
            refresh: lifetime,
            session: lifetime,
        },
    );
    let cost = HashCost {
        memory_kib: 8,
        passes: 1,
    };
    let waits = SignInWaits::new(live, NonZeroU32::new(5).unwrap());
    Accounts::new(
        database.clone(),
        live.clone(),
        clock(),
        Passwords::new(cost, hashes, entropy()).unwrap(),
        Sessions::new(database.clone(), clock(), entropy(), tokens),
        SignInGuard::new(SecretKeys::only(SECRET), Some(waits)),
    )
}

#[tokio::test]
async fn a_sign_in_that_a_busy_server_does_not_check_counts_as_no_failure_wherever_it_is_from() {
    let test_database = TestDatabase::create().await;
    let database = Database::connect_lazy(&test_database.url(), "test", 3).unwrap();
    let live = Live::in_process(LiveConfig::default());
    let (idle, busy) = (accounts(&database, &live, 1), accounts(&database, &live, 0));
    let email = Email::new("ann@example.com").unwrap();
    let home = Place::new("203.0.113.1".to_owned());
    let password = NewPassword::new(PASSWORD).unwrap();
    idle.register(&email, &password, None, &home).await.unwrap();
    let elsewhere = Place::new("198.51.100.1".to_owned());
    // At home, the address is used up by others.
    for (place, from) in [(&home, SignInFrom::KnownPlace), (&elsewhere, SignInFrom::Anywhere)] {
        for _ in 0..20 {
            let refused = busy.login(&email, PASSWORD, None, place, from).await;
            assert!(
                matches!(refused, Err(SignInError::Password(PasswordError::Busy))),
                "{:?}",
                refused.err()
            );
        }
        let signed_in = idle.login(&email, PASSWORD, None, place, from).await;
        assert!(signed_in.is_ok(), "{:?}", signed_in.err());
    }
    // What fails is counted, at home as well.
    let mut refused = None;
    for _ in 0..20 {
        refused = idle
            .login(&email, "not it", None, &home, SignInFrom::KnownPlace)
            .await
            .err();
    }
    assert!(matches!(refused, Some(SignInError::TooManyFailures(_))), "{refused:?}");
}
