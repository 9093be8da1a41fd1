//! `cura-admin usage`: tokens by day, model and user, and what they cost.

use std::process::Output;

use cura_tests::TestDatabase;
use serde_json::{Value, json};

use super::admin::{admin, text};
use super::admin_devices::assert_fails;

const PRICES: &str =
    r#"{"currency": "USD", "large": {"input": 3, "output": 15}, "small": {"input": 0.1, "output": 0.5}}"#;

/// Ada (1) has used two models on two days, Bob (2) one whose price nobody knows, and long ago another one.
async fn with_usage() -> TestDatabase {
    let database = TestDatabase::create().await;
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at)
         VALUES ('ada@example.com', 'x', now(), now()), ('bob@example.com', 'x', now(), now())",
        "INSERT INTO usage_days (user_id, day, model, messages, input_tokens, output_tokens)
         VALUES (1, (now() AT TIME ZONE 'UTC')::date, 'large', 2, 1000000, 200000),
                (1, (now() AT TIME ZONE 'UTC')::date, 'small', 1, 500000, 100000),
                (1, (now() AT TIME ZONE 'UTC')::date - 3, 'small', 4, 1000000, 0),
                (2, (now() AT TIME ZONE 'UTC')::date - 3, 'local, \"mine\"', 9, 10, 5),
                (2, (now() AT TIME ZONE 'UTC')::date - 40, 'large', 7, 9000000, 9000000)",
    ] {
        sqlx::query(fill).execute(database.pool()).await.unwrap();
    }
    database
}

fn run(database: &TestDatabase, arguments: &[&str]) -> Output {
    let variables = [("DATABASE_URL", database.url()), ("AI_PRICES", PRICES.to_owned())];
    admin(&[&["usage"], arguments].concat(), &variables)
}

fn json_of(database: &TestDatabase, arguments: &[&str]) -> Value {
    let output = run(database, &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn tokens_are_summed_by_model_user_and_day_and_an_unknown_price_is_not_zero() {
    let database = with_usage().await;
    let models = json_of(&database, &["--by", "model"]);
    let expected = json!([
        { "model": "small", "messages": 5, "input_tokens": 1_500_000, "output_tokens": 100_000, "total_tokens": 1_600_000, "cost": 0.2 },
        { "model": "large", "messages": 2, "input_tokens": 1_000_000, "output_tokens": 200_000, "total_tokens": 1_200_000, "cost": 6.0 },
        { "model": "local, \"mine\"", "messages": 9, "input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "cost": null },
    ]);
    assert_eq!(models["items"], expected);
    assert_eq!(
        (&models["currency"], &models["next_cursor"]),
        (&json!("USD"), &Value::Null)
    );
    assert_eq!(
        (&models["total"]["messages"], &models["total"]["cost"]),
        (&json!(16), &Value::Null)
    );

    let users = json_of(&database, &["--by", "user"]);
    let of = |n: usize| {
        (
            &users["items"][n]["user_id"],
            &users["items"][n]["total_tokens"],
            &users["items"][n]["cost"],
        )
    };
    assert_eq!(of(0), (&json!(1), &json!(2_800_000), &json!(6.2)));
    assert_eq!(of(1), (&json!(2), &json!(15), &Value::Null));
    assert_eq!(
        json_of(&database, &["--by", "user", "--top", "1"])["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let days = json_of(&database, &[]);
    let costs: Vec<&Value> = days["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| &day["cost"])
        .collect();
    assert_eq!(
        costs,
        [&json!(6.1), &Value::Null],
        "a day with a model of no known price has no cost"
    );
    assert_eq!(json_of(&database, &["--top", "1"])["total"]["total_tokens"], 2_800_015);
    // Before the last thirty days only if asked for.
    let all = json_of(&database, &["--by", "model", "--since", "2020-01-01"]);
    assert_eq!(
        (&all["items"][0]["model"], &all["items"][0]["messages"]),
        (&json!("large"), &json!(9))
    );
}

#[tokio::test]
async fn a_spreadsheet_can_read_it_and_a_person_too() {
    let database = with_usage().await;
    let csv = text(&run(&database, &["--by", "model", "--csv"]).stdout);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "model,messages,input_tokens,output_tokens,total_tokens,cost,currency"
    );
    assert_eq!(lines[1], "small,5,1500000,100000,1600000,0.2,USD");
    assert_eq!(lines[3], "\"local, \"\"mine\"\"\",9,10,5,15,,USD");
    let read = text(&run(&database, &["--by", "user"]).stdout);
    assert!(
        read.contains("COST USD") && read.contains("6.2000") && read.contains('–'),
        "{read}"
    );
    let without_prices = admin(&["usage", "--json"], &[("DATABASE_URL", database.url())]);
    let without_prices: Value = serde_json::from_slice(&without_prices.stdout).unwrap();
    assert_eq!(
        (&without_prices["currency"], &without_prices["total"]["cost"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused() {
    let database = with_usage().await;
    let run = |arguments: &[&str]| run(&database, arguments);
    for wrong in [&["--by", "hour"][..], &["--top", "0"], &["--since", "yesterday"]] {
        assert_fails(run, wrong, 2, "usage");
    }
    assert_eq!(run(&["--csv", "--json"]).status.code(), Some(2));
    let wrong_prices = |arguments: &[&str]| {
        let variables = [("DATABASE_URL", database.url()), ("AI_PRICES", "free".to_owned())];
        admin(&[&["usage"], arguments].concat(), &variables)
    };
    let said = assert_fails(wrong_prices, &[], 1, "setting");
    assert!(said["detail"].as_str().unwrap().starts_with("AI_PRICES"), "{said}");
    let away = |arguments: &[&str]| {
        let variables = [("DATABASE_URL", "postgres://127.0.0.1:1/cura".to_owned())];
        admin(&[&["usage"], arguments].concat(), &variables)
    };
    assert_fails(away, &[], 5, "database_away");
}
