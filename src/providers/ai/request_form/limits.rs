//! How long prompts and answers may be, as far as a backend has shown it.

use std::collections::HashMap;
use std::time::Duration;

use cura_domain::UserId;
use tokio::time::Instant;

/// Prompts of so many tokens are sent whole, whatever was learned.
pub(super) const MIN_PROMPT_TOKENS: usize = 1000;
/// Answers may always be so long, in the provider's tokens.
pub(super) const MIN_OUTPUT_TOKENS: u32 = 256;
/// After this time a limit counts double: one prompt finds out whether it still holds.
const LIMIT_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How many persons have limits of their own.
const MAX_PERSONS: usize = 256;

/// A length that worked, or is to be tried.
#[derive(Debug, Clone, Copy)]
struct Limit {
    tokens: usize,
    since: Instant,
}

impl Limit {
    /// The limit at `now`.
    fn at(self, now: Instant) -> usize {
        let lifetimes = now.saturating_duration_since(self.since).as_secs() / LIMIT_LIFETIME.as_secs();
        let doublings = u32::try_from(lifetimes).unwrap_or(u32::MAX);
        self.tokens
            .saturating_mul(1_usize.checked_shl(doublings).unwrap_or(usize::MAX))
    }
}

/// A prompt that was refused, of so many tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) tokens: usize,
    /// Whether status, type or code say that it was too long.
    pub(super) for_everybody: bool,
}

/// The limits of one backend.
///
/// A limit is set when a longer prompt was refused and this one accepted: for the person, because it may have been something
/// else than the length. For everybody if status, type or code say that it was, or a second person met it, too, unless a prompt
/// as long as the refused one was accepted of late. It grows when a longer prompt is accepted, and doubles after
/// [`LIMIT_LIFETIME`].
#[derive(Debug, Default)]
pub(super) struct Limits {
    everybody: Option<Limit>,
    persons: HashMap<UserId, Limit>,
    longest_accepted: Option<Limit>,
    output: Option<Limit>,
}

impl Limits {
    /// The longest prompt to send for `person`; `None` when no limit is known.
    pub(super) fn prompt(&self, person: Option<UserId>, now: Instant) -> Option<usize> {
        let own = person.and_then(|person| self.persons.get(&person));
        let limits = self.everybody.iter().chain(own).map(|limit| limit.at(now));
        limits.min().map(|limit| limit.max(MIN_PROMPT_TOKENS))
    }

    /// The longest answer to ask for; `None` when no limit is known.
    pub(super) fn output(&self, now: Instant) -> Option<u32> {
        let limit = self.output?.at(now);
        Some(u32::try_from(limit).unwrap_or(u32::MAX).max(MIN_OUTPUT_TOKENS))
    }

    /// A prompt of `tokens` was accepted, after one of `refused` was refused for its length, if any.
    pub(super) fn accepted(&mut self, person: Option<UserId>, tokens: usize, refused: Option<Refused>, now: Instant) {
        let limit = Limit { tokens, since: now };
        match refused {
            Some(refused) if !self.holds_for_everybody(person, refused, now) => self.limit_person(person, limit),
            Some(_) => {
                self.everybody = Some(limit);
                self.forget_person(person);
            }
            None => {
                if self.everybody.is_some_and(|everybody| tokens > everybody.tokens) {
                    self.everybody = Some(limit);
                }
                if person.is_some_and(|person| self.persons.get(&person).is_some_and(|own| tokens > own.tokens)) {
                    self.forget_person(person);
                }
            }
        }
        let is_old = |longest: Limit| now - longest.since >= LIMIT_LIFETIME;
        if self
            .longest_accepted
            .is_none_or(|longest| tokens >= longest.tokens || is_old(longest))
        {
            self.longest_accepted = Some(limit);
        }
    }

    /// Whether everybody's prompts of the length of `refused`, which `person` sent, are refused for it.
    fn holds_for_everybody(&self, person: Option<UserId>, refused: Refused, now: Instant) -> bool {
        let is_recent = |limit: Limit| now.saturating_duration_since(limit.since) < LIMIT_LIFETIME;
        let is_contradicted = self
            .longest_accepted
            .is_some_and(|longest| is_recent(longest) && longest.tokens >= refused.tokens);
        let mut others = self.persons.iter().filter(|(other, _)| Some(**other) != person);
        let mut met_by_another = || person.is_some() && others.any(|(_, limit)| is_recent(*limit));
        !is_contradicted && (refused.for_everybody || met_by_another())
    }

    /// A prompt of `tokens` was too long, and the provider had accepted the request, so no shorter one followed: the person's
    /// next one is half as long.
    pub(super) fn too_long(&mut self, person: Option<UserId>, tokens: usize, now: Instant) {
        let limit = Limit {
            tokens: tokens / 2,
            since: now,
        };
        self.limit_person(person, limit);
    }

