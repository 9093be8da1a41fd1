//! Postgres, its clock, its connections and migrations, and the workers that are known there.

use std::time::Duration;

use chrono::TimeDelta;
use cura_postgres::Url;
use cura_queue::QueueHealth;
use cura_store::server_facts::{self, ServerFacts};
use cura_store::{Database, StoreError};

use super::{CHECK_TIMEOUT, Check};
use crate::settings::Settings;
use crate::{migrations, wiring};

/// The oldest Postgres that has what we use.
const OLDEST_VERSION: i32 = 140_000;
/// How far clocks may be apart: tokens, limits and links are made by one and judged by the other.
const CLOCKS_APART: TimeDelta = TimeDelta::seconds(5);
/// From what share of the connections on that are taken there are too few, in per cent.
const FULL: i64 = 80;
/// Connections of a server beside its pool: it listens for sessions and for what operators change.
const SERVERS_OWN: i64 = 2;
/// Connections of a worker beside its pool.
const WORKERS_OWN: i64 = 6;
/// How long a job may be ready before that is a sign of too few workers.
const SLOW: Duration = Duration::from_secs(60);

/// Everything that Postgres is asked for; all of it is skipped if it cannot be reached.
pub(super) async fn check(settings: &Settings) -> Vec<Check> {
    let skipped = |why: &str| {
        let names = ["clock", "connections", "migrations", "workers"];
        names.map(|name| Check::skipped(name, why))
    };
    let reached = async {
        let database = wiring::database(settings, "cura-admin").map_err(|error| error.to_string())?;
        let checked = database.check().await;
        checked.map_err(|problem| {
            let setting = match problem.url {
                Url::Main => "DATABASE_URL",
                Url::Direct => "DATABASE_DIRECT_URL",
            };
            format!("{setting} {}", problem.refusal)
        })?;
        Ok::<_, String>(database)
    };
    let database = match tokio::time::timeout(CHECK_TIMEOUT, reached).await {
        Ok(Ok(database)) => database,
        Ok(Err(problem)) => {
            let mut checks = vec![Check::failed_with("postgres", &problem)];
            checks.extend(skipped("Postgres cannot be used"));
            return checks;
        }
        Err(_) => {
            let mut checks = vec![Check::fail("postgres", "there was no answer in time")];
            checks.extend(skipped("Postgres does not answer"));
            return checks;
        }
    };
    let asked = tokio::time::timeout(CHECK_TIMEOUT, ask(settings, &database)).await;
    match asked {
        Ok(Ok(checks)) => checks,
        Ok(Err(error)) => {
            let mut checks = vec![Check::fail("postgres", error.to_string()).cure("see its log")];
            checks.extend(skipped("Postgres does not answer what it is asked"));
            checks
        }
        Err(_) => {
            let mut checks = vec![Check::fail("postgres", "it answers too slowly").cure("look at what it does")];
            checks.extend(skipped("Postgres answers too slowly"));
            checks
        }
    }
}

async fn ask(settings: &Settings, database: &Database) -> Result<Vec<Check>, StoreError> {
    let clock = wiring::clock();
    let before = clock.now();
    let facts = database
        .connection(async |connection| server_facts::read(connection).await)
        .await?;
    let ours = before + (clock.now() - before) / 2;
    let pending = migrations::pending(database.pool()).await;
    let mut checks = vec![version(&facts), clocks(facts.clock - ours)];
    if matches!(migrations::is_being_restored(database.pool()).await, Ok(true)) {
        checks.push(connections(settings, &facts, 0));
        checks.push(Check::fail("migrations", "a restore has not ended").cure("run `cura-admin restore` again"));
        checks.push(Check::skipped("workers", "a restore has not ended"));
        return Ok(checks);
    }
    match pending {
        Ok(0) => {
            let health =
                database.connection(async |connection| Ok::<_, StoreError>(cura_queue::health(connection).await?));
            let health = health.await?;
            checks.push(connections(settings, &facts, health.workers));
            checks.push(Check::ok("migrations", "all are applied"));
            checks.push(workers(&health));
        }
        Ok(pending) => {
            checks.push(connections(settings, &facts, 0));
            checks
                .push(Check::fail("migrations", format!("{pending} are pending")).cure("run `cura-admin migrate up`"));
            checks.push(Check::skipped("workers", "migrations are pending"));
        }
        Err(_) => {
            checks.push(connections(settings, &facts, 0));
            let cure = "grant this user to read all tables";
            checks.push(Check::fail("migrations", "which there are cannot be read").cure(cure));
            checks.push(Check::skipped("workers", "the schema is not known"));
        }
    }
    Ok(checks)
}

fn version(facts: &ServerFacts) -> Check {
    let told = format!("version {}, reached, and it accepts writes", facts.version);
    if facts.version_number < OLDEST_VERSION {
        return Check::fail("postgres", format!("version {} is too old", facts.version)).cure("use 14 or newer");
    }
    Check::ok("postgres", told)
}

fn clocks(apart: TimeDelta) -> Check {
    let told = format!(
        "Postgres' clock and ours are {} ms apart",
        apart.num_milliseconds().abs()
    );
    if apart.abs() > CLOCKS_APART {
        return Check::fail("clock", told).cure("let both machines follow a time server");
    }
    Check::ok("clock", told)
}

/// Whether a server and the workers that are there can have all the connections of their pools.
fn connections(settings: &Settings, facts: &ServerFacts, workers: i64) -> Check {
    let ServerFacts {
        connections,
        max_connections,
        ..
    } = *facts;
    let (pool, limit) = (i64::from(settings.database.pool_size), i64::from(max_connections));
    let page = settings
        .server
        .admin
        .as_ref()
        .map_or(0, |_| i64::from(wiring::BOARD_POOL_SIZE));
    let needed = (pool + SERVERS_OWN + page) + workers.max(1) * (pool + WORKERS_OWN);
    let told = format!(
        "{connections} of {limit} are taken; one server and {} workers take {needed} at most",
        workers.max(1)
    );
    let cure = "raise max_connections of Postgres, or lower DATABASE_POOL_SIZE";
    if needed > limit || connections * 100 > limit * FULL {
        return Check::warn("connections", told).cure(cure);
    }
    Check::ok("connections", told)
}

fn workers(health: &QueueHealth) -> Check {
    let told = format!(
        "{} alive; the oldest ready job is ready for {} s",
        health.workers,
        health.oldest_ready.as_secs()
    );
    if health.workers == 0 {
        return Check::fail("workers", "none is alive: no question is answered").cure("start cura-worker");
    }
    if !health.unserved.is_empty() {
        return Check::fail("workers", format!("{told}; none serves {}", health.unserved.join(", ")))
            .cure("start cura-worker with these in --queues, or without --queues");
    }
    if !health.paused.is_empty() {
        let paused = health.paused.join(", ");
        return Check::warn("workers", format!("{told}; these queues are paused: {paused}"))
            .cure("`cura-admin jobs stats` says why; `cura-admin jobs resume QUEUE` lets them go on");
    }
    if let Some(fault) = &health.fault {
        return Check::fail("workers", format!("{told}; one cannot work: {fault}")).cure("see docs/OPERATIONS.md");
    }
    if !health.failing_services.is_empty() {
        let services = health.failing_services.join(", ");
        return Check::warn("workers", format!("{told}; these fail for one: {services}"))
            .cure("see docs/OPERATIONS.md");
    }
    if health.oldest_ready > SLOW {
        return Check::warn("workers", told).cure("start more workers, or see `cura-admin jobs stats`");
    }
    Check::ok("workers", told)
}
