//! Answers beside the floor: Cura and the least that answers through a queue (`cura-floor`), in one run and at the same rhythm.
//!
//! Everybody asks as a user of their own, and Postgres syncs what is committed. What Cura costs above the floor has to have a reason.

mod load;
mod question;
mod reader;
mod report;
mod side;
mod tokens;

use std::time::Duration;

use sqlx::Executor;

use crate::processor_time::Used;

use load::Seen;
use question::Rhythm;
use side::Side;

/// Who asks, how often, and how the AI service answers.
pub struct Profile {
    /// The part's name.
    pub name: &'static str,
    what: &'static str,
    people: usize,
    /// How many answers each asks for, one after the other.
    answers: usize,
    rhythm: Rhythm,
}

const fn rhythm(first: u64, every: u64) -> Rhythm {
    Rhythm {
        tokens: 100,
        first: Duration::from_millis(first),
        every: Duration::from_millis(every),
    }
}

/// The profiles, by what they show: how long the way is, what work costs, where it ends, and what readers cost.
pub const PROFILES: [Profile; 4] = [
    Profile {
        name: "floor-one",
        what: "one person, 20 answers, 5 ms a token",
        people: 1,
        answers: 20,
        rhythm: rhythm(50, 5),
    },
    Profile {
        name: "floor-200",
        what: "200 people, 3 answers each, 5 ms a token",
        people: 200,
        answers: 3,
        rhythm: rhythm(50, 5),
    },
    Profile {
        name: "floor-1000",
        what: "1,000 people, an answer each, 5 ms a token: more than the machine can carry",
        people: 1000,
        answers: 1,
        rhythm: rhythm(50, 5),
    },
    Profile {
        name: "floor-readers",
        what: "1,000 people who read, 2 answers each, 50 ms a token",
        people: 1000,
        answers: 2,
        rhythm: rhythm(300, 50),
    },
];

/// Statements are planned for what tables hold, so they hold something first: this many people, and answers of each.
const SEED: (usize, usize) = (100, 10);
/// Before each measurement: plans are made again after `VACUUM ANALYZE`, and connections are opened.
const WARM_UP: (usize, usize) = (40, 2);
/// Answers that only fill tables.
const QUICK: Rhythm = Rhythm {
    tokens: 20,
    first: Duration::ZERO,
    every: Duration::ZERO,
};
/// What is still done after the last stream counts, too.
const SETTLING: Duration = Duration::from_millis(500);

/// What one side showed in one profile.
pub struct Measured {
    seen: Seen,
    used: Used,
}

/// Measures the floor and Cura in these profiles.
pub async fn compare(profiles: &[&Profile]) {
    let people = profiles.iter().map(|profile| profile.people).max().unwrap();
    let provider = question::provider().await;
    let people = people.max(SEED.0);
    let floor = Side::floor(&provider, people).await;
    let cura = Side::cura(&provider, people).await;
    for side in [&floor, &cura] {
        ask(side, SEED, QUICK).await;
    }
    for profile in profiles {
        let (floor, cura) = (measure(profile, &floor).await, measure(profile, &cura).await);
        report::print(profile, &floor, &cura);
    }
}

async fn measure(profile: &Profile, side: &Side) -> Measured {
    side.pool.execute("VACUUM ANALYZE").await.unwrap();
    ask(side, WARM_UP, QUICK).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = Used::by(&side.processes);
    let seen = ask(side, (profile.people, profile.answers), profile.rhythm).await;
    tokio::time::sleep(SETTLING).await;
    let used = Used::by(&side.processes).since(&before);
    Measured { seen, used }
}

async fn ask(side: &Side, (people, answers): (usize, usize), rhythm: Rhythm) -> Seen {
    load::ask(&side.address, &side.people[..people], answers, rhythm).await
}
