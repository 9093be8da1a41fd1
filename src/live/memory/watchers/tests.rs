use super::*;

const USER: UserId = UserId(1);
const ANSWER: MessageId = MessageId(7);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test]
async fn who_has_to_show_signs_of_life_counts_for_25_seconds_after_the_last_one() {
    let (table, begun) = (WatcherTable::default(), Instant::now());
    let id = table.add(USER, Liveness::Shown, begun);
    table.note_sign(USER, id, begun + seconds(20));
    assert!(table.is_watched(USER, begun + seconds(44)));
    assert!(!table.is_watched(USER, begun + seconds(45)));
    table.note_sign(USER, id, begun + seconds(50));
    assert!(table.is_watched(USER, begun + seconds(74)), "it is back");
    table.add(USER, Liveness::Assumed, begun);
    assert!(table.is_watched(USER, begun + seconds(3600)));
}

#[tokio::test]
async fn a_hidden_watcher_does_not_count_until_it_is_shown() {
    let (table, now) = (WatcherTable::default(), Instant::now());
    let id = table.add(USER, Liveness::Assumed, now);
    table.set_visible(USER, id, false);
    assert!(!table.is_watched(USER, now) && !table.look_at_end(USER, ANSWER, now));
    table.set_visible(USER, id, true);
    assert!(table.is_watched(USER, now));
    assert!(!table.is_watched(UserId(2), now), "nobody else's");
    table.remove(USER, id, false, now);
    assert!(!table.is_watched(USER, now) && table.users().is_empty());
}

#[tokio::test]
async fn only_who_watched_at_the_end_and_left_in_order_after_it_counts() {
    let (table, begun) = (WatcherTable::default(), Instant::now());
    let at = |n| begun + seconds(n);
    let before = table.add(USER, Liveness::Assumed, at(0));
    let [lost, hidden, closed] = [(); 3].map(|()| table.add(USER, Liveness::Assumed, at(0)));
    table.remove(USER, before, true, at(1));
    assert!(table.look_at_end(USER, ANSWER, at(2)));
    let after = table.add(USER, Liveness::Assumed, at(3));
    table.remove(USER, after, true, at(4));
    table.remove(USER, lost, false, at(5));
    table.set_visible(USER, hidden, false);
    table.remove(USER, hidden, false, at(6));
    let look = |n| table.last_look(USER, ANSWER, at(n));
    assert!(look(7).is_watched && !look(7).closed_in_order);
    table.remove(USER, closed, true, at(8));
    assert!(!look(9).is_watched && look(9).closed_in_order);
    assert_eq!(table.last_look(USER, MessageId(8), at(9)), LastLook::default());
    assert_eq!(look(400), LastLook::default(), "it is forgotten");
}

#[tokio::test]
async fn who_was_hidden_after_the_end_may_leave_in_order_too() {
    let (table, now) = (WatcherTable::default(), Instant::now());
    let id = table.add(USER, Liveness::Assumed, now);
    table.look_at_end(USER, ANSWER, now);
    table.set_visible(USER, id, false);
    table.remove(USER, id, true, now + seconds(1));
    let look = table.last_look(USER, ANSWER, now + seconds(2));
    assert!(!look.is_watched && look.closed_in_order);
}

/// What is reported of the only user with changes.
fn counting(report: &WatcherReport) -> Vec<(u64, Duration)> {
    report
        .watchers
        .iter()
        .map(|watching| (watching.id, watching.left))
        .collect()
}

fn changes(table: &WatcherTable, now: Instant) -> Option<WatcherReport> {
    let mut reports = table.take_changes(10, now);
    assert!(reports.len() <= 1);
    reports.pop()
}

#[tokio::test]
async fn changes_are_reported_once_and_a_repetition_reports_whoever_counts() {
    let (table, now) = (WatcherTable::reported(), Instant::now());
    let first = table.add(USER, Liveness::Assumed, now);
    let second = table.add(USER, Liveness::Shown, now);
    table.changed().await;
    let report = changes(&table, now + seconds(1)).unwrap();
    assert_eq!(counting(&report), [(first, PRESENCE_TTL), (second, seconds(24))]);
    assert!(report.departures.is_empty() && changes(&table, now).is_none());
    table.set_visible(USER, first, false);
    let report = changes(&table, now).unwrap();
    assert_eq!(report.departures[0].id, first);
    assert_eq!(counting(&report), [(second, SIGN_OF_LIFE_TTL)]);
    let repeated = table.report_all(&table.users(), now + seconds(30)).pop().unwrap();
    assert!(repeated.is_empty(), "one is hidden, and one is silent");
    table.remove(USER, first, true, now + seconds(31));
    table.remove(USER, second, false, now + seconds(31));
    let report = changes(&table, now).unwrap();
    let departed = report.departures.iter().map(|left| (left.id, left.in_order_at));
    let left_at = Some(now + seconds(31));
    assert_eq!(departed.collect::<Vec<_>>(), [(first, left_at), (second, None)]);
    assert!(report.watchers.is_empty());
}

#[tokio::test]
async fn a_sign_of_life_is_reported_when_the_last_one_is_old() {
    let (table, now) = (WatcherTable::reported(), Instant::now());
    let id = table.add(USER, Liveness::Shown, now);
    changes(&table, now).unwrap();
    table.note_sign(USER, id, now + seconds(9));
    assert!(
        changes(&table, now + seconds(9)).is_none(),
        "the next round says it in time"
    );
    table.note_sign(USER, id, now + seconds(10));
    let report = changes(&table, now + seconds(10)).unwrap();
    assert_eq!(counting(&report), [(id, SIGN_OF_LIFE_TTL)]);
}

#[tokio::test]
async fn who_was_never_reported_leaves_without_a_word_and_few_departures_wait() {
    let (table, now) = (WatcherTable::reported(), Instant::now());
    let id = table.add(USER, Liveness::Assumed, now);
    table.remove(USER, id, true, now);
    assert!(changes(&table, now).unwrap().is_empty());
    let ids: Vec<u64> = (0..=MAX_DEPARTURES)
        .map(|_| table.add(USER, Liveness::Assumed, now))
        .collect();
    table.report_all(&[USER], now);
    for id in ids {
        table.remove(USER, id, true, now);
    }
    assert_eq!(changes(&table, now).unwrap().departures.len(), MAX_DEPARTURES);
    let id = table.add(USER, Liveness::Assumed, now);
    table.report_all(&[USER], now);
    table.remove(USER, id, false, now);
    assert_eq!(changes(&table, now).unwrap().departures.len(), 1, "there is room again");
}
