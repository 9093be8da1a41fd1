//! `cura-admin jobs`: how many jobs there are, what became of one, retrying and cancelling, and pausing queues. Payloads hold ids only.

mod failure;
mod text;

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use cura_app::operate::jobs::{
    Interrupted, JobState, Jobs as UseCases, KNOWN_KINDS, KnownJobs, OperateJobsError, Retried, WhichDead, WhichOver,
};

use super::arguments::{DurationArgument, MomentArgument, ReasonArgument};
use super::failure::Failure;
use super::operating::{self, Operating};
use super::output::{GlobalArguments, Output, PageArguments};
use crate::wiring;

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// Count the jobs of each queue.
    ///
    /// What waits and runs is counted exactly; of what is over, 10,000 of each queue at most.
    Stats,
    /// List jobs, newest first.
    List {
        /// Only those of this queue.
        #[arg(long)]
        queue: Option<String>,
        /// Only those in this state.
        #[arg(long)]
        state: Option<State>,
        /// Only those that were made since then: a moment (RFC 3339) or a day.
        #[arg(long, value_name = "MOMENT")]
        since: Option<MomentArgument>,
        /// Only those whose reason has this text in it.
        #[arg(long)]
        reason: Option<String>,
        /// Which page.
        #[command(flatten)]
        page: PageArguments,
    },
    /// Show all that is known of a job.
    Show {
        /// The id of the job.
        id: String,
    },
    /// List the worker processes: whether they live, what they run, and what keeps them from their work.
    Workers {
        /// Which page.
        #[command(flatten)]
        page: PageArguments,
    },
    /// Have dead jobs run again.
    ///
    /// Attempts that were spent stay spent; a job has as many more as its kind has. An answer that has failed is being made again, within the
    /// limits of its person; it is left alone when its conversation is gone, its person is suspended, or the question was asked or answered
    /// anew. Cancelled jobs are not retried.
    Retry {
        /// The ids of the jobs.
        #[arg(required_unless_present = "all", conflicts_with = "all", num_args = 1..=1000)]
        ids: Vec<String>,
        /// All dead jobs of a queue instead.
        #[arg(long, requires = "queue")]
        all: bool,
        /// The queue.
        #[arg(long, requires = "all")]
        queue: Option<String>,
        /// Of those, only the ones that were made since then: a moment (RFC 3339) or a day.
        #[arg(long, requires = "all", value_name = "MOMENT")]
        since: Option<MomentArgument>,
        /// Of those, only the ones whose reason has this text in it.
        #[arg(long, requires = "all")]
        reason: Option<String>,
        /// Spread over this time, so that what they need is not flooded: `90s`, `10m`, `2h`.
        #[arg(long, requires = "all", value_name = "TIME", default_value = "60s")]
        over: DurationArgument,
    },
    /// Cancel jobs.
    ///
    /// One that has not started never starts, and one that runs is told to stop. An answer ends with the text that was shown, as if its person
    /// had stopped it. A scan ends as failed, and an export is deleted, so that its person can ask for another.
    Cancel {
        /// The ids of the jobs.
        #[arg(required = true, num_args = 1..=1000)]
        ids: Vec<String>,
    },
    /// Delete jobs that are over before their time.
    ///
    /// By themselves those that are done are deleted after a day, others after 30 days. A dead job that is deleted cannot be retried.
    Prune {
        /// Those that are done, dead or cancelled.
        #[arg(long)]
        state: Over,
        /// Those that were over at this moment (RFC 3339) or day; an hour ago at the latest.
        #[arg(long, value_name = "MOMENT")]
        before: MomentArgument,
        /// Only those of this queue.
        #[arg(long)]
        queue: Option<String>,
    },
    /// Let no worker begin a job of a queue until it is resumed.
    ///
    /// What runs finishes. People see that their answers are queued, and `/health` says `degraded`.
    Pause {
        /// The queue.
        queue: String,
        /// Why, for other operators.
        #[arg(long)]
        reason: ReasonArgument,
    },
    /// Let workers begin the jobs of a queue again.
    Resume {
        /// The queue.
        queue: String,
    },
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum State {
    /// A worker may begin it.
    Ready,
    /// It is not to begin yet.
    Waiting,
    /// A worker runs it.
    Running,
    /// It was completed.
    Done,
    /// It was discarded.
    Dead,
    /// It was cancelled.
    Cancelled,
}

/// Where a job stands that is over.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Over {
    /// It was completed.
    Done,
    /// It was discarded.
    Dead,
    /// It was cancelled.
    Cancelled,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Ready => Self::Ready,
            State::Waiting => Self::Waiting,
            State::Running => Self::Running,
            State::Done => Self::Done,
            State::Dead => Self::Dead,
            State::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Over> for JobState {
    fn from(state: Over) -> Self {
        match state {
            Over::Done => Self::Done,
            Over::Dead => Self::Dead,
            Over::Cancelled => Self::Cancelled,
        }
    }
}

/// Runs the command; gives the exit code.
pub fn start(command: Jobs, global: GlobalArguments) -> ExitCode {
    operating::with_database(global, async |operating| {
        let output = operating.output;
        run(&use_cases(operating)?, command, output).await
    })
}

