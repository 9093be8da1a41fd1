//! The supervisor: starts the server or adopts a running one, restarts it when it dies, stops it when it has no users.

use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::error::DevDbError;
use crate::profile::Profile;
use crate::state_dir::{LockGuard, StateDir};

/// How often the supervisor checks the server and its users.
const TICK: Duration = Duration::from_millis(100);
/// How often it checks while the server starts or stops.
const FAST_TICK: Duration = Duration::from_millis(10);
/// How long the server stays after its last user has ended.
const DURABLE_LINGER: Duration = Duration::ZERO;
const THROWAWAY_LINGER: Duration = Duration::from_secs(10);
/// How often in a row the server may die before the supervisor gives up.
const MAX_STARTS: u32 = 5;
/// The pause before each restart, times the number of starts.
const RESTART_DELAY: Duration = Duration::from_millis(200);
/// A server that ran for this long had started properly: the next restart counts as the first.
const HEALTHY_UPTIME: Duration = Duration::from_secs(30);
/// How long a stop may take before the supervisor ends without it.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Supervises the server until it has no users; returns the exit code.
pub(crate) fn run(data_root: &Path, profile: Profile) -> i32 {
    let Ok(state_dir) = StateDir::open(data_root) else {
        return 1;
    };
    match lock(&state_dir) {
        // Another supervisor runs.
        Ok(None) => 0,
        Err(_) => 1,
        Ok(Some(lock)) => {
            state_dir.clear_ready();
            let outcome = Supervisor::new(state_dir.clone(), profile).and_then(Supervisor::supervise);
            if let Err(error) = &outcome {
                // This process has no output; users read the report.
                let _ = state_dir.report_failure(&error.to_string());
            }
            drop(lock);
            i32::from(outcome.is_err())
        }
    }
}

/// Takes the supervisor's lock. Users hold it for an instant while they check whether a supervisor runs.
fn lock(state_dir: &StateDir) -> Result<Option<LockGuard>, DevDbError> {
    for _ in 0..20 {
        if let Some(lock) = state_dir.try_lock_as_supervisor()? {
            return Ok(Some(lock));
        }
        std::thread::sleep(FAST_TICK);
    }
    Ok(None)
}

struct Supervisor {
    state_dir: StateDir,
    cluster: Cluster,
    profile: Profile,
    /// The server, if this supervisor started it.
    child: Option<Child>,
    /// Starts since the server last ran for [`HEALTHY_UPTIME`].
    starts: u32,
    last_start: Instant,
    reported_ready: bool,
    last_used: Instant,
}

impl Supervisor {
    fn new(state_dir: StateDir, profile: Profile) -> Result<Self, DevDbError> {
        // Starts a new log: only the last run matters.
        let _ = File::create(state_dir.server_log());
        let cluster = Cluster::open(state_dir.clone(), profile)?;
        Ok(Self {
            state_dir,
            cluster,
            profile,
            child: None,
            starts: 0,
            last_start: Instant::now(),
            reported_ready: false,
            last_used: Instant::now(),
        })
    }

    fn supervise(mut self) -> Result<(), DevDbError> {
        let linger = match self.profile {
            Profile::Durable => DURABLE_LINGER,
            Profile::Throwaway => THROWAWAY_LINGER,
        };
        loop {
            self.keep_running()?;
            match self.state_dir.try_lock_out_users()? {
                None => self.last_used = Instant::now(),
                // New users wait while this lock is held.
                Some(_lock) if self.last_used.elapsed() >= linger => {
                    self.state_dir.clear_ready();
                    self.stop();
                    return Ok(());
                }
                Some(_) => {}
            }
            std::thread::sleep(if self.reported_ready { TICK } else { FAST_TICK });
        }
    }

    /// Starts the server if it does not run; reports it when it is ready.
    fn keep_running(&mut self) -> Result<(), DevDbError> {
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(Some(_)))
        {
            self.child = None;
        }
        match self.cluster.running() {
            Some(server) if server.is_ready && !self.reported_ready => {
                self.state_dir.report_ready(self.cluster.sockets())?;
                self.reported_ready = true;
                Ok(())
            }
            Some(_) => Ok(()),
            // Started, but it has not written its process id yet.
            None if self.child.is_some() => Ok(()),
            None => self.start(),
        }
    }

    fn start(&mut self) -> Result<(), DevDbError> {
        self.state_dir.clear_ready();
        self.reported_ready = false;
        if self.last_start.elapsed() > HEALTHY_UPTIME {
            self.starts = 0;
        }
        if self.starts == MAX_STARTS {
            return Err(DevDbError::Failed {
                program: "postgres",
                log: self.state_dir.server_log(),
            });
        }
        // The processes that a killed server leaves behind need a moment to end.
        std::thread::sleep(RESTART_DELAY * self.starts);
        self.starts += 1;
        self.last_start = Instant::now();
        self.child = Some(self.cluster.start(self.profile)?);
        Ok(())
    }

    fn stop(mut self) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            let ended = match &mut self.child {
                Some(child) => matches!(child.try_wait(), Ok(Some(_))),
                None => self.cluster.running().is_none(),
            };
            if ended {
                return;
            }
            if let Some(server) = self.cluster.running() {
                server.ask_to_stop();
            }
            std::thread::sleep(FAST_TICK);
        }
    }
}
