//! The payloads of all jobs. Their behaviour is in the crate `jobs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Job;

/// Generate the answer with this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerateAnswer {
    /// The pending assistant message.
    pub message_id: i64,
}

impl Job for GenerateAnswer {
    const QUEUE: &'static str = "generate-answer";
    const MAX_ATTEMPTS: u32 = 4;
    const TIMEOUT: Duration = Duration::from_secs(15 * 60);
    const ON_DEATH: Option<&'static str> = Some(BuryAnswer::QUEUE);

    fn key(&self) -> String {
        self.message_id.to_string()
    }
}

/// Close the answer with this id as failed: its job is dead. The same JSON as [`GenerateAnswer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuryAnswer {
    /// The assistant message nobody will finish.
    pub message_id: i64,
}

impl Job for BuryAnswer {
    const QUEUE: &'static str = "bury-answer";
    const MAX_ATTEMPTS: u32 = 25;
    const TIMEOUT: Duration = Duration::from_secs(30);

    fn key(&self) -> String {
        self.message_id.to_string()
    }
}
