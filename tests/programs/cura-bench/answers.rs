//! The AI service of the other parts, and answers of Cura when all of it is one process.

use std::time::{Duration, Instant};

use cura_tests::provider::{self, Step, finish};
use cura_tests::{Client, Program, ScriptedProvider};

use crate::measure::{at, ms, row};

pub const TOKEN_EVERY: Duration = Duration::from_millis(5);

/// Says `count` tokens this far apart, each of which says when it was sent.
pub async fn provider(count: usize, apart: Duration) -> ScriptedProvider {
    let token = [Step::Stamp(String::new()), Step::Pause(apart)];
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
