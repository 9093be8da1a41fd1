//! Answers, one at a time and many at once, each on the stream of its user.

use std::time::{Duration, Instant};

use cura_tests::provider::{self, Step, finish};
use cura_tests::{Client, Cura, Program, ScriptedProvider};

use crate::measure::{at, cpu, memory, ms, row};

pub const TOKEN_EVERY: Duration = Duration::from_millis(5);
/// How many people ask.
const PEOPLE: usize = 50;
/// How long it takes until everybody has asked.
const ALL_WITHIN: Duration = Duration::from_millis(500);

/// Says `count` tokens this far apart, each of which says when it was sent.
pub async fn provider(count: usize, apart: Duration) -> ScriptedProvider {
    let token = [Step::Stamp, Step::Pause(apart)];
    let mut steps = vec![Step::Head];
    steps.extend(token.iter().cycle().take(token.len() * count).cloned());
    steps.extend(finish(count));
    ScriptedProvider::start(move |_, _| steps.clone()).await
}

/// What stands between two marks of a frame, which holds nothing that JSON would escape.
pub fn between<'a>(frame: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = frame.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

/// How late each token of `text` is at this moment.
pub fn lateness(text: &str) -> impl Iterator<Item = Duration> {
    let now = provider::now();
    text.split_whitespace()
        .map(move |sent| now.saturating_sub(Duration::from_micros(sent.parse().unwrap())))
}

/// From the request to the first chunk, one stream at a time. The provider says its first token at once, and the time it
/// takes to do so is in it.
async fn first_tokens(client: &Client) -> Vec<Duration> {
    let mut all = Vec::new();
    for n in 0..220 {
        let begun = Instant::now();
        let mut stream = client.stream("Hi").await;
        stream.until("chunk").await;
        // The first ones warm caches and connections.
        if n >= 20 {
            all.push(begun.elapsed());
        }
        stream.rest().await;
    }
    all.sort();
    all
}

pub async fn first_token_across_processes() {
    let provider = provider(3, TOKEN_EVERY).await;
    let cura = Cura::with_provider(&provider).await;
    let all = first_tokens(&cura.user().await).await;
    let measured = format!("{} (p99 {})", ms(at(&all, 50)), ms(at(&all, 99)));
    row(
        "time to first token, server + worker + Redis, one stream, median",
        "≤ 10 ms",
        &measured,
    );
}

pub async fn first_token_all_in_one() {
    let provider = provider(3, TOKEN_EVERY).await;
    let data = format!("/tmp/cura-bench-{}", std::process::id());
    let variables = [
        ("DATA_DIR", data.clone()),
        ("PORT", "0".to_owned()),
        ("AI_MODEL_URL", provider.url()),
        ("LOG_LEVEL", "warn".to_owned()),
        ("RATE_LIMIT_CHAT", "0".to_owned()),
        ("RATE_LIMIT_DEFAULT", "0".to_owned()),
    ];
    let mut dev = Program::start("cura-server", &["dev"], &variables);
    let base = format!("http://{}", dev.wait_for_log("API      http://").await.trim());
    let client = Client::new(&base).register("bench@example.com").await;
    let all = first_tokens(&client).await;
    let measured = format!("{} (p99 {})", ms(at(&all, 50)), ms(at(&all, 99)));
    row(
        "time to first token, all in one process, one stream, median",
        "≤ 6 ms",
        &measured,
    );
    dev.signal("TERM");
    dev.ended().await;
    let _ = std::fs::remove_dir_all(data);
}

pub async fn many_streams(streams: usize) {
    let count = 100;
    let provider = provider(count, TOKEN_EVERY).await;
    let mut builder = Cura::builder()
        .with_provider(&provider)
        .with("LOG_LEVEL", "warn,cura_bin=info")
        .with("MAX_CONNECTIONS_PER_ADDRESS", "0");
    builder = builder
        .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "1100")
        .with("DATABASE_POOL_SIZE", "10");
    let cura = builder.start().await;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(cura.client().register(&format!("person{n}@example.com")).await);
    }
    // The first ones open connections to Postgres and to the provider.
    let warm = people
        .iter()
        .map(|person| async { person.stream("Hi").await.rest().await });
    futures_util::future::join_all(warm).await;
    let begun = Instant::now();
    let runs = (0..streams).map(|n| {
        let client = people[n % PEOPLE].clone();
        async move {
            // People do not all press the key in the same millisecond; within half a second, which is how long the
            // provider speaks, so that at its end all of them are being answered.
            tokio::time::sleep(ALL_WITHIN * u32::try_from(n).unwrap() / u32::try_from(streams).unwrap()).await;
            let mut stream = client.stream("Hi").await;
            let (mut text, mut late) = (String::new(), Vec::with_capacity(count));
            let mut right = false;
            while let Some(frame) = stream.next_frame().await {
                // The load shares the cores with what it measures: it reads no more than it must.
                if frame.starts_with("event: chunk") {
                    let content = between(&frame, "\"content\":\"", "\"");
                    let offset: usize = between(&frame, "\"offset\":", ",").parse().unwrap();
                    assert_eq!(offset, text.len(), "a gap or a repetition");
                    late.extend(lateness(content));
                    text.push_str(content);
                } else if frame.starts_with("event: complete") {
                    right = late.len() == count && between(&frame, "\"content\":\"", "\"") == text;
                }
            }
            (right, late)
        }
    });
    let done = futures_util::future::join_all(runs).await;
    let took = begun.elapsed();
    let wrong = done.iter().filter(|(right, _)| !right).count();
    if wrong > 0 {
        println!(
            "{} asked, {} open\n{}",
            provider.requests().len(),
            provider.open_connections(),
            cura.logs()
        );
    }
    let mut late: Vec<Duration> = done.into_iter().flat_map(|(_, late)| late).collect();
    late.sort();
    let rss = |program: &Program| memory(program.pid(), "VmHWM") / 1024;
    let used = [cura.servers[0].program.pid(), cura.workers[0].pid(), std::process::id()].map(cpu);
    let [server, worker, bench] = used.map(|used| used.as_millis());
    let measured = format!(
        "{wrong} wrong; added latency p50 {}, p95 {}, p99 {}; {:.1} s in all; peak memory server {} MiB, worker {} MiB; \
         processor time server {server} ms, worker {worker} ms, clients and AI service {bench} ms",
        ms(at(&late, 50)),
        ms(at(&late, 95)),
        ms(at(&late, 99)),
        took.as_secs_f64(),
        rss(&cura.servers[0].program),
        rss(&cura.workers[0]),
    );
    let target = if streams == 200 {
        "0 wrong, p95 ≤ 50 ms"
    } else {
        "0 wrong"
    };
    row(
        &format!("{streams} streams of {count} tokens, 5 ms apart"),
        target,
        &measured,
    );
}
