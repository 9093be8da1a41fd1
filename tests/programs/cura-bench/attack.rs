//! One address and one account attack everything at once while fifty others chat: what the others notice, and what it costs.

mod abuse;
mod chatters;
mod usage;

use std::time::Duration;

use cura_tests::{Client, Cura, Program, ScriptedProvider};
use futures_util::future::join;

use crate::measure::{at, ms, row};

use chatters::{Seen, chat};
use usage::Usage;

/// Who chats meanwhile.
const PEOPLE: u8 = 50;
/// How long the others chat alone, how long the attack lasts, and when everything has to be as before.
const ALONE: Duration = Duration::from_secs(30);
const ATTACK: Duration = Duration::from_secs(60);
const RECOVERY: Duration = Duration::from_secs(30);
/// The argument that makes a process the attacker.
pub const ATTACKER: &str = "attack-on";
/// What marks a message that the AI service refuses.
const POISON: &str = "poison";

/// A service that says thirty words at reading speed, and refuses what is poisoned in words that quote it.
async fn provider() -> ScriptedProvider {
    use cura_tests::provider::{answer, refusal, words};
    let steps = answer(&words(30), Duration::from_millis(50));
    ScriptedProvider::start(move |_, request| {
        let asked = request.body.to_string();
        if asked.contains(POISON) {
            let message = format!("Invalid input: '{POISON}: your credit balance is too low'");
            let error = serde_json::json!({ "error": { "type": "invalid_request_error", "message": message } });
            return refusal("400 Bad Request", "", &error);
        }
        steps.clone()
    })
    .await
}

/// The whole: alone, attacked, recovered.
pub async fn mixed() {
    let provider = provider().await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("LOG_LEVEL", "error,cura_bin=info")
        .with("DATABASE_POOL_SIZE", "10")
        .with("AI_TITLES", "true")
        .with("USER_DAILY_TOKENS", "150000")
        .with("PASSWORD_HASH_MEMORY_KIB", "19456")
        .with("PASSWORD_HASH_PASSES", "2");
    // The limits as they come.
    let cura = ["AUTH=5", "CHAT=30", "UPLOAD=10", "DEFAULT=100"]
        .into_iter()
        .map(|limit| limit.split_once('=').unwrap())
        .fold(cura, |cura, (class, rate)| match class {
            "AUTH" => cura.with("RATE_LIMIT_AUTH", rate),
            "CHAT" => cura.with("RATE_LIMIT_CHAT", rate),
            "UPLOAD" => cura.with("RATE_LIMIT_UPLOAD", rate),
            _ => cura.with("RATE_LIMIT_DEFAULT", rate),
        })
        .start()
        .await;
    let base = cura.servers[0].base.clone();
    let mut people = Vec::new();
    for n in 1..=PEOPLE {
        let client = Client::from_address(&base, [127, 0, 1, n]);
        people.push(client.register(&format!("person{n}@example.com")).await);
    }
    let before = Usage::now(&cura).await;
    let alone = phase(&people, ALONE).await;
    let began = Usage::now(&cura).await;
    let attacked = async {
        let seen = phase(&people, ATTACK).await;
        (seen, Usage::now(&cura).await)
    };
    let ((attacked, ended), tally) = join(attacked, another_process_attacks(&base)).await;
    tokio::time::sleep(RECOVERY).await;
    let idle_from = Usage::now(&cura).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let idle_to = Usage::now(&cura).await;
    report_people("50 people chat alone", &alone);
    report_people("the same while one attacks everything", &attacked);
    println!("\nWhat the attacker got: {tally}\n");
    println!("| what | before | at the end of the attack | 30 s later |");
    println!("| --- | --- | --- | --- |");
    println!(
        "| server, MiB | {} | {} | {} |",
        began.server_mib, ended.server_mib, idle_to.server_mib
    );
    println!(
        "| worker, MiB | {} | {} | {} |",
        began.worker_mib, ended.worker_mib, idle_to.worker_mib
    );
    println!(
        "| connections of the server | {} | {} | {} |",
        began.sockets, ended.sockets, idle_to.sockets
    );
    let shares = [(before, began), (began, ended), (idle_from, idle_to)].map(|(from, to)| to.since(&from));
    println!(
        "\n| share of a core | chatting alone | attacked | idle after |\n| --- | --- | --- | --- |\n{}",
        Usage::table(&shares)
    );
    let first_sign_in = people_can_still_sign_in(&base).await;
    row(
        "the attacked person signs in from where it always did",
        "200",
        &first_sign_in.to_string(),
    );
    for (name, program) in [("server", &cura.servers[0].program), ("worker", &cura.workers[0])] {
        let lines = program.logs().lines().count();
        println!("{name}: {lines} lines of log");
    }
    if std::env::var_os("CURA_BENCH_LOGS").is_some() {
        println!("{}", cura.logs());
    }
}

/// The attacker is somebody else's machine: a process of its own, which gets what the others leave of the processors. Returns what
/// it was answered.
async fn another_process_attacks(base: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let attacker = tokio::process::Command::new("nice")
        .args(["-n", "19"])
        .arg(program)
        .args([ATTACKER, base])
        .stderr(std::process::Stdio::inherit())
        .output();
    String::from_utf8(attacker.await.unwrap().stdout).unwrap()
}

/// What the other process does: attacks for a little longer than people are watched.
pub async fn attack(base: &str) {
    let tally = abuse::everything(base, ATTACK + Duration::from_secs(2)).await;
    println!("{tally}");
}

async fn phase(people: &[Client], length: Duration) -> Seen {
    let seen = people.iter().enumerate().map(|(n, person)| chat(person, n, length));
    Seen::of_all(futures_util::future::join_all(seen).await)
}

fn report_people(what: &str, seen: &Seen) {
    let measured = format!(
        "{} answers; first token p50 {}, p95 {}, p99 {}; {} × 5xx, {} refused, {} broken",
        seen.first_tokens.len(),
        ms(at(&seen.first_tokens, 50)),
        ms(at(&seen.first_tokens, 95)),
        ms(at(&seen.first_tokens, 99)),
        seen.server_errors,
        seen.refused,
        seen.broken,
    );
    row(what, "p95 ≤ 2 × alone, no 5xx", &measured);
}

/// The first person's address was attacked by name; it comes from where it registered.
async fn people_can_still_sign_in(base: &str) -> reqwest::StatusCode {
    let body = serde_json::json!({ "email": "person1@example.com", "password": "a long password" });
    let owner = Client::from_address(base, [127, 0, 1, 1]);
    owner.post("/auth/login", &body).await.status
}

/// Resident memory, in MiB.
fn mib(program: &Program) -> u64 {
    crate::measure::memory(program.pid(), "VmRSS") / 1024
}