fn use_cases(operating: Operating) -> Result<UseCases, Failure> {
    let live = operating.live()?;
    let settings = &operating.settings;
    let ai = wiring::ai(settings).map_err(crate::program::StartError::from)?;
    // Without Redis, the texts of running answers are in the memory of `cura-server dev`.
    let texts = live
        .clone()
        .unwrap_or_else(|| cura_live::Live::in_process(cura_live::LiveConfig::default()));
    let answers = wiring::answers(settings, operating.database.clone(), texts, &ai);
    Ok(UseCases::new(operating.acts, live, answers, settings.limits.quota))
}

async fn run(jobs: &UseCases, command: Jobs, output: Output) -> Result<(), Failure> {
    match command {
        Jobs::Stats => output.page((jobs.stats().await?, false), |stats| stats.queue.clone(), text::stats),
        Jobs::List {
            queue,
            state,
            since,
            reason,
            page,
        } => {
            let which = KnownJobs {
                queue: queue.map(known_queue).transpose()?,
                state: state.map(JobState::from),
                since: since.map(|since| since.0),
                reason,
                before: page.after()?,
            };
            let listed = jobs.list(&which, page.limit).await?;
            output.page(listed, |job| job.id.clone(), text::list)
        }
        Jobs::Show { id } => output.value(&jobs.show(&id).await?, text::details),
        Jobs::Workers { page } => {
            let listed = jobs.workers(page.cursor.as_deref(), page.limit).await?;
            output.page(listed, |worker| worker.id.clone(), text::workers)
        }
        Jobs::Retry {
            all: true,
            queue,
            since,
            reason,
            over,
            ..
        } => {
            let which = WhichDead {
                queue: queue.unwrap_or_default(),
                since: since.map(|since| since.0),
                reason,
            };
            let shown = |done, all| output.progress(&format!("{done} of {all} jobs"));
            match jobs.retry_all(&which, over.0, shown).await {
                Ok(retried) => output.value(&retried, text::retried),
                Err(Interrupted { retried, error }) => {
                    // They stay retried.
                    if retried != Retried::default() {
                        output.value(&retried, text::retried)?;
                    }
                    Err(error.into())
                }
            }
        }
        Jobs::Retry { ids, .. } => retry(jobs, ids, output).await,
        Jobs::Cancel { ids } => cancel(jobs, ids, output).await,
        Jobs::Prune { state, before, queue } => prune(jobs, state, before.0, queue, output).await,
        Jobs::Pause { queue, reason } => output.value(&jobs.pause(&queue, &reason.0).await?, text::paused),
        Jobs::Resume { queue } => {
            jobs.resume(&queue).await?;
            output.value(&serde_json::json!({ "resumed": queue }), |_| {
                format!("queue {queue} is resumed")
            })
        }
    }
}

/// Retries each of these jobs. One that is not retried does not keep the others from it; the first of them is what the command fails for.
async fn retry(jobs: &UseCases, ids: Vec<String>, output: Output) -> Result<(), Failure> {
    let (mut retried, mut refused) = (Retried::default(), None);
    for id in ids {
        match jobs.retry(&id).await {
            Ok(()) => retried.retried += 1,
            Err(error @ OperateJobsError::Store(_)) => {
                refused = Some(error.into());
                break;
            }
            Err(error) => refused = Some(added(refused, Failure::from(error))),
        }
    }
    if retried.retried > 0 {
        output.value(&retried, text::retried)?;
    }
    refused.map_or(Ok(()), Err)
}

/// Cancels each of these jobs, as [`retry`] retries them.
async fn cancel(jobs: &UseCases, ids: Vec<String>, output: Output) -> Result<(), Failure> {
    let (mut cancelled, mut refused) = (Vec::new(), None);
    for id in ids {
        match jobs.cancel(&id).await {
            Ok(job) => cancelled.push(job),
            Err(error @ OperateJobsError::Store(_)) => {
                refused = Some(error.into());
                break;
            }
            Err(error) => refused = Some(added(refused, Failure::from(error))),
        }
    }
    if !cancelled.is_empty() {
        output.page((cancelled, false), |job| job.id.clone(), text::cancelled)?;
    }
    refused.map_or(Ok(()), Err)
}

/// What a command fails for that was given several things to do.
fn added(before: Option<Failure>, failure: Failure) -> Failure {
    match before {
        None => failure,
        Some(first) => first.and(&failure),
    }
}

async fn prune(
    jobs: &UseCases,
    state: Over,
    before: DateTime<Utc>,
    queue: Option<String>,
    output: Output,
) -> Result<(), Failure> {
    let state = JobState::from(state);
    let queue = queue.map(known_queue).transpose()?;
    let which = WhichOver { state, queue, before };
    let (word, of) = (state.as_str(), which.queue.as_deref().unwrap_or("any queue"));
    output.confirm(&format!(
        "this deletes the jobs of {of} that are {word} since {} or longer, which cannot be retried then",
        super::text::time(before)
    ))?;
    let shown = |pruned| output.progress(&format!("{pruned} jobs are deleted"));
    output.value(&jobs.prune(&which, shown).await?, |pruned| {
        format!("{} jobs are deleted", pruned.pruned)
    })
}

/// The name of a queue, of which there may be jobs.
fn known_queue(name: String) -> Result<String, Failure> {
    let is_known = KNOWN_KINDS.iter().any(|kind| kind.queue == name);
    is_known
        .then(|| name.clone())
        .ok_or_else(|| failure::unknown_queue(&name))
}
