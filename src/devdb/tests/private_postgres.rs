//! A private Postgres survives whatever is killed, and is gone when nobody uses it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A folder below /tmp (open to the user Postgres runs as), removed at the end.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/cura-devdb-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn hold(&self) -> Holder {
        self.hold_with(|_| {})
    }

    fn hold_with(&self, change: impl FnOnce(&mut Command)) -> Holder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devdb-holder"));
        command
            .arg(&self.0)
            .arg("durable")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        Holder {
            child,
            said: said.trim().to_owned(),
        }
    }

    fn postmaster(&self) -> Option<u32> {
        fs::read_to_string(self.0.join("postgres/data/postmaster.pid"))
            .ok()?
            .lines()
            .next()?
            .parse()
            .ok()
    }

    fn keeper(&self) -> Option<u32> {
        fs::read_to_string(self.0.join("postgres/keeper.lock"))
            .ok()?
            .parse()
            .ok()
            .filter(|pid| lives(*pid))
    }

    fn wait_until_stopped(&self) {
        eventually("everything is stopped", || {
            self.postmaster().is_none() && self.keeper().is_none()
        });
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for pid in [self.keeper(), self.postmaster()].into_iter().flatten() {
            kill(pid, "KILL");
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Holder {
    child: Child,
    said: String,
}

impl Holder {
    fn query(&self, sql: &str) -> Option<String> {
        let done = Command::new("psql")
            .args(["-XAtqc", sql, &self.said])
            .stderr(Stdio::null())
            .output()
            .unwrap();
        done.status
            .success()
            .then(|| String::from_utf8(done.stdout).unwrap().trim().to_owned())
    }

    fn leave(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn lives(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state
        .rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

fn kill(pid: u32, signal: &str) {
    Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .unwrap();
}

fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !state() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_starts_is_shared_and_is_stopped_by_the_last_one_out() {
    let root = Root::new();
    let first = root.hold();
    assert_eq!(
        first
            .query("CREATE TABLE kept AS SELECT 42 AS n; SELECT n FROM kept")
            .as_deref(),
        Some("42")
    );
    let second = root.hold();
    assert_eq!(first.said, second.said);
    first.leave();
    assert_eq!(second.query("SELECT n FROM kept").as_deref(), Some("42"));
    second.leave();
    root.wait_until_stopped();
    let again = root.hold();
    assert_eq!(again.query("SELECT n FROM kept").as_deref(), Some("42"));
    again.leave();
    root.wait_until_stopped();
}

#[test]
fn many_starting_at_once_share_one_server() {
    let root = Root::new();
    let all: Vec<Holder> = std::thread::scope(|scope| {
        (0..6)
            .map(|_| scope.spawn(|| root.hold()))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|t| t.join().unwrap())
            .collect()
    });
    for holder in &all {
        assert_eq!(holder.query("SELECT 1").as_deref(), Some("1"), "{}", holder.said);
    }
    all.into_iter().for_each(Holder::leave);
    root.wait_until_stopped();
}

#[test]
fn a_killed_user_is_gone_like_any_other() {
    let root = Root::new();
    root.hold().kill();
    root.wait_until_stopped();
}

#[test]
fn a_killed_keeper_is_replaced_while_somebody_uses_the_server() {
    let root = Root::new();
    let holder = root.hold();
    let (keeper, postmaster) = (root.keeper().unwrap(), root.postmaster());
    kill(keeper, "KILL");
    eventually("another keeper", || root.keeper().is_some_and(|pid| pid != keeper));
    assert_eq!(root.postmaster(), postmaster, "the server went on");
    assert_eq!(holder.query("SELECT 1").as_deref(), Some("1"));
    holder.leave();
    root.wait_until_stopped();
}

#[test]
fn a_killed_server_is_started_again_with_its_data() {
    let root = Root::new();
    let holder = root.hold();
    holder.query("CREATE TABLE kept AS SELECT 42 AS n").unwrap();
    kill(root.postmaster().unwrap(), "KILL");
    eventually("it answers again", || {
        holder.query("SELECT n FROM kept").as_deref() == Some("42")
    });
    holder.leave();
    root.wait_until_stopped();
}

#[test]
fn user_keeper_and_server_killed_together_recover() {
    let root = Root::new();
    let holder = root.hold();
    holder.query("CREATE TABLE kept AS SELECT 42 AS n").unwrap();
    let (keeper, postmaster) = (root.keeper().unwrap(), root.postmaster().unwrap());
    holder.kill();
    kill(keeper, "KILL");
    kill(postmaster, "KILL");
    let again = root.hold();
    eventually("it answers again", || {
        again.query("SELECT n FROM kept").as_deref() == Some("42")
    });
    again.leave();
    root.wait_until_stopped();
}

#[test]
fn a_server_without_user_and_keeper_is_adopted_and_stopped_in_the_end() {
    let root = Root::new();
    let holder = root.hold();
    let (keeper, postmaster) = (root.keeper().unwrap(), root.postmaster().unwrap());
    kill(keeper, "STOP");
    holder.kill();
    kill(keeper, "KILL");
    eventually("the keeper is dead", || !lives(keeper));
    let again = root.hold();
    assert_eq!(root.postmaster(), Some(postmaster));
    again.leave();
    root.wait_until_stopped();
}

#[test]
fn an_interrupted_first_start_is_begun_anew() {
    let root = Root::new();
    fs::create_dir_all(root.0.join("postgres/data.new/base")).unwrap();
    fs::write(root.0.join("postgres/data.new/PG_VERSION"), "15\n").unwrap();
    let holder = root.hold();
    assert_eq!(holder.query("SELECT 1").as_deref(), Some("1"), "{}", holder.said);
    holder.leave();
    root.wait_until_stopped();
}

#[test]
fn a_pid_that_belongs_to_somebody_else_by_now_is_recognised() {
    let root = Root::new();
    root.hold().leave();
    root.wait_until_stopped();
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let pid_file = root.0.join("postgres/data/postmaster.pid");
    fs::write(
        &pid_file,
        format!("{}\n/somewhere\n1\n5432\n/tmp\n\n  1  1\nready\n", other.id()),
    )
    .unwrap();
    let holder = root.hold();
    assert_eq!(holder.query("SELECT 1").as_deref(), Some("1"), "{}", holder.said);
    other.kill().unwrap();
    other.wait().unwrap();
    holder.leave();
    root.wait_until_stopped();
}

#[test]
fn ctrl_c_is_for_the_user_and_not_for_the_server() {
    let root = Root::new();
    let holder = root.hold_with(|command| {
        command.process_group(0);
    });
    let group = format!("-{}", holder.child.id());
    let second = root.hold();
    Command::new("kill").args(["-INT", "--", &group]).status().unwrap();
    assert_eq!(second.query("SELECT 1").as_deref(), Some("1"));
    drop(holder);
    assert_eq!(second.query("SELECT 1").as_deref(), Some("1"));
    second.leave();
    root.wait_until_stopped();
}

#[test]
fn without_postgres_one_sentence_says_what_to_install() {
    let root = Root::new();
    let holder = root.hold_with(|command| {
        command.env("CURA_PG_BIN", "/nowhere");
    });
    assert!(
        holder
            .said
            .starts_with("error: no PostgreSQL 14 or newer was found; install it"),
        "{}",
        holder.said
    );
    holder.leave();
}

#[test]
fn data_of_a_version_that_is_not_installed_is_left_alone() {
    let root = Root::new();
    fs::create_dir_all(root.0.join("postgres/data")).unwrap();
    fs::write(root.0.join("postgres/data/PG_VERSION"), "9\n").unwrap();
    let holder = root.hold();
    assert!(
        holder.said.contains("made by PostgreSQL 9, which is not installed"),
        "{}",
        holder.said
    );
    assert!(root.0.join("postgres/data/PG_VERSION").exists());
    holder.leave();
}

#[test]
fn it_runs_for_somebody_who_is_not_root_too() {
    if !Path::new("/root").metadata().is_ok_and(|_| is_root()) {
        return;
    }
    let root = Root::new();
    // A copy, because the build folder may be closed to nobody.
    let program = root.0.join("holder");
    fs::copy(env!("CARGO_BIN_EXE_devdb-holder"), &program).unwrap();
    let home = root.0.join("home");
    fs::create_dir(&home).unwrap();
    let (uid, gid) = (65534, 65534);
    std::os::unix::fs::chown(&home, Some(uid), Some(gid)).unwrap();
    let mut command = Command::new(&program);
    command
        .arg(&home)
        .arg("durable")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .uid(uid)
        .gid(gid)
        .current_dir("/");
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let holder = Holder {
        child,
        said: said.trim().to_owned(),
    };
    assert_eq!(holder.query("SELECT 1").as_deref(), Some("1"), "{}", holder.said);
    holder.leave();
    eventually("stopped", || !home.join("postgres/data/postmaster.pid").exists());
}

#[test]
fn a_folder_that_is_closed_to_the_servers_user_is_named() {
    if !is_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let root = Root::new();
    fs::set_permissions(&root.0, fs::Permissions::from_mode(0o700)).unwrap();
    let holder = root.hold();
    assert!(holder.said.contains("is closed to the user"), "{}", holder.said);
    holder.leave();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
