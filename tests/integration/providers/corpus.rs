//! Every case of `tests/provider/corpus/`, through the whole of Cura.

use std::panic::AssertUnwindSafe;

use cura_tests::corpus;
use futures_util::{FutureExt, StreamExt, stream};

/// Cases that run at once: each has processes of its own.
const AT_ONCE: usize = 6;

/// With `CORPUS=part-of-a-name` only the cases of such a name.
#[tokio::test]
async fn what_providers_send_is_understood() {
    #[expect(clippy::disallowed_methods, reason = "a developer's choice of cases")]
    let chosen = std::env::var("CORPUS").unwrap_or_default();
    let cases = corpus::cases();
    let cases = cases.into_iter().filter(|(name, _)| name.contains(&chosen));
    let run = |(name, case)| async move {
        let wrong = AssertUnwindSafe(corpus::run(&case)).catch_unwind().await;
        let wrong = wrong.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
            vec![said.unwrap_or_else(|| "it panicked".to_owned())]
        });
        wrong
            .into_iter()
            .map(move |wrong| format!("{name}: {wrong}"))
            .collect::<Vec<_>>()
    };
    let wrong: Vec<Vec<String>> = stream::iter(cases).map(run).buffer_unordered(AT_ONCE).collect().await;
    assert!(!wrong.is_empty(), "no case is called like {chosen:?}");
    let mut wrong = wrong.concat();
    wrong.sort();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
