//! `kill -9` of a restore at each of its steps: it can be run again, and then everything is there.

use cura_tests::{Cura, Program, eventually};

use super::{Place, assert_fails, back_up, beside, json_of, sql};

/// What a restore does, as Postgres names it, and whether it has begun by then: while its first transaction empties the database and says so,
/// while `pg_restore` fills it, and as the last thing of the transaction that makes it safe.
const STEPS: [(&str, bool); 7] = [
    ("CREATE SCHEMA", false),
    ("CREATE TABLE", false),
    ("CREATE FUNCTION", true),
    ("CREATE INDEX", true),
    ("ALTER TABLE", true),
    ("CREATE TRIGGER", true),
    ("DROP SCHEMA", true),
];
/// The advisory lock that holds a step. Any number.
const HOLD: &str = "4711";

#[tokio::test]
async fn killed_at_any_step_it_can_be_run_again() {
    let cura = Cura::start().await;
    let ann = cura.client().register("ann@example.com").await;
    ann.send_message(&serde_json::Value::Null, "magnesium").await;
    cura.check_invariants().await;
    let folder = tempfile::tempdir().unwrap();
    let file = back_up(&cura, &folder, "a.tar");
    let rows = json_of(&beside(&cura), &["backup", "verify", &file])["rows"].clone();
    for (step, has_begun) in STEPS {
        let place = Place::empty().await;
        // Each such statement waits for a lock.
        sql(&place.database, "CREATE SCHEMA held").await;
        let function = format!(
            "CREATE FUNCTION held.hold() RETURNS event_trigger LANGUAGE plpgsql
             AS 'BEGIN
                     -- What is dropped at first is not the last step.
                     IF tg_tag <> ''DROP SCHEMA'' OR to_regclass(''public.messages'') IS NOT NULL THEN
                         PERFORM pg_advisory_lock_shared({HOLD});
                         PERFORM pg_advisory_unlock_shared({HOLD});
                     END IF;
                 END'"
        );
        sql(&place.database, &function).await;
        sql(&place.database, "GRANT USAGE ON SCHEMA held TO PUBLIC").await;
        let trigger = format!(
            "CREATE EVENT TRIGGER held ON ddl_command_start WHEN TAG IN ('{step}') EXECUTE FUNCTION held.hold()"
        );
        sql(&place.database, &trigger).await;
        let mut holder = place.database.pool().acquire().await.unwrap();
        let lock = sqlx::AssertSqlSafe(format!("SELECT pg_advisory_lock({HOLD})"));
        sqlx::query(lock).execute(&mut *holder).await.unwrap();

        let variables = place.variables();
        let restore = ["restore", "--input", &file, "--yes"];
        let mut killed = Program::start("cura-admin", &restore, &variables);
        place.database.wait_for_lock_waiter().await;
        killed.kill();
        if has_begun {
            assert_fails(&variables, &["users", "list"], 1, "restore_unfinished");
        }
        let unlock = sqlx::AssertSqlSafe(format!("SELECT pg_advisory_unlock({HOLD})"));
        sqlx::query(unlock).execute(&mut *holder).await.unwrap();
        holder.close().await.unwrap();
        eventually("its sessions have ended", async || {
            let left = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND application_name IN ('cura-admin', 'pg_restore')";
            (place.database.count(left).await == 0).then_some(())
        })
        .await;
        let restored = json_of(&variables, &restore);
        assert_eq!(restored["rows"], rows, "killed at {step}");
        assert_eq!(place.database.count("SELECT count(*) FROM users").await, 1);
        assert_eq!(place.database.count("SELECT count(*) FROM paused_queues").await, 17);
        let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'cura_restore'";
        assert_eq!(place.database.count(schema).await, 0);
        json_of(&variables, &["users", "list"]);
    }
}
