//! When the breaker opens, for how long, and what closes it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cura_domain::MessageId;

use super::outcome::OPERATOR_BACKOFF;
use super::state::{FAILED_KEYS_TO_OPEN, INITIAL_BACKOFF, TRIAL_WAIT};
use super::*;

impl CircuitBreaker {
    /// How long `key` has to wait for a permit.
    fn wait(&self, key: RequestKey, now: Instant) -> Option<Duration> {
        self.state().wait(key, now)
    }
}

/// A key that was not used before.
fn new_key() -> RequestKey {
    static SEEN: AtomicI64 = AtomicI64::new(1_000);
    RequestKey::Answer(MessageId(SEEN.fetch_add(1, Ordering::Relaxed)))
}

/// The key of this answer.
fn answer(id: i64) -> RequestKey {
    RequestKey::Answer(MessageId(id))
}

fn error(failure: Failure) -> AiError {
    AiError::new(failure, true)
}

fn down() -> AiError {
    error(Failure::Unavailable {
        status: Some(500),
        retry_after: None,
    })
}

fn opened(now: Instant) -> CircuitBreaker {
    let breaker = CircuitBreaker::new("test");
    for _ in 0..FAILED_KEYS_TO_OPEN {
        breaker.acquire(new_key(), now).unwrap().failed(&down(), now);
    }
    breaker
}

/// Lets time permit.
fn after(now: &mut Instant, seconds: u64) {
    *now += Duration::from_secs(seconds);
}

#[test]
fn five_failed_keys_open_it_and_a_success_between_resets_the_count() {
    let now = Instant::now();
    let breaker = CircuitBreaker::new("test");
    for _ in 0..2 {
        for _ in 0..FAILED_KEYS_TO_OPEN - 1 {
            breaker.acquire(new_key(), now).unwrap().failed(&down(), now);
        }
        breaker.acquire(new_key(), now).unwrap().succeeded();
    }
    assert_eq!(breaker.wait(new_key(), now), None);
    assert_eq!(
        opened(now).acquire(new_key(), now).unwrap_err().retry_after,
        INITIAL_BACKOFF
    );
}

#[test]
fn failures_after_the_first_event_count() {
    let now = Instant::now();
    let breaker = CircuitBreaker::new("test");
    for _ in 0..FAILED_KEYS_TO_OPEN {
        let permit = breaker.acquire(new_key(), now).unwrap();
        permit.started();
        permit.failed(&error(Failure::Protocol("x")), now);
    }
    assert_eq!(breaker.wait(new_key(), now), Some(INITIAL_BACKOFF));
}

#[test]
fn one_trial_is_sent_and_its_success_closes() {
    let mut now = Instant::now();
    let breaker = opened(now);
    after(&mut now, 5);
    assert_eq!(breaker.wait(new_key(), now), None);
    let trial = breaker.acquire(new_key(), now).unwrap();
    assert_eq!(breaker.acquire(new_key(), now).unwrap_err().retry_after, TRIAL_WAIT);
    trial.succeeded();
    assert_eq!(breaker.wait(new_key(), now), None);
    breaker.acquire(new_key(), now).unwrap().failed(&down(), now);
    assert_eq!(breaker.wait(new_key(), now), None, "the count is reset");
}

#[test]
fn failing_trials_double_the_backoff_up_to_a_minute() {
    let mut now = Instant::now();
    let breaker = opened(now);
    for backoff in [5, 10, 20, 40, 60, 60] {
        assert_eq!(breaker.wait(new_key(), now), Some(Duration::from_secs(backoff)));
        after(&mut now, backoff);
        breaker.acquire(new_key(), now).unwrap().failed(&down(), now);
    }
}

#[test]
fn a_first_event_closes_on_probation() {
    let mut now = Instant::now();
    let breaker = opened(now);
    after(&mut now, 5);
    let trial = breaker.acquire(new_key(), now).unwrap();
    trial.started();
    assert!(breaker.acquire(new_key(), now).is_ok());
    trial.failed(&down(), now);
    assert_eq!(breaker.wait(new_key(), now), Some(INITIAL_BACKOFF * 2));
}

