//! A child that misbehaves: confined as the real one, it tries what a parser would that was taken over. No part of the product.
//!
//! What it does is its own name, as of a link to it: the parent starts it as it starts the real one. What it is not ended by is
//! answered by an exit code of 0 without an answer.
#![expect(
    clippy::unwrap_used,
    reason = "what cannot be tried ends it, and its parent sees that"
)]

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cura_inspection::{Answer, MAX_ANSWER_BYTES, sandbox};
use rustix::process::{Pid, Signal, kill_process};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

fn main() {
    let own = std::env::args_os().next().unwrap();
    let behaviour = Path::new(&own).file_name().unwrap().to_str().unwrap().to_owned();
    match behaviour.as_str() {
        "sleep" => std::thread::sleep(Duration::from_secs(600)),
        "deaf" => std::process::exit(3),
        "without-seccomp" => without_seccomp(),
        "parent" => parent(),
        _ => confined(&behaviour),
    }
}

/// The process that has started this one, as it says itself.
fn started_by() -> u32 {
    std::env::args().nth(2).unwrap().parse().unwrap()
}

/// Starts a child from the program that is named, as a parent does, and waits until it ends.
fn parent() {
    let program = std::env::args_os().nth(1).unwrap();
    let mut child = cura_inspection::command(Path::new(&program));
    child.spawn().unwrap().wait().unwrap();
}

/// Enters the sandbox and does what is forbidden there.
fn confined(behaviour: &str) {
    sandbox::enter(started_by()).unwrap();
    let mut output = std::io::stdout().lock();
    match behaviour {
        "open" => drop(std::fs::read("/etc/passwd")),
        "create" => drop(std::fs::write("/tmp/sandbox-probe", "x")),
        "list" => drop(std::fs::read_dir("/")),
        "connect" => drop(std::net::TcpStream::connect("127.0.0.1:6379")),
        "listen" => drop(std::net::TcpListener::bind("127.0.0.1:0")),
        "exec" => drop(Command::new("/bin/true").exec()),
        "spawn" => drop(Command::new("/bin/true").spawn()),
        "thread" => drop(std::thread::Builder::new().spawn(|| ())),
        "kill" => {
            let parent = Pid::from_raw(started_by().try_into().unwrap()).unwrap();
            let _forbidden = kill_process(parent, Signal::TERM);
        }
        "memory" => drop(std::hint::black_box(vec![1_u8; 2 << 30])),
        "stack" => drop(std::hint::black_box(deeper(0))),
        "loop" => loop {
            std::hint::spin_loop();
        },
        // Waits without taking any time on a processor, which would end it.
        "wait" => loop {
            std::thread::park();
        },
        "panic" => panic!("as parsers do"),
        "read" => {
            let mut all = Vec::new();
            std::io::stdin().read_to_end(&mut all).unwrap();
        }
        "flood" => while output.write_all(&[0; 4096]).is_ok() {},
        "lie" => output.write_all(b"\x04\0\0\0nope").unwrap(),
        "deny" => deny(&mut output),
        "empty-pages" => empty_pages(&mut output),
        _ => {}
    }
}

/// Says that it is not confined, to keep its file from being judged; without a file it says the truth.
fn deny(output: &mut impl Write) {
    let mut request = String::new();
    std::io::stdin().read_line(&mut request).unwrap();
    let answer = if request.contains("probe") {
        Answer::Confined(sandbox::Landlock::Full)
    } else {
        Answer::NoSandbox("as if there were none".into())
    };
    answer.write(output).unwrap();
}

/// Answers with as many empty pages as an answer has bytes.
fn empty_pages(output: &mut impl Write) {
    let length = MAX_ANSWER_BYTES - 8 * 1024;
    let text = format!(r#"{{"length":{length},"page_count":null,"is_cut":false}}"#);
    let head = format!(r#"{{"inspected":{{"findings":[],"text":{text},"large":null,"small":null}}}}"#);
    output
        .write_all(&u32::try_from(head.len()).unwrap().to_le_bytes())
        .unwrap();
    output.write_all(head.as_bytes()).unwrap();
    output.write_all(&vec![0xc; length]).unwrap();
}

#[expect(unconditional_recursion, reason = "it is to run out of stack")]
fn deeper(depth: u64) -> u64 {
    let local = std::hint::black_box([depth; 64]);
    deeper(local[63] + 1) + local[0]
}

/// Becomes the real child, on a kernel that seems not to filter system calls.
fn without_seccomp() {
    let refuse = SeccompAction::Errno(libc::EINVAL.unsigned_abs());
    let calls = [(libc::SYS_seccomp, vec![])].into_iter().collect();
    let processor = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refuse, processor).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
    let worker = std::env::current_exe().unwrap().with_file_name("cura-worker");
    let error = Command::new(worker).args(std::env::args_os().skip(1)).exec();
    panic!("{error}");
}
