//! When the gate opens, for how long, and who closes it.

use super::*;

fn error(failure: Failure) -> AiError {
    AiError::new(failure, true)
}

fn down() -> AiError {
    error(Failure::Unavailable {
        status: Some(500),
        retry_after: None,
    })
}

fn opened(now: Instant) -> Gate {
    let gate = Gate::new("test");
    for _ in 0..PATIENCE {
        gate.enter(now).unwrap().failed(&down(), now);
    }
    gate
}

/// Lets time pass.
fn after(now: &mut Instant, seconds: u64) {
    *now += Duration::from_secs(seconds);
}

#[test]
fn five_failures_in_a_row_open_it_and_a_success_between_starts_anew() {
    let now = Instant::now();
    let gate = Gate::new("test");
    for _ in 0..2 {
        for _ in 0..PATIENCE - 1 {
            gate.enter(now).unwrap().failed(&down(), now);
        }
        gate.enter(now).unwrap().succeeded();
    }
    assert_eq!(gate.wait(now), None);
    assert_eq!(opened(now).enter(now).unwrap_err(), FIRST_PAUSE);
}

#[test]
fn failures_within_answers_count_though_they_began() {
    let now = Instant::now();
    let gate = Gate::new("test");
    for _ in 0..PATIENCE {
        let mut pass = gate.enter(now).unwrap();
        pass.begun();
        pass.failed(&error(Failure::Protocol("x")), now);
    }
    assert_eq!(gate.wait(now), Some(FIRST_PAUSE));
}

#[test]
fn one_trial_is_let_through_and_its_success_closes() {
    let mut now = Instant::now();
    let gate = opened(now);
    after(&mut now, 5);
    assert_eq!(gate.wait(now), None);
    let trial = gate.enter(now).unwrap();
    assert_eq!(gate.enter(now).unwrap_err(), TRIAL_PAUSE);
    trial.succeeded();
    assert_eq!(gate.wait(now), None);
    gate.enter(now).unwrap().failed(&down(), now);
    assert_eq!(gate.wait(now), None, "it counts from nought again");
}

#[test]
fn failing_trials_double_the_pause_up_to_a_minute() {
    let mut now = Instant::now();
    let gate = opened(now);
    for pause in [5, 10, 20, 40, 60, 60] {
        assert_eq!(gate.wait(now), Some(Duration::from_secs(pause)));
        after(&mut now, pause);
        gate.enter(now).unwrap().failed(&down(), now);
    }
}

#[test]
fn an_answer_that_has_begun_closes_on_probation() {
    let mut now = Instant::now();
    let gate = opened(now);
    after(&mut now, 5);
    let mut trial = gate.enter(now).unwrap();
    trial.begun();
    assert!(gate.enter(now).is_ok());
    trial.failed(&down(), now);
    assert_eq!(gate.wait(now), Some(FIRST_PAUSE * 2));
}

#[test]
fn a_dropped_trial_frees_its_place() {
    let mut now = Instant::now();
    let gate = opened(now);
    after(&mut now, 5);
    drop(gate.enter(now).unwrap());
    assert!(gate.enter(now).is_ok());
}

#[test]
fn who_began_before_it_opened_has_no_say() {
    let mut now = Instant::now();
    let gate = Gate::new("test");
    let (early, earlier) = (gate.enter(now).unwrap(), gate.enter(now).unwrap());
    for _ in 0..PATIENCE {
        gate.enter(now).unwrap().failed(&down(), now);
    }
    early.succeeded();
    assert!(gate.wait(now).is_some());
    after(&mut now, 5);
    let trial = gate.enter(now).unwrap();
    earlier.failed(&down(), now);
    trial.succeeded();
    assert_eq!(gate.wait(now), None);
}

#[test]
fn what_an_operator_must_repair_opens_at_once() {
    let now = Instant::now();
    for failure in [
        Failure::Unauthorized { status: Some(401) },
        Failure::QuotaExhausted,
        Failure::Misconfigured("x"),
    ] {
        let gate = Gate::new("test");
        gate.enter(now).unwrap().failed(&error(failure.clone()), now);
        assert_eq!(gate.wait(now), Some(REPAIR_PAUSE));
        assert_eq!(gate.broken(), Some(failure));
    }
}

#[test]
fn a_wanted_wait_is_kept_up_to_a_minute() {
    let now = Instant::now();
    for (asked, kept) in [(7, 7), (3600, 60)] {
        let gate = Gate::new("test");
        let retry_after = Some(Duration::from_secs(asked));
        gate.enter(now)
            .unwrap()
            .failed(&error(Failure::RateLimited { retry_after }), now);
        assert_eq!(gate.wait(now), Some(Duration::from_secs(kept)));
    }
    let gate = Gate::new("test");
    for _ in 0..2 * PATIENCE {
        gate.enter(now)
            .unwrap()
            .failed(&error(Failure::RateLimited { retry_after: None }), now);
    }
    assert_eq!(gate.wait(now), None, "how long is not known, so the next call asks");
}

#[test]
fn a_refusal_shows_that_the_service_works() {
    let mut now = Instant::now();
    let gate = opened(now);
    after(&mut now, 5);
    gate.enter(now).unwrap().failed(&error(Failure::ContextTooLong), now);
    assert_eq!(gate.wait(now), None);
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
            gate.enter(now).unwrap().failed(&error(Failure::QuotaExhausted), now);
        }
        after(&mut now, 60);
        gate.enter(now).unwrap().succeeded();
        gate.enter(now).unwrap().succeeded();
    });
    let levels = heard.0.lock().unwrap();
    assert_eq!(
        *levels,
        [tracing::Level::WARN, tracing::Level::ERROR, tracing::Level::INFO]
    );
}
