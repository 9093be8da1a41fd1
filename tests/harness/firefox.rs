//! Firefox without a window, driven by WebDriver BiDi (<https://w3c.github.io/webdriver-bidi/>).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::{FirefoxPushServer, Program};

/// The longest that a command may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// No name is looked up, so that nothing but this machine is asked for anything, and no page opens but ours. What remote
/// control recommends is left out: it turns pushes off.
const SETTINGS: &str = r#"
user_pref("network.dns.disabled", true);
user_pref("network.trr.mode", 5);
user_pref("browser.startup.page", 0);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("remote.prefs.recommended", false);
user_pref("dom.push.testing.allowInsecureServerURL", true);
user_pref("dom.push.testing.ignorePermission", true);
"#;

/// A running Firefox with one page; killed when dropped.
pub struct Firefox {
    // Dropped before its folder.
    program: Program,
    _folder: TempDir,
    session: WebSocketStream<MaybeTlsStream<TcpStream>>,
    commands: u64,
    page: Value,
}

impl Firefox {
    /// Where it is; `None` if this machine has none.
    pub fn installed() -> Option<PathBuf> {
        let folders = std::env::var_os("PATH")?;
        let folders = std::env::split_paths(&folders).collect::<Vec<_>>();
        ["firefox-esr", "firefox"]
            .into_iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
            .find(|path| path.is_file() && !is_of_snap(path))
    }

    /// Starts the program at `path`, whose push service is this one, with an empty page.
    pub async fn start(path: &Path, service: &FirefoxPushServer) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("cura-test-firefox-")
            .tempdir()
            .expect("a folder");
        let push_service = format!("user_pref(\"dom.push.serverURL\", {});\n", json!(service.url()));
        let settings = folder.path().join("user.js");
        std::fs::write(settings, format!("{SETTINGS}{push_service}")).expect("its settings");
        let mut command = Command::new(path);
        command
            .args(["--headless", "--no-remote", "--remote-debugging-port=0", "--profile"])
            .arg(folder.path());
        let home = folder.path().display().to_string();
        let program = Program::start_command(&mut command, &[("HOME", home)]);
        let address = program.wait_for_log("WebDriver BiDi listening on ").await;
        let connecting = tokio_tungstenite::connect_async(format!("{address}/session"));
        let (session, _) = tokio::time::timeout(LIMIT, connecting)
            .await
            .expect("Firefox answers")
            .expect("a session");
        let mut firefox = Self {
            program,
            _folder: folder,
            session,
            commands: 0,
            page: Value::Null,
        };
        firefox.command("session.new", json!({ "capabilities": {} })).await;
        let opened = firefox
            .command("browsingContext.create", json!({ "type": "tab" }))
            .await;
        firefox.page = opened["context"].clone();
        firefox
    }

    /// Goes to a page, and waits until it is loaded.
    pub async fn open(&mut self, url: &str) {
        let to = json!({ "context": self.page, "url": url, "wait": "complete" });
        self.command("browsingContext.navigate", to).await;
    }

    /// What an expression gives in the page, or the promise that it gives.
    ///
    /// # Panics
    /// If it throws.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({
            "expression": format!("(async () => JSON.stringify(await ({expression})))()"),
            "target": { "context": self.page },
            "awaitPromise": true,
        });
        let evaluated = self.command("script.evaluate", parameters).await;
        assert_eq!(
            evaluated["type"], "success",
            "{expression}: {}",
            evaluated["exceptionDetails"]
        );
        let text = evaluated["result"]["value"].as_str().unwrap_or("null");
        serde_json::from_str(text).expect("JSON")
    }

    /// What a command gives.
    async fn command(&mut self, method: &str, parameters: Value) -> Value {
        let answering = self.answer(method, parameters);
        let Ok(answer) = tokio::time::timeout(LIMIT, answering).await else {
            panic!("Firefox does not answer {method}: {}", self.program.logs());
        };
        assert_eq!(answer["type"], "success", "{method}: {answer}");
        answer["result"].clone()
    }

    async fn answer(&mut self, method: &str, parameters: Value) -> Value {
        self.commands += 1;
        let command = json!({ "id": self.commands, "method": method, "params": parameters });
        let sent = self.session.send(Message::text(command.to_string())).await;
        sent.expect("Firefox listens");
        loop {
            let message = self.session.next().await.expect("Firefox runs").expect("a message");
            let Message::Text(text) = message else { continue };
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == self.commands {
                return answer;
            }
        }
    }
}

/// One of a snap sees neither our folders nor our environment.
fn is_of_snap(path: &Path) -> bool {
    let is_link = path.canonicalize().is_ok_and(|path| path.ends_with("snap"));
    is_link || std::fs::read_to_string(path).is_ok_and(|script| script.contains("/snap/"))
}
