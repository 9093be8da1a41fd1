//! The keeper: starts the server or adopts one that runs, starts it again when it dies, stops it when nobody is left.

use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::folder::{Folder, Held};
use crate::{DevDbError, Profile};

/// How often the keeper looks.
const TICK: Duration = Duration::from_millis(100);
/// How often it looks while the server starts or stops.
const FAST_TICK: Duration = Duration::from_millis(10);
/// How long the server stays when its last user has gone.
const DURABLE_LINGER: Duration = Duration::ZERO;
const THROWAWAY_LINGER: Duration = Duration::from_secs(10);
/// A server that dies more often than this in a row is broken.
const MAX_STARTS: u32 = 5;
/// Before each further start.
const RESTART_DELAY: Duration = Duration::from_millis(200);
/// A server that lived this long was not broken.
const SOUND: Duration = Duration::from_secs(30);
/// How long a stop may take before the keeper gives up on it.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Keeps until nobody is left; the exit code.
pub(crate) fn keep(data_root: &Path, profile: Profile) -> i32 {
    let Ok(folder) = Folder::open(data_root) else { return 1 };
    match hold(&folder) {
        // Another keeper was faster.
        Ok(None) => 0,
        Err(_) => 1,
        Ok(Some(held)) => {
            folder.unsay_ready();
            let outcome = tend(&folder, profile);
            if let Err(error) = &outcome {
                // Nobody reads our streams; users read this.
                let _ = folder.say_failure(&error.to_string());
            }
            drop(held);
            i32::from(outcome.is_err())
        }
    }
}

/// The keeper's lock. Users who look whether there is a keeper hold it for an instant.
fn hold(folder: &Folder) -> Result<Option<Held>, DevDbError> {
    for _ in 0..20 {
        if let Some(held) = folder.hold_as_keeper()? {
            return Ok(Some(held));
        }
        std::thread::sleep(FAST_TICK);
    }
    Ok(None)
}

fn tend(folder: &Folder, profile: Profile) -> Result<(), DevDbError> {
    // The log of the last run is enough.
    let _ = File::create(folder.server_log());
    let cluster = Cluster::open(folder.clone(), profile)?;
    let linger = match profile {
        Profile::Durable => DURABLE_LINGER,
        Profile::Throwaway => THROWAWAY_LINGER,
    };
    let mut child: Option<Child> = None;
    let mut starts = 0;
    let mut started = Instant::now();
    let mut said_ready = false;
    let mut last_used = Instant::now();
    loop {
        if let Some(ours) = &mut child
            && matches!(ours.try_wait(), Ok(Some(_)))
        {
            child = None;
        }
        match cluster.running() {
            Some((_, true)) if !said_ready => {
                folder.say_ready(cluster.sockets())?;
                said_ready = true;
            }
            Some(_) => {}
            // Started, but it has not written its pid yet.
            None if child.is_some() => {}
            None => {
                folder.unsay_ready();
                said_ready = false;
                if started.elapsed() > SOUND {
                    starts = 0;
                }
                if starts == MAX_STARTS {
                    return Err(DevDbError::Failed {
                        program: "postgres",
                        log: folder.server_log(),
                    });
                }
                // What a killed server leaves behind needs a moment to end.
                std::thread::sleep(RESTART_DELAY * starts);
                starts += 1;
                started = Instant::now();
                child = Some(cluster.start(profile)?);
            }
        }
        match folder.hold_against_users()? {
            None => last_used = Instant::now(),
            // Nobody begins to use it while this is held.
            Some(_held) if last_used.elapsed() >= linger => {
                folder.unsay_ready();
                stop(&cluster, child);
                return Ok(());
            }
            Some(_) => {}
        }
        std::thread::sleep(if said_ready { TICK } else { FAST_TICK });
    }
}

fn stop(cluster: &Cluster, mut child: Option<Child>) {
    let until = Instant::now() + STOP_TIMEOUT;
    while Instant::now() < until {
        let ended = match &mut child {
            Some(child) => matches!(child.try_wait(), Ok(Some(_))),
            None => cluster.running().is_none(),
        };
        if ended {
            return;
        }
        if let Some((pid, _)) = cluster.running() {
            Cluster::ask_to_stop(pid);
        }
        std::thread::sleep(FAST_TICK);
    }
}
