//! What programs read: the shape of each command's JSON. `INSTA_UPDATE=always` writes the snapshots.

use cura_tests::Cura;
use serde_json::{Value, json};

use super::super::admin::text;
use super::{Place, beside, run_with};

/// The values that differ.
const VARYING: [&str; 5] = ["taken_at", "size", "rows", "version", "tables"];

fn without_varying(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        for (name, field) in fields.iter_mut() {
            // A question names the database.
            let is_question = field.as_str().is_some_and(|text| text.starts_with("this restores"));
            *field = if VARYING.contains(&name.as_str()) || is_question {
                json!(format!("[{name}]"))
            } else {
                without_varying(field.take())
            };
        }
    }
    value
}

#[tokio::test]
async fn each_command_has_a_stable_shape() {
    let cura = Cura::builder().servers(0).workers(0).start().await;
    let place = Place::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar").display().to_string();
    let mut shapes = String::new();
    let (ours, empty) = (beside(&cura), place.variables());
    for (variables, command) in [
        (&ours, &["backup", "--output", &file][..]),
        (&ours, &["backup", "--output", &file]),
        (&ours, &["backup"]),
        (&ours, &["backup", "verify", &file]),
        (&ours, &["backup", "verify", "/dev/null"]),
        (&ours, &["restore", "--input", &file, "--yes"]),
        (&empty, &["restore", "--input", &file]),
        (&empty, &["restore", "--input", &file, "--yes"]),
    ] {
        let output = run_with(variables, &[command, &["--json"]].concat());
        let line = format!("> {} → {}\n", command.join(" "), output.status.code().unwrap());
        shapes.push_str(&line.replace(&folder.path().display().to_string(), "[folder]"));
        for said in [&output.stdout, &output.stderr] {
            for line in text(said).lines() {
                let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{command:?}: {line}"));
                shapes.push_str(&format!("{}\n", without_varying(value)));
            }
        }
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("admin_backup", shapes.trim_end());
    });
}
