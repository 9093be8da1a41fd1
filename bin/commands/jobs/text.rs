//! What people read of jobs.

use cura_app::operate::jobs::{
    CancelledJob, JobDetails, JobState, KNOWN_KINDS, KnownJob, KnownWorker, PausedQueue, QueueStats, Retried,
};

use crate::commands::text::{fields, or_dash, table, time};

/// How much of a reason a list shows, in characters.
const LISTED_REASON_CHARS: usize = 60;

pub(super) fn stats(queues: &[QueueStats]) -> String {
    let rows: Vec<[String; 8]> = queues
        .iter()
        .map(|stats| {
            let more = |count: i64| {
                let plus = if stats.is_more && count > 0 { "+" } else { "" };
                format!("{count}{plus}")
            };
            [
                stats.queue.clone(),
                stats.ready.to_string(),
                stats.waiting.to_string(),
                stats.running.to_string(),
                more(stats.done),
                more(stats.dead),
                more(stats.cancelled),
                or_dash(stats.paused.as_ref().map(pause)),
            ]
        })
        .collect();
    table(
        [
            "QUEUE",
            "READY",
            "WAITING",
            "RUNNING",
            "DONE",
            "DEAD",
            "CANCELLED",
            "PAUSED",
        ],
        &rows,
    )
}

fn pause(paused: &PausedQueue) -> String {
    format!(
        "since {} by {}: {}",
        time(paused.paused_at),
        paused.operator,
        paused.reason
    )
}

pub(super) fn paused(paused: &PausedQueue) -> String {
    format!("queue {} is paused {}", paused.queue, pause(paused))
}

pub(super) fn list(jobs: &[KnownJob]) -> String {
    let rows: Vec<[String; 8]> = jobs
        .iter()
        .map(|job| {
            let reason: Option<String> = job
                .reason
                .as_ref()
                .map(|reason| reason.chars().take(LISTED_REASON_CHARS).collect());
            [
                job.id.clone(),
                job.queue.clone(),
                job.state.as_str().to_owned(),
                format!("{}/{}", job.attempts, job.max_attempts),
                or_dash(job.user_id),
                time(job.run_at),
                or_dash(job.ended_at.map(time)),
                or_dash(reason),
            ]
        })
        .collect();
    table(
        ["ID", "QUEUE", "STATE", "ATTEMPTS", "USER", "RUN AT", "ENDED", "REASON"],
        &rows,
    )
}

pub(super) fn details(details: &JobDetails) -> String {
    let job = &details.job;
    let cancel = if details.cancel_requested { "requested" } else { "–" };
    fields(&[
        ("job", job.id.clone()),
        ("queue", job.queue.clone()),
        ("state", job.state.as_str().to_owned()),
        ("attempts", format!("{} of {}", job.attempts, job.max_attempts)),
        ("reason", or_dash(job.reason.as_ref())),
        ("created", or_dash(job.created_at.map(time))),
        ("run at", time(job.run_at)),
        ("ended", or_dash(job.ended_at.map(time))),
        ("worker", or_dash(details.worker.as_ref())),
        ("claimed", or_dash(details.claimed_at.map(time))),
        ("cancel", cancel.to_owned()),
        ("user", or_dash(job.user_id)),
        ("conversation", or_dash(job.conversation_id)),
        ("key", or_dash(details.key.as_ref())),
        ("priority", details.priority.to_string()),
        ("on failure", or_dash(details.on_failure.as_ref())),
        ("payload", details.payload.to_string()),
    ])
}

pub(super) fn workers(workers: &[KnownWorker]) -> String {
    let rows: Vec<[String; 7]> = workers
        .iter()
        .map(|worker| {
            let running: Vec<String> = worker
                .running
                .iter()
                .map(|running| format!("{} {}", running.jobs, running.queue))
                .collect();
            let faults = worker.fault.iter().chain(&worker.failing_services);
            let faults: Vec<&str> = faults.map(String::as_str).collect();
            [
                worker.id.clone(),
                if worker.alive { "alive" } else { "silent" }.to_owned(),
                or_dash(worker.started_at.map(time)),
                time(worker.last_seen),
                worker
                    .queues
                    .as_ref()
                    .map_or_else(|| "–".to_owned(), |queues| served(queues)),
                or_dash(Some(running.join(", ")).filter(|text| !text.is_empty())),
                or_dash(Some(faults.join(", ")).filter(|text| !text.is_empty())),
            ]
        })
        .collect();
    table(
        ["ID", "STATE", "STARTED", "LAST SEEN", "SERVES", "RUNS", "FAULTS"],
        &rows,
    )
}

/// The queues that a worker serves, in few words.
fn served(queues: &[String]) -> String {
    if KNOWN_KINDS
        .iter()
        .all(|kind| queues.iter().any(|queue| queue == kind.queue))
    {
        "all".to_owned()
    } else {
        queues.join(", ")
    }
}

pub(super) fn retried(retried: &Retried) -> String {
    let mut text = format!("{} jobs run again\n", retried.retried);
    for (code, jobs) in &retried.refused {
        text.push_str(&format!("{jobs} are left as they are: {code}\n"));
    }
    text
}

pub(super) fn cancelled(jobs: &[CancelledJob]) -> String {
    let sentence = |job: &CancelledJob| {
        let id = &job.id;
        match (job.state, job.message_id) {
            (JobState::Running, _) => {
                format!(
                    "job {id} is told to stop; it ends as cancelled with its present run, unless that completes it\n"
                )
            }
            (_, Some(message)) => format!("job {id} is over: answer {message} has ended with what was shown of it\n"),
            (state, None) => format!("job {id} is {}\n", state.as_str()),
        }
    };
    jobs.iter().map(sentence).collect()
}
