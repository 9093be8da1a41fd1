//! When the breaker opens, for how long, who is held, and what closes it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cura_domain::MessageId;

use super::outcome::{CHECK_INTERVAL, CONFIRMED_AFTER, INITIAL_BACKOFF, OPERATOR_BACKOFF, RECHECK_INTERVAL};
use super::persons::FAILED_KEYS_TO_HOLD;
use super::state::{TRIAL_INTERVAL, TRIAL_WAIT};
use super::*;

const ANN: Option<UserId> = Some(UserId(1));
const BOB: Option<UserId> = Some(UserId(2));
const EVE: Option<UserId> = Some(UserId(3));

/// A breaker and a time.
struct Scene {
    breaker: CircuitBreaker,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            breaker: CircuitBreaker::new("test"),
            now: Instant::now(),
        }
    }

    fn after(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn wait(&self, person: Option<UserId>) -> Option<Duration> {
        self.breaker.check(person, self.now).err().map(|open| open.retry_after)
    }

    /// A request of this person fails.
    fn fails(&self, person: Option<UserId>, key: RequestKey, error: &AiError) {
        let permit = self.breaker.acquire(person, key, self.now).unwrap();
        permit.failed(error, false, self.now);
    }

    /// A request of this person fails that was paid for.
    fn fails_paid(&self, person: Option<UserId>, error: &AiError) {
        let permit = self.breaker.acquire(person, new_key(), self.now).unwrap();
        permit.failed(error, true, self.now);
    }

    fn completes(&self, person: Option<UserId>) {
        self.breaker.acquire(person, new_key(), self.now).unwrap().succeeded();
    }

    /// The trial that is due is sent, and ends like this.
    fn trial(&self, result: Result<(), AiError>) {
        let trial = self.breaker.start_trial(self.now).expect("a trial is due");
        trial.ended(&result, self.now);
    }

    fn operator_failure(&self) -> Option<Failure> {
        self.breaker.operator_failure(self.now)
    }

    fn is_trial_due(&self) -> bool {
        // Dropped without a report, so that another one may follow.
        self.breaker.start_trial(self.now).is_some()
    }

    /// One that has just opened.
    fn opened() -> Self {
        let scene = Self::new();
        scene.fails(ANN, new_key(), &down());
        scene.fails(BOB, new_key(), &down());
        scene.trial(Err(down()));
        scene
    }
}

