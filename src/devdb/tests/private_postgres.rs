//! A private Postgres recovers whichever process is killed, and is stopped when it has no users.
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

    fn join(&self) -> Client {
        self.join_with(|_| {})
    }

    fn join_with(&self, change: impl FnOnce(&mut Command)) -> Client {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devdb-client"));
        command
            .arg(&self.0)
            .arg("durable")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Client {
            child,
            output: line.trim().to_owned(),
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

    fn supervisor(&self) -> Option<u32> {
        fs::read_to_string(self.0.join("postgres/supervisor.lock"))
            .ok()?
            .parse()
            .ok()
            .filter(|pid| lives(*pid))
    }

    fn wait_until_stopped(&self) {
        eventually("everything is stopped", || {
            self.postmaster().is_none() && self.supervisor().is_none()
        });
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for pid in [self.supervisor(), self.postmaster()].into_iter().flatten() {
            kill(pid, "KILL");
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Client {
    child: Child,
    output: String,
}

impl Client {
    fn query(&self, sql: &str) -> Option<String> {
        let done = Command::new("psql")
            .args(["-XAtqc", sql, &self.output])
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
fn it_starts_is_shared_and_stops_after_its_last_user() {
    let root = Root::new();
    let first = root.join();
    assert_eq!(
        first
            .query("CREATE TABLE kept AS SELECT 42 AS n; SELECT n FROM kept")
            .as_deref(),
        Some("42")
    );
    let second = root.join();
    assert_eq!(first.output, second.output);
    first.leave();
    assert_eq!(second.query("SELECT n FROM kept").as_deref(), Some("42"));
    second.leave();
    root.wait_until_stopped();
    let again = root.join();
    assert_eq!(again.query("SELECT n FROM kept").as_deref(), Some("42"));
    again.leave();
    root.wait_until_stopped();
}

#[test]
fn many_starting_at_once_share_one_server() {
    let root = Root::new();
    let all: Vec<Client> = std::thread::scope(|scope| {
        (0..6)
            .map(|_| scope.spawn(|| root.join()))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|t| t.join().unwrap())
            .collect()
    });
    for client in &all {
        assert_eq!(client.query("SELECT 1").as_deref(), Some("1"), "{}", client.output);
    }
    all.into_iter().for_each(Client::leave);
    root.wait_until_stopped();
}

#[test]
fn a_killed_user_no_longer_counts() {
    let root = Root::new();
    root.join().kill();
    root.wait_until_stopped();
}

#[test]
fn a_killed_supervisor_is_replaced_while_the_server_has_users() {
    let root = Root::new();
    let client = root.join();
    let (supervisor, postmaster) = (root.supervisor().unwrap(), root.postmaster());
    kill(supervisor, "KILL");
    eventually("another supervisor", || {
        root.supervisor().is_some_and(|pid| pid != supervisor)
    });
    assert_eq!(root.postmaster(), postmaster, "the server went on");
    assert_eq!(client.query("SELECT 1").as_deref(), Some("1"));
    client.leave();
    root.wait_until_stopped();
}

#[test]
fn a_killed_server_is_started_again_with_its_data() {
    let root = Root::new();
    let client = root.join();
    client.query("CREATE TABLE kept AS SELECT 42 AS n").unwrap();
    kill(root.postmaster().unwrap(), "KILL");
    eventually("it answers again", || {
        client.query("SELECT n FROM kept").as_deref() == Some("42")
    });
    client.leave();
    root.wait_until_stopped();
}

#[test]
fn user_supervisor_and_server_killed_together_recover() {
    let root = Root::new();
    let client = root.join();
    client.query("CREATE TABLE kept AS SELECT 42 AS n").unwrap();
    let (supervisor, postmaster) = (root.supervisor().unwrap(), root.postmaster().unwrap());
    client.kill();
    kill(supervisor, "KILL");
    kill(postmaster, "KILL");
    let again = root.join();
    eventually("it answers again", || {
        again.query("SELECT n FROM kept").as_deref() == Some("42")
    });
    again.leave();
    root.wait_until_stopped();
}

#[test]
fn a_server_without_user_and_supervisor_is_adopted_and_stopped_in_the_end() {
    let root = Root::new();
    let client = root.join();
    let (supervisor, postmaster) = (root.supervisor().unwrap(), root.postmaster().unwrap());
    kill(supervisor, "STOP");
    client.kill();
    kill(supervisor, "KILL");
    eventually("the supervisor is dead", || !lives(supervisor));
    let again = root.join();
    assert_eq!(root.postmaster(), Some(postmaster));
    again.leave();
    root.wait_until_stopped();
}

#[test]
fn an_interrupted_first_start_is_repeated() {
    let root = Root::new();
    fs::create_dir_all(root.0.join("postgres/data.new/base")).unwrap();
    fs::write(root.0.join("postgres/data.new/PG_VERSION"), "15\n").unwrap();
    let client = root.join();
    assert_eq!(client.query("SELECT 1").as_deref(), Some("1"), "{}", client.output);
    client.leave();
    root.wait_until_stopped();
}

#[test]
fn a_reused_process_id_is_recognised() {
    let root = Root::new();
    root.join().leave();
    root.wait_until_stopped();
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let pid_file = root.0.join("postgres/data/postmaster.pid");
    fs::write(
        &pid_file,
        format!("{}\n/somewhere\n1\n5432\n/tmp\n\n  1  1\nready\n", other.id()),
    )
    .unwrap();
    let client = root.join();
    assert_eq!(client.query("SELECT 1").as_deref(), Some("1"), "{}", client.output);
    other.kill().unwrap();
    other.wait().unwrap();
    client.leave();
    root.wait_until_stopped();
}

#[test]
fn ctrl_c_reaches_the_user_and_not_the_server() {
    let root = Root::new();
    let client = root.join_with(|command| {
        command.process_group(0);
    });
    let group = format!("-{}", client.child.id());
    let second = root.join();
    Command::new("kill").args(["-INT", "--", &group]).status().unwrap();
    assert_eq!(second.query("SELECT 1").as_deref(), Some("1"));
    drop(client);
    assert_eq!(second.query("SELECT 1").as_deref(), Some("1"));
    second.leave();
    root.wait_until_stopped();
}

#[test]
fn without_postgres_the_error_says_what_to_install() {
    let root = Root::new();
    let client = root.join_with(|command| {
        command.env("CURA_PG_BIN", "/nowhere");
    });
    assert!(
        client
            .output
            .starts_with("error: no PostgreSQL 14 or newer was found; install it"),
        "{}",
        client.output
    );
    client.leave();
}

#[test]
fn data_of_a_version_that_is_not_installed_is_left_alone() {
    let root = Root::new();
    fs::create_dir_all(root.0.join("postgres/data")).unwrap();
    fs::write(root.0.join("postgres/data/PG_VERSION"), "9\n").unwrap();
    let client = root.join();
    assert!(
        client.output.contains("made by PostgreSQL 9, which is not installed"),
        "{}",
        client.output
    );
    assert!(root.0.join("postgres/data/PG_VERSION").exists());
    client.leave();
}

#[test]
fn it_also_runs_for_a_user_other_than_root() {
    if !Path::new("/root").metadata().is_ok_and(|_| is_root()) {
        return;
    }
    let root = Root::new();
    // A copy, because the build folder may be closed to the user nobody.
    let program = root.0.join("client");
    fs::copy(env!("CARGO_BIN_EXE_devdb-client"), &program).unwrap();
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
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let client = Client {
        child,
        output: line.trim().to_owned(),
    };
    assert_eq!(client.query("SELECT 1").as_deref(), Some("1"), "{}", client.output);
    client.leave();
    eventually("stopped", || !home.join("postgres/data/postmaster.pid").exists());
}

#[test]
fn the_error_names_a_folder_that_is_closed_to_the_servers_user() {
    if !is_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let root = Root::new();
    fs::set_permissions(&root.0, fs::Permissions::from_mode(0o700)).unwrap();
    let client = root.join();
    assert!(client.output.contains("is closed to the user"), "{}", client.output);
    client.leave();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
