//! `cura-admin ai`: the AI providers as the workers know them.

use std::process::ExitCode;

use clap::Subcommand;
use cura_app::operate::ai::{self as use_cases, GateState, ProviderGate, WorkerGates};

use super::failure::Failure;
use super::operating;
use super::output::{GlobalArguments, PageArguments};
use super::text::{or_dash, table, time};

/// What to see of the AI providers.
#[derive(Debug, Subcommand)]
pub enum AiCommand {
    /// Say of each worker process to which providers it sends requests, and why not to the others.
    ///
    /// closed: requests are sent. suspect: they are, while a request of our own finds out whether the provider fails for everybody.
    /// open: none are sent for a while. needs repair: none are sent until the key, the account or the settings are repaired.
    Status {
        /// Which page.
        #[command(flatten)]
        page: PageArguments,
    },
}

/// Runs the command; gives the exit code.
pub fn start(command: AiCommand, global: GlobalArguments) -> ExitCode {
    operating::with_database(global, async |operating| match command {
        AiCommand::Status { page } => {
            let listed = use_cases::status(&operating.database, page.cursor.as_deref(), page.limit);
            let listed = listed.await.map_err(Failure::from)?;
            operating.output.page(listed, |worker| worker.worker.clone(), text)
        }
    })
}

fn text(workers: &[WorkerGates]) -> String {
    let rows: Vec<[String; 8]> = workers.iter().flat_map(rows).collect();
    let heads = [
        "WORKER",
        "SAID",
        "PROVIDER",
        "MODEL",
        "STATE",
        "REASON",
        "PERSONS HELD",
        "ANSWERS",
    ];
    table(heads, &rows)
}

fn rows(worker: &WorkerGates) -> Vec<[String; 8]> {
    let silent = if worker.alive { "" } else { " (silent)" };
    let first = [worker.worker.clone(), format!("{}{silent}", time(worker.said_at))];
    let providers = worker.providers.as_deref().unwrap_or_default();
    if providers.is_empty() {
        let [id, said] = first;
        let dash = || "–".to_owned();
        return vec![[id, said, dash(), dash(), dash(), dash(), dash(), dash()]];
    }
    providers.iter().map(|provider| row(&first, provider)).collect()
}

fn row([id, said]: &[String; 2], gate: &ProviderGate) -> [String; 8] {
    let wait = gate.retry_after_ms.filter(|wait| *wait > 0);
    let reason = gate.reason.as_ref().map(|reason| match wait {
        Some(wait) => format!("{reason}, for {} s", wait.div_ceil(1000)),
        None => reason.clone(),
    });
    [
        id.clone(),
        said.clone(),
        gate.provider.clone(),
        gate.model.clone(),
        word(gate.state).to_owned(),
        or_dash(reason),
        gate.held_persons.to_string(),
        gate.answers.to_string(),
    ]
}

const fn word(state: GateState) -> &'static str {
    match state {
        GateState::Closed => "closed",
        GateState::Suspect => "suspect",
        GateState::Open => "open",
        GateState::NeedsRepair => "needs repair",
    }
}
