//! When the text of a running answer is saved. `live` holds the text that readers see; Postgres' copy is for the day when `live` and
//! the worker die at once, and for readers while `live` is away.

use std::time::Duration;

use tokio::time::Instant;

/// How long after the beginning the text is saved first, how long after a save that failed, and how often while `live` is away.
const FIRST: Duration = Duration::from_secs(1);
/// How much longer each interval is than the one before.
const GROWTH: u32 = 3;
/// The longest interval.
const LONGEST: Duration = Duration::from_secs(10);
/// The UTF-8 bytes that do not wait for an interval to end.
const MOST_UNSAVED: usize = 16 * 1024;

/// When the text of a running answer is saved next.
#[derive(Debug, Clone, Copy)]
pub struct SaveSchedule {
    saved_at: Instant,
    interval: Duration,
    live_was_whole: bool,
    failed: bool,
}

impl SaveSchedule {
    /// A schedule for an attempt that begins `now`.
    pub const fn begin(now: Instant) -> Self {
        Self {
            saved_at: now,
            interval: FIRST,
            live_was_whole: true,
            failed: false,
        }
    }

    /// When the text is to be saved next, of which `unsaved` bytes are not. What `live` has lost is saved at once.
    pub fn due(&self, unsaved: usize, live_is_whole: bool) -> Instant {
        let wait = match (self.failed, live_is_whole) {
            (false, true) if unsaved >= MOST_UNSAVED => Duration::ZERO,
            (false, true) => self.interval,
            (false, false) if self.live_was_whole => Duration::ZERO,
            _ => FIRST,
        };
        self.saved_at + wait
    }

    /// The time to save has come, and it is saved `now` what there was, if there was something.
    pub fn saved(&mut self, now: Instant, something: bool, live_is_whole: bool) {
        self.saved_at = now;
        self.live_was_whole = live_is_whole;
        self.failed = false;
        if something {
            self.interval = (self.interval * GROWTH).min(LONGEST);
        }
    }

    /// A save failed.
    pub const fn failed(&mut self, now: Instant) {
        self.saved_at = now;
        self.failed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds from the last save to the next.
    fn wait(schedule: &SaveSchedule, unsaved: usize, live_is_whole: bool) -> u64 {
        (schedule.due(unsaved, live_is_whole) - schedule.saved_at).as_secs()
    }

    #[test]
    fn the_intervals_grow_as_long_as_there_is_something_to_save() {
        let now = Instant::now();
        let mut schedule = SaveSchedule::begin(now);
        let waits = [false, true, true, true, true].map(|something| {
            let waited = wait(&schedule, 1, true);
            schedule.saved(now, something, true);
            waited
        });
        assert_eq!(waits, [1, 1, 3, 9, 10]);
    }

    #[test]
    fn much_text_does_not_wait() {
        let schedule = SaveSchedule::begin(Instant::now());
        assert_eq!([16_383, 16_384].map(|unsaved| wait(&schedule, unsaved, true)), [1, 0]);
    }

    #[test]
    fn what_live_has_lost_is_saved_at_once_and_then_every_second() {
        let now = Instant::now();
        let mut schedule = SaveSchedule::begin(now);
        schedule.saved(now, true, true);
        assert_eq!([true, false].map(|is_whole| wait(&schedule, 1, is_whole)), [3, 0]);
        schedule.saved(now, true, false);
        assert_eq!([1, 99_999].map(|unsaved| wait(&schedule, unsaved, false)), [1, 1]);
    }

    #[test]
    fn a_save_that_failed_is_made_up_for_in_a_second() {
        let now = Instant::now();
        let mut schedule = SaveSchedule::begin(now);
        schedule.saved(now, true, true);
        schedule.failed(now);
        assert_eq!([1, 99_999].map(|unsaved| wait(&schedule, unsaved, true)), [1, 1]);
        schedule.saved(now, true, true);
        assert_eq!(wait(&schedule, 1, true), 9);
    }
}
