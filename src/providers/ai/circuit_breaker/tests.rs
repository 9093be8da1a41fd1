//! When the gate opens, for how long, and who closes it.

use std::sync::atomic::{AtomicI64, Ordering};

use cura_domain::MessageId;

use super::*;

impl CircuitBreaker {
    /// How long `key` gets no pass; `None` when it would now.
    fn wait(&self, key: RequestKey, now: Instant) -> Option<Duration> {
        self.state().wait(key, now)
    }
}

/// Somebody who has not asked before.
fn new() -> RequestKey {
    static SEEN: AtomicI64 = AtomicI64::new(1_000);
    RequestKey::Answer(MessageId(SEEN.fetch_add(1, Ordering::Relaxed)))
}

/// Always the same one.
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
    let gate = CircuitBreaker::new("test");
    for _ in 0..PATIENCE {
        gate.acquire(new(), now).unwrap().failed(&down(), now);
    }
    gate
}

/// Lets time pass.
fn after(now: &mut Instant, seconds: u64) {
    *now += Duration::from_secs(seconds);
}

#[test]
fn five_that_fail_in_a_row_open_it_and_a_success_between_starts_anew() {
    let now = Instant::now();
    let gate = CircuitBreaker::new("test");
    for _ in 0..2 {
        for _ in 0..PATIENCE - 1 {
            gate.acquire(new(), now).unwrap().failed(&down(), now);
        }
        gate.acquire(new(), now).unwrap().succeeded();
    }
    assert_eq!(gate.wait(new(), now), None);
    assert_eq!(opened(now).acquire(new(), now).unwrap_err().retry_after, FIRST_PAUSE);
}

#[test]
fn failures_within_answers_count_though_they_began() {
    let now = Instant::now();
    let gate = CircuitBreaker::new("test");
    for _ in 0..PATIENCE {
        let mut pass = gate.acquire(new(), now).unwrap();
        pass.started();
        pass.failed(&error(Failure::Protocol("x")), now);
    }
    assert_eq!(gate.wait(new(), now), Some(FIRST_PAUSE));
}

#[test]
fn one_trial_is_let_through_and_its_success_closes() {
    let mut now = Instant::now();
    let gate = opened(now);
    after(&mut now, 5);
    assert_eq!(gate.wait(new(), now), None);
    let trial = gate.acquire(new(), now).unwrap();
    assert_eq!(gate.acquire(new(), now).unwrap_err().retry_after, TRIAL_PAUSE);
    trial.succeeded();
    assert_eq!(gate.wait(new(), now), None);
    gate.acquire(new(), now).unwrap().failed(&down(), now);
    assert_eq!(gate.wait(new(), now), None, "it counts from nought again");
}

#[test]
fn failing_trials_double_the_pause_up_to_a_minute() {
    let mut now = Instant::now();
    let gate = opened(now);
    for pause in [5, 10, 20, 40, 60, 60] {
        assert_eq!(gate.wait(new(), now), Some(Duration::from_secs(pause)));
        after(&mut now, pause);
        gate.acquire(new(), now).unwrap().failed(&down(), now);
    }
}

#[test]
fn an_answer_that_has_begun_closes_on_probation() {
    let mut now = Instant::now();
    let gate = opened(now);
    after(&mut now, 5);
    let mut trial = gate.acquire(new(), now).unwrap();
    trial.started();
    assert!(gate.acquire(new(), now).is_ok());
    trial.failed(&down(), now);
    assert_eq!(gate.wait(new(), now), Some(FIRST_PAUSE * 2));
}

#[test]
fn a_dropped_trial_frees_its_place() {
    let mut now = Instant::now();
    let gate = opened(now);
    after(&mut now, 5);
    drop(gate.acquire(new(), now).unwrap());
    assert!(gate.acquire(new(), now).is_ok());
}

#[test]
fn who_began_before_it_opened_has_no_say() {
    let mut now = Instant::now();
    let gate = CircuitBreaker::new("test");
    let (early, earlier) = (gate.acquire(new(), now).unwrap(), gate.acquire(new(), now).unwrap());
    for _ in 0..PATIENCE {
        gate.acquire(new(), now).unwrap().failed(&down(), now);
    }
    early.succeeded();
    assert!(gate.wait(new(), now).is_some());
    after(&mut now, 5);
    let trial = gate.acquire(new(), now).unwrap();
    earlier.failed(&down(), now);
    trial.succeeded();
    assert_eq!(gate.wait(new(), now), None);
}

#[test]
fn what_an_operator_must_repair_opens_at_once() {
    let now = Instant::now();
    for failure in [
        Failure::Unauthorized { status: Some(401) },
        Failure::QuotaExhausted,
        Failure::Misconfigured("x"),
    ] {
        let gate = CircuitBreaker::new("test");
        gate.acquire(new(), now).unwrap().failed(&error(failure.clone()), now);
        assert_eq!(gate.wait(new(), now), Some(REPAIR_PAUSE));
        assert_eq!(gate.operator_failure(), Some(failure));
    }
}

#[test]
fn a_wanted_wait_is_kept_up_to_a_minute() {
    let now = Instant::now();
    for (asked, kept) in [(7, 7), (3600, 60)] {
        let gate = CircuitBreaker::new("test");
        let retry_after = Some(Duration::from_secs(asked));
        gate.acquire(new(), now)
            .unwrap()
            .failed(&error(Failure::RateLimited { retry_after }), now);
        assert_eq!(gate.wait(new(), now), Some(Duration::from_secs(kept)));
    }
    let gate = CircuitBreaker::new("test");
    for _ in 0..2 * PATIENCE {
        gate.acquire(new(), now)
            .unwrap()
            .failed(&error(Failure::RateLimited { retry_after: None }), now);
    }
    assert_eq!(
        gate.wait(new(), now),
        None,
        "how long is not known, so the next call asks"
    );
}

