//! Devices that nobody uses any more fall silent, and go in the end.

use cura_tests::{Cura, eventually};
use serde_json::json;

use super::{devices, register};

#[tokio::test]
async fn a_device_falls_silent_when_it_was_not_seen_for_long_and_goes_later() {
    let mut cura = Cura::without_workers().await;
    let user = cura.user().await;
    for name in ["seen", "unseen", "silent", "gone", "just-gone"] {
        register(&user, name).await;
    }
    for (id, change) in [
        (1, "last_active = now() - interval '29 days'"),
        (2, "last_active = now() - interval '31 days'"),
        (
            3,
            "is_active = false, inactive_reason = 'unseen', inactive_since = now() - interval '91 days'",
        ),
        (4, "removed_at = now() - interval '11 minutes'"),
        (5, "removed_at = now()"),
    ] {
        let aged = format!("UPDATE devices SET {change} WHERE id = {id}");
        sqlx::query(sqlx::AssertSqlSafe(aged))
            .execute(cura.database.pool())
            .await
            .unwrap();
    }
    cura.add_worker().await;
    eventually("what is old is pruned", async || {
        let listed = devices(&user).await;
        let shown: Vec<_> = listed
            .iter()
            .map(|device| (&device["id"], &device["is_active"]))
            .collect();
        (shown == [(&json!(1), &json!(true)), (&json!(2), &json!(false))]).then_some(())
    })
    .await;
    // It can be taken back for a while.
    assert_eq!(
        cura.database.count("SELECT count(*) FROM devices WHERE id = 5").await,
        1
    );
    assert_eq!(register(&user, "just-gone").await.status, 200);
    assert_eq!(devices(&user).await.len(), 3);
}