    /// An answer of at most so many tokens was accepted, after a longer one was refused.
    pub(super) fn accepted_output(&mut self, tokens: u32, now: Instant) {
        self.output = Some(Limit {
            tokens: usize::try_from(tokens).unwrap_or(usize::MAX),
            since: now,
        });
    }

    fn limit_person(&mut self, person: Option<UserId>, limit: Limit) {
        let Some(person) = person else {
            return;
        };
        if self.persons.len() >= MAX_PERSONS && !self.persons.contains_key(&person) {
            let oldest = self
                .persons
                .iter()
                .min_by_key(|(_, limit)| limit.since)
                .map(|(person, _)| *person);
            self.forget_person(oldest);
        }
        self.persons.insert(person, limit);
    }

    fn forget_person(&mut self, person: Option<UserId>) {
        if let Some(person) = person {
            self.persons.remove(&person);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Option<UserId> = Some(UserId(1));
    const BEN: Option<UserId> = Some(UserId(2));

    fn too_long(tokens: usize) -> Option<Refused> {
        let for_everybody = true;
        Some(Refused { tokens, for_everybody })
    }

    fn without_reason(tokens: usize) -> Option<Refused> {
        let for_everybody = false;
        Some(Refused { tokens, for_everybody })
    }

    #[test]
    fn a_refusal_without_a_reason_limits_one_person_until_a_second_one_meets_it() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        limits.accepted(ANN, 4000, without_reason(8000), start);
        limits.accepted(ANN, 2000, without_reason(4000), start);
        assert_eq!(limits.prompt(ANN, start), Some(2000));
        for person in [BEN, None] {
            assert_eq!(limits.prompt(person, start), None);
        }
        limits.accepted(BEN, 3000, without_reason(6000), start + LIMIT_LIFETIME);
        assert_eq!(limits.prompt(None, start + LIMIT_LIFETIME), None, "that was long ago");
        limits.accepted(ANN, 3500, without_reason(7000), start + LIMIT_LIFETIME);
        assert_eq!(limits.prompt(None, start + LIMIT_LIFETIME), Some(3500));
    }

    #[test]
    fn what_worked_after_a_refusal_is_everybodys_limit_and_grows_again() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        limits.accepted(ANN, 4000, too_long(8000), start);
        for person in [ANN, BEN, None] {
            assert_eq!(limits.prompt(person, start), Some(4000));
        }
        limits.accepted(BEN, 4500, None, start);
        assert_eq!(limits.prompt(ANN, start), Some(4500), "a longer one was accepted");
        limits.accepted(BEN, 300, None, start);
        assert_eq!(limits.prompt(ANN, start), Some(4500), "a short one says nothing");
        assert_eq!(limits.prompt(ANN, start + LIMIT_LIFETIME), Some(9000));
        assert_eq!(limits.prompt(ANN, start + LIMIT_LIFETIME * 200), Some(usize::MAX));
    }

    #[test]
    fn a_refusal_of_a_length_that_others_are_accepted_with_limits_one_person_only() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        limits.accepted(BEN, 9000, None, start);
        limits.accepted(ANN, 4000, too_long(8000), start);
        assert_eq!(limits.prompt(ANN, start), Some(4000));
        assert_eq!(limits.prompt(BEN, start), None);
        let later = start + LIMIT_LIFETIME;
        limits.accepted(ANN, 4000, too_long(8000), later);
        assert_eq!(
            limits.prompt(BEN, later),
            Some(4000),
            "the server may have changed meanwhile"
        );
    }

    #[test]
    fn no_prompt_is_limited_below_the_floor() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        limits.accepted(ANN, 10, too_long(20), start);
        assert_eq!(limits.prompt(BEN, start), Some(MIN_PROMPT_TOKENS));
        limits.accepted_output(1, start);
        assert_eq!(limits.output(start), Some(MIN_OUTPUT_TOKENS));
    }

    #[test]
    fn a_person_whose_accepted_request_was_too_long_sends_half_of_it_next() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        limits.too_long(ANN, 16_000, start);
        assert_eq!(limits.prompt(ANN, start), Some(8000));
        limits.too_long(ANN, 8000, start);
        assert_eq!(limits.prompt(ANN, start), Some(4000));
        assert_eq!(limits.prompt(BEN, start), None);
        limits.too_long(None, 8000, start);
    }

    #[test]
    fn the_persons_that_are_remembered_are_bounded() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        for person in 0..1000 {
            let second = Duration::from_secs(u64::try_from(person).unwrap());
            limits.too_long(Some(UserId(person)), 8000, start + second);
        }
        assert_eq!(limits.persons.len(), MAX_PERSONS);
        assert!(limits.persons.contains_key(&UserId(999)));
    }
}