#[test]
fn a_dropped_trial_lets_another_follow() {
    let mut now = Instant::now();
    let breaker = opened(now);
    after(&mut now, 5);
    drop(breaker.acquire(new_key(), now).unwrap());
    assert!(breaker.acquire(new_key(), now).is_ok());
}

#[test]
fn requests_sent_before_it_opened_are_ignored() {
    let mut now = Instant::now();
    let breaker = CircuitBreaker::new("test");
    let (early, earlier) = (
        breaker.acquire(new_key(), now).unwrap(),
        breaker.acquire(new_key(), now).unwrap(),
    );
    for _ in 0..FAILED_KEYS_TO_OPEN {
        breaker.acquire(new_key(), now).unwrap().failed(&down(), now);
    }
    early.succeeded();
    assert!(breaker.wait(new_key(), now).is_some());
    after(&mut now, 5);
    let trial = breaker.acquire(new_key(), now).unwrap();
    earlier.failed(&down(), now);
    trial.succeeded();
    assert_eq!(breaker.wait(new_key(), now), None);
}

#[test]
fn a_failure_for_an_operator_opens_at_once() {
    let now = Instant::now();
    for failure in [
        Failure::Unauthorized { status: Some(401) },
        Failure::QuotaExhausted,
        Failure::Misconfigured("x"),
    ] {
        let breaker = CircuitBreaker::new("test");
        breaker
            .acquire(new_key(), now)
            .unwrap()
            .failed(&error(failure.clone()), now);
        assert_eq!(breaker.wait(new_key(), now), Some(OPERATOR_BACKOFF));
        assert_eq!(breaker.operator_failure(), Some(failure));
    }
}

#[test]
fn a_stated_wait_is_kept_up_to_a_minute() {
    let now = Instant::now();
    for (asked, kept) in [(7, 7), (3600, 60)] {
        let breaker = CircuitBreaker::new("test");
        let retry_after = Some(Duration::from_secs(asked));
        breaker
            .acquire(new_key(), now)
            .unwrap()
            .failed(&error(Failure::RateLimited { retry_after }), now);
        assert_eq!(breaker.wait(new_key(), now), Some(Duration::from_secs(kept)));
    }
    let breaker = CircuitBreaker::new("test");
    for _ in 0..2 * FAILED_KEYS_TO_OPEN {
        breaker
            .acquire(new_key(), now)
            .unwrap()
            .failed(&error(Failure::RateLimited { retry_after: None }), now);
    }
    assert_eq!(
        breaker.wait(new_key(), now),
        None,
        "no wait was stated, so the next request is sent"
    );
}

#[test]
fn a_refusal_shows_that_the_provider_works() {
    let mut now = Instant::now();
    let breaker = opened(now);
    after(&mut now, 5);
    breaker
        .acquire(new_key(), now)
        .unwrap()
        .failed(&error(Failure::ContextTooLong), now);
    assert_eq!(breaker.wait(new_key(), now), None);
}

#[test]
fn repeated_failures_of_one_key_count_once() {
    let now = Instant::now();
    let breaker = CircuitBreaker::new("test");
    for _ in 0..4 * FAILED_KEYS_TO_OPEN {
        for id in 0..3 {
            breaker.acquire(answer(id), now).unwrap().failed(&down(), now);
        }
    }
    assert_eq!(breaker.wait(new_key(), now), None);
    for _ in 0..FAILED_KEYS_TO_OPEN - 3 {
        breaker.acquire(new_key(), now).unwrap().failed(&down(), now);
    }
    assert_eq!(
        breaker.wait(new_key(), now),
        Some(INITIAL_BACKOFF),
        "other keys failed, too"
    );
}