/// A key that was not used before.
fn new_key() -> RequestKey {
    static SEEN: AtomicI64 = AtomicI64::new(1_000);
    RequestKey::Answer(MessageId(SEEN.fetch_add(1, Ordering::Relaxed)))
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

fn limited(seconds: Option<u64>) -> AiError {
    let retry_after = seconds.map(Duration::from_secs);
    error(Failure::RateLimited { retry_after })
}

#[test]
fn failures_of_two_persons_are_tried_by_a_request_of_our_own_which_decides() {
    for (result, wait) in [(Ok(()), None), (Err(down()), Some(INITIAL_BACKOFF))] {
        let scene = Scene::new();
        scene.fails(ANN, new_key(), &down());
        assert!(
            scene.breaker.start_trial(scene.now).is_none(),
            "one person says nothing"
        );
        scene.fails(BOB, new_key(), &down());
        assert_eq!(scene.wait(EVE), None, "nobody waits until it is confirmed");
        scene.trial(result);
        assert_eq!(scene.wait(EVE), wait);
    }
}

#[test]
fn a_complete_answer_between_shows_that_the_provider_works() {
    let scene = Scene::new();
    scene.fails(ANN, new_key(), &down());
    scene.completes(EVE);
    scene.fails(BOB, new_key(), &down());
    assert!(!scene.is_trial_due());
    scene.fails(ANN, new_key(), &down());
    assert!(scene.is_trial_due());
}

#[test]
fn a_person_whose_messages_fail_is_held_and_nobody_else() {
    let mut scene = Scene::new();
    for _ in 0..FAILED_KEYS_TO_HOLD {
        assert_eq!(scene.wait(ANN), None);
        scene.fails(ANN, new_key(), &down());
    }
    assert_eq!((scene.wait(ANN), scene.wait(BOB)), (Some(INITIAL_BACKOFF), None));
    scene.trial(Ok(()));
    assert_eq!((scene.wait(ANN), scene.wait(BOB)), (Some(INITIAL_BACKOFF), None));
    for backoff in [5, 10, 20, 40, 60, 60] {
        assert_eq!(scene.wait(ANN), Some(Duration::from_secs(backoff)));
        scene.after(backoff);
        scene.fails(ANN, new_key(), &down());
        assert_eq!((scene.wait(BOB), scene.wait(None)), (None, None));
    }
    scene.after(60);
    scene.completes(ANN);
    scene.fails(ANN, new_key(), &down());
    assert_eq!(scene.wait(ANN), None, "the count is reset");
}

#[test]
fn retries_of_one_request_count_once() {
    let scene = Scene::new();
    let keys: Vec<RequestKey> = (1..FAILED_KEYS_TO_HOLD).map(|_| new_key()).collect();
    for _ in 0..5 {
        for key in &keys {
            scene.fails(ANN, *key, &down());
        }
    }
    assert_eq!(scene.wait(ANN), None);
    assert!(!scene.is_trial_due());
}

/// A person alone would not find out that the provider is down, if it took two.
#[test]
fn a_person_alone_whose_messages_fail_is_reason_enough_for_a_trial() {
    let scene = Scene::new();
    for _ in 0..FAILED_KEYS_TO_HOLD {
        scene.fails(ANN, new_key(), &down());
    }
    scene.trial(Err(down()));
    assert_eq!(scene.wait(BOB), Some(INITIAL_BACKOFF));
}

#[test]
fn whoever_provokes_trials_gets_one_every_ten_seconds() {
    let mut scene = Scene::new();
    let mut trials = 0;
    for _ in 0..60 {
        for person in 0..3 {
            scene.fails(Some(UserId(person)), RequestKey::Answer(MessageId(person)), &down());
            if let Some(trial) = scene.breaker.start_trial(scene.now) {
                trials += 1;
                assert!(scene.breaker.start_trial(scene.now).is_none(), "one at a time");
                trial.ended(&Ok(()), scene.now);
            }
        }
        scene.after(1);
    }
    assert_eq!(trials, 60 / TRIAL_INTERVAL.as_secs());
}

#[test]
fn failing_trials_double_the_backoff_up_to_a_minute() {
    let mut scene = Scene::opened();
    for backoff in [5, 10, 20, 40, 60, 60] {
        assert_eq!(scene.wait(EVE), Some(Duration::from_secs(backoff)));
        assert!(scene.breaker.start_trial(scene.now).is_none());
        scene.after(backoff);
        assert_eq!(scene.wait(EVE), Some(TRIAL_WAIT), "no person's request is the trial");
        scene.trial(Err(down()));
    }
    scene.after(60);
    scene.trial(Ok(()));
    assert_eq!(scene.wait(EVE), None);
}

#[test]
fn a_provider_that_fails_again_before_it_completed_an_answer_is_left_alone_for_longer() {
    let mut scene = Scene::opened();
    scene.after(5);
    scene.trial(Ok(()));
    scene.after(10);
    scene.fails(ANN, new_key(), &down());
    scene.fails(BOB, new_key(), &down());
    scene.trial(Err(down()));
    assert_eq!(scene.wait(EVE), Some(INITIAL_BACKOFF * 2));
    scene.after(10);
    scene.trial(Ok(()));
    scene.completes(EVE);
    scene.after(10);
    scene.fails(ANN, new_key(), &down());
    scene.fails(BOB, new_key(), &down());
    scene.trial(Err(down()));
    assert_eq!(scene.wait(EVE), Some(INITIAL_BACKOFF));
}

#[test]
fn a_trial_that_says_nothing_lets_another_follow() {
    let mut scene = Scene::opened();
    scene.after(5);
    drop(scene.breaker.start_trial(scene.now));
    scene.trial(Ok(()));
    assert_eq!(scene.wait(EVE), None);
}

#[test]
fn requests_sent_before_it_opened_are_ignored() {
    let scene = Scene::new();
    let early = scene.breaker.acquire(EVE, new_key(), scene.now).unwrap();
    scene.fails(ANN, new_key(), &down());
    scene.fails(BOB, new_key(), &down());
    scene.trial(Err(down()));
    early.succeeded();
    assert!(scene.wait(EVE).is_some());
}

fn for_operators() -> [Failure; 3] {
    [
        Failure::Unauthorized { status: Some(401) },
        Failure::QuotaExhausted,
        Failure::Misconfigured("x"),
    ]
}

#[test]
fn a_failure_for_an_operator_needs_a_trial_to_be_believed() {
    for failure in for_operators() {
        let scene = Scene::new();
        scene.fails(ANN, new_key(), &error(failure));
        assert_eq!((scene.wait(ANN), scene.wait(BOB)), (None, None));
        scene.trial(Ok(()));
        assert_eq!((scene.wait(BOB), scene.operator_failure()), (None, None));
    }
}

#[test]
fn a_glitch_that_trials_see_too_makes_requests_wait_and_none_fail() {
    for failure in for_operators() {
        let mut scene = Scene::new();
        scene.fails(ANN, new_key(), &error(failure.clone()));
        for _ in 0..CONFIRMED_AFTER.as_secs() / CHECK_INTERVAL.as_secs() {
            scene.trial(Err(error(failure.clone())));
            assert_eq!(scene.wait(BOB), Some(CHECK_INTERVAL), "{failure}");
            assert_eq!(scene.operator_failure(), None);
            scene.after(CHECK_INTERVAL.as_secs());
            assert_eq!(scene.wait(BOB), Some(TRIAL_WAIT));
        }
        scene.trial(Ok(()));
        assert_eq!((scene.wait(BOB), scene.breaker.fault(scene.now)), (None, None));
    }
}

#[test]
fn a_failure_for_an_operator_that_stays_is_confirmed_and_ends_with_the_first_trial_that_is_answered() {
    for failure in for_operators() {
        let mut scene = Scene::new();
        let failed = error(failure.clone());
        scene.fails(ANN, new_key(), &failed);
        scene.trial(Err(failed.clone()));
        scene.after(CONFIRMED_AFTER.as_secs());
        scene.trial(Err(failed.clone()));
        assert_eq!(scene.operator_failure(), Some(failure));
        assert_eq!(scene.breaker.fault(scene.now), Some(failed.code()));
        let next = scene.breaker.next_own_trial(scene.now);
        assert_eq!(next, Some(scene.now + OPERATOR_BACKOFF), "also if nobody asks");
        scene.after(RECHECK_INTERVAL.as_secs());
        assert_eq!(
            scene.operator_failure(),
            None,
            "the trial that is due is worth waiting for"
        );
        assert_eq!(scene.wait(BOB), Some(TRIAL_WAIT));
        assert_eq!(scene.breaker.fault(scene.now), Some(failed.code()));
        scene.trial(Ok(()));
        assert_eq!((scene.wait(BOB), scene.operator_failure()), (None, None));
        assert_eq!(scene.breaker.fault(scene.now), None);
        assert_eq!(scene.breaker.next_own_trial(scene.now), None);
    }
}

/// It may be paid for once more only, which would be for nothing as long as the glitch lasts.
#[test]
fn whoever_paid_for_a_failure_for_an_operator_waits_for_a_trial_and_nobody_else_does() {
    for failure in for_operators() {
        let mut scene = Scene::new();
        scene.fails(ANN, new_key(), &error(failure.clone()));
        scene.trial(Ok(()));
        scene.after(2);
        scene.fails_paid(ANN, &error(failure));
        assert!(!scene.is_trial_due());
        let wait = TRIAL_INTERVAL - Duration::from_secs(2);
        assert_eq!((scene.wait(ANN), scene.wait(BOB)), (Some(wait), None));
        assert!(scene.breaker.holds_anybody(scene.now));
        scene.completes(BOB);
        scene.after(wait.as_secs());
        assert_eq!(scene.wait(ANN), Some(TRIAL_WAIT), "until the trial has ended");
        scene.trial(Ok(()));
        assert_eq!(scene.wait(ANN), None);
        assert!(!scene.breaker.holds_anybody(scene.now));
    }
}

#[test]
fn a_limited_rate_says_nothing_about_a_key_that_was_rejected() {
    let mut scene = Scene::new();
    let failed = error(Failure::Unauthorized { status: Some(401) });
    scene.fails(ANN, new_key(), &failed);
    scene.trial(Err(failed.clone()));
    scene.after(CONFIRMED_AFTER.as_secs());
    scene.trial(Err(failed.clone()));
    scene.after(RECHECK_INTERVAL.as_secs());
    scene.trial(Err(limited(None)));
    assert_eq!(scene.breaker.fault(scene.now), Some(failed.code()));
    assert_eq!(scene.operator_failure(), Some(failed.failure().clone()));
    scene.after(RECHECK_INTERVAL.as_secs());
    scene.trial(Ok(()));
    assert_eq!(scene.breaker.fault(scene.now), None);
}

#[test]
fn a_trial_of_our_own_follows_only_if_nobody_else_has_sent_one() {
    let mut scene = Scene::new();
    let failed = error(Failure::QuotaExhausted);
    scene.fails(ANN, new_key(), &failed);
    scene.trial(Err(failed.clone()));
    scene.after(CHECK_INTERVAL.as_secs());
    assert!(scene.breaker.start_trial_after(1, scene.now).is_some());
    scene.trial(Err(failed));
    scene.after(CHECK_INTERVAL.as_secs());
    assert!(scene.breaker.start_trial_after(1, scene.now).is_none());
}

#[test]
fn a_good_answer_elsewhere_brings_one_trial_of_a_confirmed_fault_forward() {
    let mut scene = Scene::new();
    let failed = error(Failure::QuotaExhausted);
    assert_eq!(scene.breaker.plan_recheck(), None, "nothing is wrong");
    scene.fails(ANN, new_key(), &failed);
    scene.trial(Err(failed.clone()));
    assert_eq!(scene.breaker.plan_recheck(), None, "it is checked often as it is");
    scene.after(CONFIRMED_AFTER.as_secs());
    scene.trial(Err(failed.clone()));
    assert!(scene.breaker.is_confirmed());
    let due = scene.now + RECHECK_INTERVAL;
    assert_eq!(scene.breaker.plan_recheck(), Some(due));
    assert_eq!(scene.breaker.plan_recheck(), None, "it is planned");
    scene.now = due;
    scene.trial(Err(failed));
    assert_eq!(scene.breaker.plan_recheck(), Some(scene.now + RECHECK_INTERVAL));
    scene.after(RECHECK_INTERVAL.as_secs());
    let answers = scene.breaker.answers();
    scene.trial(Ok(()));
    assert!(!scene.breaker.is_confirmed());
    assert_eq!(scene.breaker.answers(), answers + 1, "others may hear of it");
}

#[test]
fn nobody_is_held_any_more_once_the_time_is_over() {
    let mut scene = Scene::new();
    scene.fails(ANN, new_key(), &limited(Some(7)));
    assert!(scene.breaker.holds_anybody(scene.now));
    scene.after(7);
    assert!(!scene.breaker.holds_anybody(scene.now));
}

#[test]
fn an_empty_answer_holds_nobody_and_a_trial_without_text_is_answered() {
    let mut scene = Scene::opened();
    scene.after(5);
    scene.trial(Err(error(Failure::EmptyAnswer)));
    for _ in 0..10 {
        scene.fails(ANN, new_key(), &error(Failure::EmptyAnswer));
    }
    assert_eq!((scene.wait(ANN), scene.is_trial_due()), (None, false));
}

#[test]
fn a_stated_wait_is_kept_up_to_a_minute_by_the_person_and_if_a_trial_confirms_it_by_all() {
    for (asked, kept) in [(7, 7), (3600, 60)] {
        let scene = Scene::new();
        scene.fails(ANN, new_key(), &limited(Some(asked)));
        let kept = Some(Duration::from_secs(kept));
        assert_eq!((scene.wait(ANN), scene.wait(BOB)), (kept, None));
        scene.fails(BOB, new_key(), &limited(Some(asked)));
        scene.trial(Err(limited(Some(asked))));
        assert_eq!(scene.wait(EVE), kept);
    }
}

#[test]
fn without_a_stated_wait_a_limited_rate_holds_nobody() {
    let scene = Scene::new();
    for person in [ANN, BOB, EVE].into_iter().cycle().take(30) {
        scene.fails(person, new_key(), &limited(None));
    }
    assert!(
        [ANN, BOB, EVE]
            .map(|person| scene.wait(person))
            .iter()
            .all(Option::is_none)
    );
    assert!(!scene.is_trial_due());
}

#[test]
fn a_refused_trial_shows_that_the_provider_works() {
    let mut scene = Scene::opened();
    scene.after(5);
    scene.trial(Err(error(Failure::Refused { status: Some(400) })));
    assert_eq!(scene.wait(EVE), None);
}

#[test]
fn a_request_on_our_own_behalf_waits_for_the_provider_and_counts_for_nobody() {
    let scene = Scene::new();
    for _ in 0..20 {
        scene.fails(None, new_key(), &down());
    }
    assert!(!scene.is_trial_due());
    assert_eq!(Scene::opened().wait(None), Some(INITIAL_BACKOFF));
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
    let logs = LogLevels::default();
    tracing::subscriber::with_default(logs.clone(), || {
        let mut scene = Scene::opened();
        for _ in 0..3 {
            scene.after(60);
            scene.trial(Err(error(Failure::QuotaExhausted)));
        }
        scene.after(60);
        scene.trial(Ok(()));
        scene.completes(ANN);
    });
    let levels = logs.0.lock().unwrap();
    assert_eq!(
        *levels,
        [tracing::Level::WARN, tracing::Level::ERROR, tracing::Level::INFO]
    );
}
