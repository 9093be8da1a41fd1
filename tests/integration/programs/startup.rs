//! Starting: settings, a database or a port that cannot be used stop the start and are named; logs are JSON in production.

use std::time::{Duration, Instant};

use cura_tests::{Cura, FcmServer, Program, PushService, TestDatabase, TestRedis, fcm_server};
use serde_json::Value;

/// What a program that must not start says in its only line, and how long it takes.
pub async fn refuses(program: &str, variables: &[(&str, String)]) -> String {
    let lines = refuses_in_lines(program, variables).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

/// The same, in one line for each wrong setting.
async fn refuses_in_lines(program: &str, variables: &[(&str, String)]) -> Vec<String> {
    let begun = Instant::now();
    let mut program = Program::start(program, &[], variables);
    let code = program.ended().await;
    // A program waits three seconds for the database; one that retried would not end at all.
    assert!(begun.elapsed() < Duration::from_secs(20), "after {:?}", begun.elapsed());
    assert_eq!(code, Some(1));
    let said = program.logs();
    // On a busy machine a connection that was long in coming is warned of.
    let slow = |line: &&str| line.contains("time to acquire exceeded slow threshold");
    let lines: Vec<&str> = said.lines().filter(|line| !slow(line)).collect();
    assert!(lines.iter().all(|line| line.contains("error: ")), "{said}");
    lines.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_wrong_setting_is_named_at_once() {
    let wrong = [
        ("ENVIRONMENT", "production"),
        ("SECRET_KEY", "hunter2"),
        ("DATABASE_URL", "mysql://cura:hunter2@127.0.0.1/cura"),
        ("DATABASE_DIRECT_URL", "postgres://a:hunter2@b,c/d"),
        ("REDIS_URL_FILE", "/nowhere/hunter2"),
        ("AI_MODEL_URL", "hunter2"),
        ("AI_FALLBACK_URL", "hunter2"),
        ("ALLOWED_ORIGINS", r#"["*"]"#),
        ("METRICS_PORT", "hunter2"),
        ("LOG_LEVEL", "hunter2=hunter2=hunter2"),
        ("SENTRY_DSN", "hunter2"),
        ("AI_PERSONA_FILE", "/nowhere/hunter2"),
        ("CARE_RULES_FILE", "/nowhere/hunter2"),
        ("FIREBASE_CREDENTIALS_PATH", "/nowhere/hunter2"),
        ("FCM_URL", "hunter2"),
        ("VAPID_PRIVATE_KEY", "hunter2"),
        ("VAPID_SUBJECT", "mailto:hunter2@localhost"),
        ("APP_LINK", "https://hunter2.example"),
        ("PUSH_TEXTS_FILE", "/nowhere/hunter2"),
        ("STORAGE_PROVIDER", "hunter2"),
        ("FILE_DELIVERY", "hunter2"),
        ("SUPABASE_URL", "hunter2"),
        ("S3_ENDPOINT", "hunter2"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    // Each program reads its own files.
    for (program, other) in [("cura-server", "AI_PERSONA_FILE"), ("cura-worker", "CARE_RULES_FILE")] {
        let lines = refuses_in_lines(program, &wrong).await;
        let mut named: Vec<&str> = lines.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
        named.sort_unstable();
        let mut expected: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
        expected.retain(|name| ![other, "ENVIRONMENT"].contains(name));
        expected.sort_unstable();
        assert_eq!(named, expected, "{lines:?}");
        assert!(!lines.concat().contains("hunter2"), "{lines:?}");
    }
}

#[tokio::test]
async fn secrets_are_read_from_files() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start());
    let folder = tempfile::tempdir().unwrap();
    let variables: Vec<(&str, String)> = [
        ("SECRET_KEY", "SECRET_KEY_FILE", "k".repeat(64)),
        ("DATABASE_URL", "DATABASE_URL_FILE", database.url()),
        ("REDIS_URL", "REDIS_URL_FILE", redis.url()),
        ("AI_MODEL_API_KEY", "AI_MODEL_API_KEY_FILE", "hunter2".to_owned()),
    ]
    .into_iter()
    .map(|(name, file, value)| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{value}\n")).unwrap();
        (file, path.to_str().unwrap().to_owned())
    })
    .chain([
        ("ENVIRONMENT", "production".to_owned()),
        ("AI_MODEL_URL", "http://127.0.0.1:1".to_owned()),
        ("PORT", "0".to_owned()),
    ])
    .collect();
    let server = Program::start("cura-server", &["--wait", "20"], &variables);
    server.wait_for_log("the server has started").await;
    let worker = Program::start("cura-worker", &["--wait", "20"], &variables);
    worker.wait_for_log("the worker has started").await;
    let both = [variables, vec![("REDIS_URL", redis.url())]].concat();
    let said = refuses("cura-worker", &both).await;
    assert!(
        said.starts_with("error: REDIS_URL and REDIS_URL_FILE are both set"),
        "{said}"
    );
}

#[tokio::test]
async fn a_key_file_that_is_none_of_a_service_account_stops_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let variables = [
        ("DATABASE_URL", "postgres://cura:hunter2@127.0.0.1:1/cura".to_owned()),
        ("REDIS_URL", "redis://127.0.0.1:1".to_owned()),
        ("FIREBASE_CREDENTIALS_PATH", path.clone()),
    ];
    let user = r#"{"type": "authorized_user", "client_secret": "hunter2", "project_id": "p"}"#;
    let half = r#"{"type": "service_account", "project_id": "p", "private_key": "hunter2", "client_email": "e", "token_uri": "u"}"#;
    for content in ["", "hunter2", user, half] {
        std::fs::write(&path, content).unwrap();
        for program in ["cura-server", "cura-worker"] {
            let said = refuses(program, &variables).await;
            let expected =
                "error: FIREBASE_CREDENTIALS_PATH names a file that is not the key file of a service account";
            assert_eq!(said, expected);
        }
    }
    // A real key, and nobody to ask for tokens.
    let mut key: Value = serde_json::from_str(&FcmServer::start().await.credentials()).unwrap();
    for bad in [
        "",
        "hunter2",
        "http://hunter2.example/token",
        "https://hunter2.example/to ken",
    ] {
        key["token_uri"] = bad.into();
        std::fs::write(&path, key.to_string()).unwrap();
        for program in ["cura-server", "cura-worker"] {
            let said = refuses(program, &variables).await;
            let expected =
                "error: FIREBASE_CREDENTIALS_PATH names a file that has a `token_uri` that is no https address";
            assert_eq!(said, expected, "{bad}");
        }
    }
}

#[tokio::test]
async fn without_a_push_service_push_is_off_and_with_one_it_is_not() {
    let service = PushService::start().await;
    let off = "push is off: neither FIREBASE_CREDENTIALS_PATH nor VAPID_PRIVATE_KEY is set";
    let without = Cura::start().await;
    without.servers[0].program.wait_for_log(off).await;
    without.workers[0].wait_for_log(off).await;
    let config = without.user().await.get("/devices/config").await.body;
    assert_eq!(config, serde_json::json!({ "fcm": null, "web_push": null }));
    let fcm = FcmServer::start().await;
    let with = Cura::builder().with_fcm(&fcm).with_push_service(&service).start().await;
    let config = with.user().await.get("/devices/config").await.body;
    let expected = serde_json::json!({
        "fcm": { "project_id": fcm_server::PROJECT },
        "web_push": { "public_key": service.key().public_text() },
    });
    assert_eq!(config, expected);
    assert!(!with.logs().contains("push is off"));
}

#[tokio::test]
async fn production_refuses_to_start_on_sand() {
    let good = [
        ("ENVIRONMENT", "production".to_owned()),
        ("SECRET_KEY", "k".repeat(64)),
        ("DATABASE_URL", "postgres://cura:hunter2@127.0.0.1:1/cura".to_owned()),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1".to_owned()),
        ("AI_MODEL_URL", "http://127.0.0.1:1".to_owned()),
        ("ALLOWED_ORIGINS", "[]".to_owned()),
    ];
    for (name, value) in [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "hunter2"),
        ("DATABASE_URL", ""),
        ("REDIS_URL", ""),
        ("AI_MODEL_URL", ""),
        ("ALLOWED_ORIGINS", r#"["*"]"#),
        ("DATABASE_URL", "postgres://cura:hunter2@127.0.0.1:1/cura"),
    ] {
        let mut variables = good.to_vec();
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value.to_owned()));
        for program in ["cura-server", "cura-worker"] {
            let said = refuses(program, &variables).await;
            assert!(said.starts_with(&format!("error: {name} ")), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[tokio::test]
async fn the_address_of_another_protocol_and_an_unknown_parameter_are_named() {
    let good = [
        ("DATABASE_URL", "postgres://cura:hunter2@127.0.0.1:1/cura".to_owned()),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1".to_owned()),
    ];
    for (name, value, cure) in [
        (
            "AI_MODEL_URL",
            "http://127.0.0.1:1/api/chat?key=hunter2",
            "set the base URL",
        ),
        (
            "AI_MODEL_URL",
            "http://127.0.0.1:1/v1/messages?key=hunter2",
            "set the provider to anthropic",
        ),
        ("AI_MODEL_URL", "127.0.0.1:1", "must begin with http"),
        ("AI_PARAMETERS_OFF", "hunter2", "stream_options, max_tokens"),
    ] {
        let mut variables = good.to_vec();
        variables.push((name, value.to_owned()));
        for program in ["cura-server", "cura-worker"] {
            let said = refuses(program, &variables).await;
            assert!(
                said.starts_with(&format!("error: {name} ")) && said.contains(cure),
                "{said}"
            );
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_database_without_migrations_or_a_redis_that_is_away_is_named() {
    let (database, mut redis) = (TestDatabase::empty().await, TestRedis::start());
    let variables = [
        ("DATABASE_URL", database.url()),
        ("REDIS_URL", redis.url()),
        ("PORT", "0".to_owned()),
    ];
    assert!(
        refuses("cura-server", &variables)
            .await
            .contains("cura-admin migrate up")
    );
    let ready = TestDatabase::create().await;
    redis.kill();
    let variables = [
        ("DATABASE_URL", ready.url()),
        ("REDIS_URL", redis.url()),
        ("PORT", "0".to_owned()),
    ];
    assert!(
        refuses("cura-worker", &variables)
            .await
            .starts_with("error: REDIS_URL ")
    );
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let cura = Cura::without_workers().await;
    let port = cura.servers[0].base.rsplit(':').next().unwrap().to_owned();
    let variables = [
        ("DATABASE_URL", cura.database.url()),
        ("REDIS_URL", cura.redis.url()),
        ("PORT", port),
    ];
    assert!(refuses("cura-server", &variables).await.starts_with("error: PORT "));
}

#[tokio::test]
async fn logs_are_json_outside_development() {
    let cura = Cura::builder()
        .workers(0)
        .with("ENVIRONMENT", "staging")
        .with("SECRET_KEY", "0123456789abcdef0123456789abcdef")
        .start()
        .await;
    cura.client().get("/health/live").await;
    // The answer may be here before the line is read.
    cura.servers[0].program.wait_for_log("/health/live").await;
    let said = cura.logs();
    let access = said.lines().find(|line| line.contains("/health/live")).unwrap();
    let line: Value = serde_json::from_str(access).unwrap();
    assert_eq!(
        (&line["route"], &line["status"], &line["method"]),
        (&"/health/live".into(), &200.into(), &"GET".into())
    );
    assert!(
        line["span"]["request_id"].is_string() || line["request_id"].is_string(),
        "{line}"
    );
}