#[test]
fn a_refusal_shows_that_the_service_works() {
    let mut now = Instant::now();
    let gate = opened(now);
    after(&mut now, 5);
    gate.acquire(new(), now)
        .unwrap()
        .failed(&error(Failure::ContextTooLong), now);
    assert_eq!(gate.wait(new(), now), None);
}

#[test]
fn one_that_fails_again_and_again_counts_once() {
    let now = Instant::now();
    let gate = CircuitBreaker::new("test");
    for _ in 0..4 * PATIENCE {
        for poison in 0..3 {
            gate.acquire(answer(poison), now).unwrap().failed(&down(), now);
        }
    }
    assert_eq!(gate.wait(new(), now), None);
    for _ in 0..PATIENCE - 3 {
        gate.acquire(new(), now).unwrap().failed(&down(), now);
    }
    assert_eq!(gate.wait(new(), now), Some(FIRST_PAUSE), "others failed, too");
}

#[test]
fn those_that_failed_make_only_themselves_wait_longer() {
    let mut now = Instant::now();
    let gate = CircuitBreaker::new("test");
    let ids = 0..5;
    for id in ids.clone() {
        gate.acquire(answer(id), now).unwrap().failed(&down(), now);
    }
    after(&mut now, 5);
    gate.acquire(answer(0), now).unwrap().failed(&down(), now);
    assert_eq!(gate.wait(new(), now), None, "who has not failed may try at once");
    for id in ids.clone() {
        assert_eq!(gate.wait(answer(id), now), Some(FIRST_PAUSE * 2));
    }
    after(&mut now, 10);
    let again = gate.acquire(answer(1), now).unwrap();
    assert_eq!(gate.wait(answer(2), now), Some(TRIAL_PAUSE));
    let mut beside = gate.acquire(new(), now).unwrap();
    assert_eq!(gate.wait(new(), now), Some(TRIAL_PAUSE));
    again.failed(&down(), now);
    beside.started();
    for id in ids {
        gate.acquire(answer(id), now).unwrap().failed(&down(), now);
    }
    assert_eq!(gate.wait(new(), now), None, "what fails again is no news");
    gate.acquire(new(), now).unwrap().failed(&down(), now);
    assert_eq!(
        gate.wait(new(), now),
        Some(FIRST_PAUSE * 2),
        "on probation one more is enough"
    );
}

#[test]
fn of_many_that_come_back_at_once_one_is_admitted() {
    let mut now = Instant::now();
    let gate = CircuitBreaker::new("test");
    for id in 0..5 {
        gate.acquire(answer(id), now).unwrap().failed(&down(), now);
    }
    assert_eq!(
        gate.reserve(new(), now),
        Err(CircuitOpen {
            retry_after: FIRST_PAUSE
        })
    );
    after(&mut now, 5);
    assert_eq!(gate.reserve(answer(0), now), Ok(()));
    assert_eq!(
        gate.reserve(answer(1), now),
        Err(CircuitOpen {
            retry_after: TRIAL_PAUSE
        })
    );
    let (first, second) = (new(), new());
    assert_eq!(
        gate.reserve(first, now),
        Ok(()),
        "who has failed keeps nobody else away"
    );
    assert_eq!(
        gate.reserve(second, now),
        Err(CircuitOpen {
            retry_after: TRIAL_PAUSE
        })
    );
    assert_eq!(
        gate.reserve(answer(0), now),
        Err(CircuitOpen {
            retry_after: TRIAL_PAUSE
        })
    );
    assert!(gate.acquire(second, now).is_err() && gate.acquire(first, now).is_ok());
    after(&mut now, 1);
    assert_eq!(gate.reserve(second, now), Ok(()), "whoever was admitted is gone");
}

#[test]
fn when_nobody_new_asks_those_that_failed_find_out_that_it_works_again() {
    let mut now = Instant::now();
    let gate = CircuitBreaker::new("test");
    for id in 0..5 {
        gate.acquire(answer(id), now).unwrap().failed(&down(), now);
    }
    for pause in [5, 10, 20, 40, 60, 60] {
        assert_eq!(gate.wait(answer(0), now), Some(Duration::from_secs(pause)));
        after(&mut now, pause);
        gate.acquire(answer(0), now).unwrap().failed(&down(), now);
    }
    after(&mut now, 60);
    gate.acquire(answer(0), now).unwrap().succeeded();
    assert_eq!(gate.wait(answer(1), now), None);
}

/// Keeps how loud each event was.
#[derive(Clone, Default)]
struct Loudness(Arc<Mutex<Vec<tracing::Level>>>);

impl tracing::Subscriber for Loudness {
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
fn an_opening_is_told_once_however_many_trials_fail() {
    let mut now = Instant::now();
    let heard = Loudness::default();
    tracing::subscriber::with_default(heard.clone(), || {
        let gate = opened(now);
        for _ in 0..3 {
            after(&mut now, 60);
            gate.acquire(new(), now)
                .unwrap()
                .failed(&error(Failure::QuotaExhausted), now);
        }
        after(&mut now, 60);
        gate.acquire(new(), now).unwrap().succeeded();
        gate.acquire(new(), now).unwrap().succeeded();
    });
    let levels = heard.0.lock().unwrap();
    assert_eq!(
        *levels,
        [tracing::Level::WARN, tracing::Level::ERROR, tracing::Level::INFO]
    );
}