#[test]
fn failed_keys_delay_only_themselves() {
    let mut now = Instant::now();
    let breaker = CircuitBreaker::new("test");
    let ids = 0..5;
    for id in ids.clone() {
        breaker.acquire(answer(id), now).unwrap().failed(&down(), now);
    }
    after(&mut now, 5);
    breaker.acquire(answer(0), now).unwrap().failed(&down(), now);
    assert_eq!(
        breaker.wait(new_key(), now),
        None,
        "a key that has not failed may send at once"
    );
    for id in ids.clone() {
        assert_eq!(breaker.wait(answer(id), now), Some(INITIAL_BACKOFF * 2));
    }
    after(&mut now, 10);
    let again = breaker.acquire(answer(1), now).unwrap();
    assert_eq!(breaker.wait(answer(2), now), Some(TRIAL_WAIT));
    let beside = breaker.acquire(new_key(), now).unwrap();
    assert_eq!(breaker.wait(new_key(), now), Some(TRIAL_WAIT));
    again.failed(&down(), now);
    beside.started();
    for id in ids {
        breaker.acquire(answer(id), now).unwrap().failed(&down(), now);
    }
    assert_eq!(breaker.wait(new_key(), now), None, "repeated failures do not count");
    breaker.acquire(new_key(), now).unwrap().failed(&down(), now);
    assert_eq!(
        breaker.wait(new_key(), now),
        Some(INITIAL_BACKOFF * 2),
        "on probation one more key is enough"
    );
}

#[test]
fn the_trial_is_reserved_for_one_of_many_waiting_keys() {
    let mut now = Instant::now();
    let breaker = CircuitBreaker::new("test");
    for id in 0..5 {
        breaker.acquire(answer(id), now).unwrap().failed(&down(), now);
    }
    assert_eq!(
        breaker.reserve(new_key(), now),
        Err(CircuitOpen {
            retry_after: INITIAL_BACKOFF
        })
    );
    after(&mut now, 5);
    assert_eq!(breaker.reserve(answer(0), now), Ok(()));
    assert_eq!(
        breaker.reserve(answer(1), now),
        Err(CircuitOpen {
            retry_after: TRIAL_WAIT
        })
    );
    let (first, second) = (new_key(), new_key());
    assert_eq!(
        breaker.reserve(first, now),
        Ok(()),
        "a failed key does not block another"
    );
    assert_eq!(
        breaker.reserve(second, now),
        Err(CircuitOpen {
            retry_after: TRIAL_WAIT
        })
    );
    assert_eq!(
        breaker.reserve(answer(0), now),
        Err(CircuitOpen {
            retry_after: TRIAL_WAIT
        })
    );
    assert!(breaker.acquire(second, now).is_err() && breaker.acquire(first, now).is_ok());
    after(&mut now, 1);
    assert_eq!(breaker.reserve(second, now), Ok(()), "the reservation has expired");
}

#[test]
fn failed_keys_alone_find_out_that_the_provider_works_again() {
    let mut now = Instant::now();
    let breaker = CircuitBreaker::new("test");
    for id in 0..5 {
        breaker.acquire(answer(id), now).unwrap().failed(&down(), now);
    }
    for backoff in [5, 10, 20, 40, 60, 60] {
        assert_eq!(breaker.wait(answer(0), now), Some(Duration::from_secs(backoff)));
        after(&mut now, backoff);
        breaker.acquire(answer(0), now).unwrap().failed(&down(), now);
    }
    after(&mut now, 60);
    breaker.acquire(answer(0), now).unwrap().succeeded();
    assert_eq!(breaker.wait(answer(1), now), None);
}

/// Collects the levels of log events.
#[derive(Clone, Default)]
struct LogLevels(Arc<Mutex<Vec<tracing::Level>>>);

impl tracing::Subscriber for LogLevels {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.0.lock().unwrap().push(*event.metadata().level());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn an_opening_is_logged_once_however_many_trials_fail() {
    let mut now = Instant::now();
    let logs = LogLevels::default();
    tracing::subscriber::with_default(logs.clone(), || {
        let breaker = opened(now);
        for _ in 0..3 {
            after(&mut now, 60);
            breaker
                .acquire(new_key(), now)
                .unwrap()
                .failed(&error(Failure::QuotaExhausted), now);
        }
        after(&mut now, 60);
        breaker.acquire(new_key(), now).unwrap().succeeded();
        breaker.acquire(new_key(), now).unwrap().succeeded();
    });
    let levels = logs.0.lock().unwrap();
    assert_eq!(
        *levels,
        [tracing::Level::WARN, tracing::Level::ERROR, tracing::Level::INFO]
    );
}
