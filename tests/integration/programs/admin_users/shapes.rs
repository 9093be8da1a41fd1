//! What programs read: the shape of each command's JSON. `INSTA_UPDATE=always` writes the snapshots.

use cura_tests::{Cura, redacted};
use serde_json::{Value, json};

use super::super::admin::text;
use super::{run_beside, sql, text_of};

/// The values that differ and are no ids.
const TIMES: [&str; 7] = [
    "last_seen",
    "last_used_at",
    "last_active",
    "suspended_at",
    "erasing_since",
    "changed_at",
    "until",
];

fn without_times(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                *field = if TIMES.contains(&name.as_str()) && field.is_string() {
                    json!("[time]")
                } else {
                    without_times(field.take())
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_times(item.take())),
        _ => {}
    }
    value
}

#[tokio::test]
async fn each_command_has_a_stable_shape() {
    let cura = Cura::start().await;
    let ada = cura.client().register("ada@example.com").await;
    ada.send_message(&Value::Null, "magnesium").await;
    let device = json!({ "fcm_token": "a-token-of-a-phone", "platform": "ios", "device_name": "ada's phone" });
    assert_eq!(ada.post("/devices/register", &device).await.status, 201);
    let mut shapes = String::new();
    for command in [
        &["users", "create", "--email", "bob@example.com", "--admin"][..],
        &["users", "list", "--limit", "1"],
        &["users", "list", "--suspended"],
        &["users", "show", "ada@example.com"],
        &["users", "suspend", "ada@example.com", "--reason", "spam"],
        &["users", "restore", "ada@example.com"],
        &["users", "set-password", "ada@example.com"],
        &["users", "sign-out", "ada@example.com"],
        &["users", "promote", "ada@example.com"],
        &["users", "demote", "ada@example.com"],
        &["users", "demote", "bob@example.com"],
        &["users", "show", "99"],
        &["users", "verify-erased", "2"],
        &["users", "delete", "ada@example.com", "--yes"],
        &["users", "delete", "bob@example.com", "--yes", "--wait"],
        &["users", "verify-erased", "2"],
        &["switch"],
        &["switch", "uploads", "off", "--reason", "the disk is full"],
        &["switch"],
        &[
            "announce",
            "--title",
            "Maintenance",
            "--text",
            "Tonight.",
            "--until",
            "2h",
        ],
        &["announce", "list"],
        &["announce", "end", "1"],
        &["announce", "end", "77"],
        &["announce", "--title", "x", "--text", "x", "--until", "2020-01-01"],
    ] {
        let output = run_beside(&cura, &[command, &["--json"]].concat());
        shapes.push_str(&format!(
            "> {} → {}\n",
            command.join(" "),
            output.status.code().unwrap()
        ));
        for said in [&output.stdout, &output.stderr] {
            for line in text(said).lines() {
                let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{command:?}: {line}"));
                let line = redacted(&without_times(value).to_string());
                shapes.push_str(&line.replace(&cura.data.path().display().to_string(), "[folder]"));
                shapes.push('\n');
            }
        }
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("admin_users", shapes.trim_end());
    });
}

#[tokio::test]
async fn what_people_read_of_a_user_has_no_word_of_theirs() {
    let cura = Cura::start().await;
    let ada = cura.client().register("ada@example.com").await;
    ada.send_message(&Value::Null, "magnesium").await;
    sql(&cura.database, "UPDATE conversations SET title = 'hunter2'").await;
    let device = json!({ "fcm_token": "a-token-of-a-phone", "platform": "ios", "device_name": "ada's phone" });
    assert_eq!(ada.post("/devices/register", &device).await.status, 201);
    let run = |arguments: &[&str]| run_beside(&cura, arguments);
    let read = text_of(run, &["users", "show", "ada@example.com"]);
    for part in [
        "ada@example.com",
        "conversations  1",
        "messages       2",
        "sessions\n",
        "devices\n",
        "ios",
        "no limit",
    ] {
        assert!(read.contains(part), "{part}: {read}");
    }
    assert!(!read.contains("a-token"), "{read}");
    assert!(!cura.logs().contains("ada@"));
}
