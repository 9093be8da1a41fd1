//! Devices, and what is pushed to them.

mod browser;
mod dismissal;
mod gone;
mod once;
mod prune;
mod push;
mod quiet;
mod register;
mod sessions;
mod test_notification;
mod verdicts;

use std::time::Duration;

use cura_tests::provider::Latch;
use cura_tests::{Client, Cura, CuraBuilder, FcmServer, Reply, ScriptedProvider, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

/// What answers say in these tests, and no push may say unless its person wants that.
pub(super) const ANSWER: [&str; 3] = ["# Sleep\n\nTry **magnesium**", " before", " bed."];

/// A Cura that pushes, and whose answers end when the latch is open.
pub(super) struct Pushing {
    pub(super) cura: Cura,
    pub(super) fcm: FcmServer,
    pub(super) latch: Latch,
    _provider: ScriptedProvider,
}

impl Pushing {
    pub(super) async fn start() -> Self {
        Self::start_with(|cura| cura).await
    }

    /// One with further settings.
    pub(super) async fn start_with(settings: impl FnOnce(CuraBuilder) -> CuraBuilder) -> Self {
        let fcm = FcmServer::start().await;
        let latch = Latch::default();
        let provider = ScriptedProvider::answering_until(&ANSWER, Duration::ZERO, &latch).await;
        let cura = settings(Cura::builder().with_provider(&provider).with_fcm(&fcm));
        let cura = cura.start().await;
        Self {
            cura,
            fcm,
            latch,
            _provider: provider,
        }
    }

    /// One whose answers end at once.
    pub(super) async fn answering() -> Self {
        let pushing = Self::start().await;
        pushing.latch.open();
        pushing
    }

    /// Asks, and lets the answer end while nobody watches. Returns the answer.
    pub(super) async fn ask(&self, user: &Client) -> Value {
        let answer = user.ask("How do I sleep better?").await;
        user.until_final(&answer).await
    }

    /// What was decided for an answer, once it is.
    pub(super) async fn decision(&self, answer: &Value) -> String {
        let sql = format!(
            "SELECT decision FROM pushes WHERE message_id = {} AND kind <> 'read'",
            answer["id"]
        );
        eventually("something is decided", async || {
            let decided = sqlx::query_scalar(AssertSqlSafe(sql.clone()));
            decided.fetch_optional(self.cura.database.pool()).await.unwrap()
        })
        .await
    }

    /// Waits until the job of an answer has looked, and waits for its last look.
    pub(super) async fn until_snoozed(&self, answer: &Value) {
        let sql = format!(
            "SELECT 1 FROM apalis.jobs WHERE job_type = 'send-push' AND idempotency_key = '{}' AND status = 'Pending'
             AND last_result IS NOT NULL",
            answer["id"]
        );
        eventually("the job has looked", async || {
            let waits = sqlx::query_scalar::<_, i32>(AssertSqlSafe(sql.clone()));
            waits.fetch_optional(self.cura.database.pool()).await.unwrap()
        })
        .await;
    }

    /// Waits until the job of an answer waits for its last look, and lets 90 seconds pass.
    pub(super) async fn let_last_look_come(&self, answer: &Value) {
        self.until_waiting(answer, 60).await;
        let pool = self.cura.database.pool();
        for moved in [
            format!(
                "UPDATE messages SET updated_at = updated_at - interval '90 s' WHERE id = {}",
                answer["id"]
            ),
            format!(
                "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'send-push' AND idempotency_key = '{}'",
                answer["id"]
            ),
        ] {
            sqlx::query(AssertSqlSafe(moved)).execute(pool).await.unwrap();
        }
    }

    /// Waits until the job of an answer waits for this many seconds at least.
    pub(super) async fn until_waiting(&self, answer: &Value, seconds: u32) {
        let sql = format!(
            "SELECT 1 FROM apalis.jobs WHERE job_type = 'send-push' AND idempotency_key = '{}' AND status = 'Pending'
             AND run_at > now() + interval '{seconds} s'",
            answer["id"]
        );
        eventually("the job waits", async || {
            let waits = sqlx::query_scalar::<_, i32>(AssertSqlSafe(sql.clone()));
            waits.fetch_optional(self.cura.database.pool()).await.unwrap()
        })
        .await;
    }

    /// Waits until no job pushes anything.
    pub(super) async fn until_done(&self) {
        let unfinished = "SELECT count(*) FROM apalis.jobs
                          WHERE job_type IN ('send-push', 'dismiss-push', 'send-test-push') AND status IN ('Pending', 'Running')";
        eventually("nothing is left to push", async || {
            (self.cura.database.count(unfinished).await == 0).then_some(())
        })
        .await;
    }

    pub(super) async fn sql(&self, statement: &'static str) {
        sqlx::query(statement).execute(self.cura.database.pool()).await.unwrap();
    }
}

/// Registers a phone with this token.
pub(super) async fn register(client: &Client, token: &str) -> Reply {
    let phone = json!({ "fcm_token": token, "platform": "android", "device_name": "phone" });
    client.post("/devices/register", &phone).await
}

/// The devices of a user, the one seen last first.
pub(super) async fn devices(client: &Client) -> Vec<Value> {
    let listed = client.get("/devices").await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    listed.body["items"].as_array().unwrap().clone()
}

pub(super) async fn remove(client: &Client, device: &Value) -> Reply {
    client
        .send(client.request(Method::DELETE, &format!("/devices/{device}")))
        .await
}
