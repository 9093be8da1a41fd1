//! A small real model behind llama.cpp's server, which `deploy/install-model` downloads.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::program::Program;
use crate::redis::free_port;

/// SmolLM2 behind llama.cpp, in both dialects; killed when dropped.
pub struct ModelServer {
    program: Program,
    port: u16,
    context_tokens: u32,
}

impl ModelServer {
    /// Starts one whose conversations may have this many tokens.
    ///
    /// # Panics
    /// Unless `make test-model` has downloaded it.
    pub async fn start(context_tokens: u32) -> Self {
        let port = free_port();
        Self {
            program: launch(port, context_tokens).await,
            port,
            context_tokens,
        }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts it again on the same port.
    pub async fn restart(&mut self) {
        self.program.kill();
        self.program = launch(self.port, self.context_tokens).await;
    }

    /// How many answers it is generating.
    pub async fn generating(&self) -> usize {
        let url = format!("http://127.0.0.1:{}/slots", self.port);
        let slots: Value = reqwest::get(url)
            .await
            .expect("it answers")
            .json()
            .await
            .expect("its slots");
        let slots = slots.as_array().expect("a list");
        slots.iter().filter(|slot| slot["is_processing"] == true).count()
    }
}

async fn launch(port: u16, context_tokens: u32) -> Program {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder: PathBuf = tests.join("../target/model");
    assert!(
        folder.join(".installed").exists(),
        "the model is not there; run `make test-model`"
    );
    let mut command = Command::new("python3");
    command
        .arg(tests.join("provider/model/serve.py"))
        .arg(folder.canonicalize().expect("it exists"))
        .args([port.to_string(), context_tokens.to_string()]);
    let program = Program::start_command(&mut command, &[]);
    program.wait_for_log("the model is ready").await;
    program
}
