//! Registering, signing in, refreshing and signing out.

use cura_bin::wiring;
use cura_tests::{Client, Cura};
use serde_json::json;

#[tokio::test]
async fn an_account_is_made_and_signed_in() {
    let cura = Cura::without_workers().await;
    let body = json!({ "email": "Ann@Example.com", "password": "a long password", "name": " Ann " });
    let made = cura.client().post("/auth/register", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["token_type"], "bearer");
    assert_eq!(made.body["expires_in"], 1800);
    let ann = cura.client().with_token(&made.body["access_token"]);
    let me = ann.get("/users/me").await;
    assert_eq!(me.status, 200);
    assert_eq!(
        (&me.body["email"], &me.body["name"]),
        (&json!("ann@example.com"), &json!("Ann"))
    );
    assert!(!me.body.to_string().contains("password"));
}

#[tokio::test]
async fn an_address_is_taken_once_whatever_its_case() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let body = json!({ "email": "ANN@example.com", "password": "another password" });
    let again = cura.client().post("/auth/register", &body).await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "email_taken"));
}

#[tokio::test]
async fn an_address_of_any_script_is_an_account_that_every_spelling_finds() {
    let cura = Cura::without_workers().await;
    let password = "a long password";
    for (registered, spelled, stored) in [
        (
            "İsmail@Example.com",
            "I\u{307}SMAIL@example.COM",
            "i\u{307}smail@example.com",
        ),
        ("ismail@example.com", "ISMAIL@example.com", "ismail@example.com"),
        ("हिन्दी@example.com", "हिन्दी@EXAMPLE.com", "हिन्दी@example.com"),
        (
            "jürgen@bücher.example",
            "JU\u{308}RGEN@BU\u{308}CHER.example",
            "jürgen@xn--bcher-kva.example",
        ),
    ] {
        let body = json!({ "email": registered, "password": password });
        let made = cura.client().post("/auth/register", &body).await;
        assert_eq!(made.status, 201, "{registered}: {}", made.body);
        assert_eq!(made.body["user"]["email"], stored);
        for spelling in [registered, spelled, stored] {
            let body = json!({ "email": spelling, "password": password });
            let found = cura.client().post("/auth/login", &body).await;
            assert_eq!(found.body["user"]["id"], made.body["user"]["id"], "{spelling}");
            assert_eq!(cura.client().post("/auth/register", &body).await.code(), "email_taken");
        }
    }
}

#[tokio::test]
async fn the_names_of_devices_and_titles_have_255_characters_and_those_of_people_100() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let login = async |device: String| {
        let body = json!({ "email": "ann@example.com", "password": "a long password", "device_name": device });
        cura.client().post("/auth/login", &body).await.status.as_u16()
    };
    assert_eq!(
        (login("👋".repeat(255)).await, login("x".repeat(256)).await),
        (200, 422)
    );
    let listed = ann.get("/auth/sessions").await.body;
    let mut names = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["device_name"].clone());
    assert!(names.any(|name| name == "👋".repeat(255)));
    let title = async |title: String| ann.post("/conversations", &json!({ "title": title })).await;
    let long = title("नि".repeat(127) + "x").await;
    assert_eq!(
        (long.status.as_u16(), &long.body["title"]),
        (201, &json!("नि".repeat(127) + "x"))
    );
    assert_eq!(title("x".repeat(256)).await.status, 422);
    let name = async |name: String| {
        let patch = ann.request(reqwest::Method::PATCH, "/users/me");
        ann.send(patch.json(&json!({ "name": name }))).await.status.as_u16()
    };
    assert_eq!((name("ü".repeat(100)).await, name("ü".repeat(101)).await), (200, 422));
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once_and_no_value_is_repeated() {
    let cura = Cura::without_workers().await;
    let body = json!({ "email": "no address", "password": "hunter2" });
    let refused = cura.client().post("/auth/register", &body).await;
    assert_eq!(refused.status, 422);
    let body = json!({ "email": 7, "name": ["x"], "password": "hunter2" });
    let refused_types = cura.client().post("/auth/register", &body).await;
    let pointers: Vec<&str> = refused_types.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/email", "/name", "/password"]);
    for said in [refused.body.to_string(), refused_types.body.to_string(), cura.logs()] {
        assert!(!said.contains("hunter2") && !said.contains("no address"), "{said}");
    }
}

#[tokio::test]
async fn fields_only_cura_sets_are_refused() {
    let cura = Cura::without_workers().await;
    let body = json!({ "email": "a@example.com", "password": "a long password", "is_admin": true, "id": 1 });
    let refused = cura.client().post("/auth/register", &body).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.body["errors"].as_array().unwrap().len(), 2, "{}", refused.body);
}

#[tokio::test]
async fn signing_in_needs_the_right_password_and_does_not_reveal_which_accounts_exist() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let login = async |email: &str, password: &str| {
        cura.client()
            .post("/auth/login", &json!({ "email": email, "password": password }))
            .await
    };
    assert_eq!(login("ann@example.com", "a long password").await.status, 200);
    let wrong = login("ann@example.com", "a wrong password").await;
    let unknown = login("bob@example.com", "a long password").await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (401, "invalid_credentials"));
    assert_eq!((unknown.status, unknown.code()), (wrong.status, wrong.code()));
    assert_eq!(wrong.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn refreshing_rotates_and_a_dead_token_ends_the_session() {
    let cura = Cura::without_workers().await;
    let client = cura.client();
    let made = client
        .post(
            "/auth/register",
            &json!({ "email": "a@example.com", "password": "a long password" }),
        )
        .await;
    let refresh =
        async |token: &serde_json::Value| client.post("/auth/refresh", &json!({ "refresh_token": token })).await;
    let first = made.body["refresh_token"].clone();
    let second = refresh(&first).await;
    assert_eq!(second.status, 200);
    let third = refresh(&second.body["refresh_token"]).await;
    assert_eq!(third.status, 200);
    // The first one is two generations old: no lost answer explains that.
    let stolen = refresh(&first).await;
    assert_eq!((stolen.status.as_u16(), stolen.code()), (401, "invalid_refresh_token"));
    assert_eq!(
        refresh(&third.body["refresh_token"]).await.status,
        401,
        "the session has ended"
    );
    let signed = cura.client().with_token(&third.body["access_token"]);
    assert_eq!(
        signed.get("/users/me").await.status,
        401,
        "and its access token with it"
    );
}

#[tokio::test]
async fn a_lost_answer_to_a_refresh_is_forgiven_for_a_moment() {
    let cura = Cura::without_workers().await;
    let client = cura.client();
    let made = client
        .post(
            "/auth/register",
            &json!({ "email": "a@example.com", "password": "a long password" }),
        )
        .await;
    let body = json!({ "refresh_token": made.body["refresh_token"] });
    let lost = client.post("/auth/refresh", &body).await;
    let again = client.post("/auth/refresh", &body).await;
    assert_eq!((lost.status.as_u16(), again.status.as_u16()), (200, 200));
    let next = client
        .post(
            "/auth/refresh",
            &json!({ "refresh_token": again.body["refresh_token"] }),
        )
        .await;
    assert_eq!(next.status, 200);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_can_be_repeated() {
    let cura = Cura::without_workers().await;
    let client = cura.client();
    let made = client
        .post(
            "/auth/register",
            &json!({ "email": "a@example.com", "password": "a long password" }),
        )
        .await;
    let signed = client.with_token(&made.body["access_token"]);
    let body = json!({ "refresh_token": made.body["refresh_token"] });
    assert_eq!(client.post("/auth/logout", &body).await.status, 204);
    assert_eq!(client.post("/auth/logout", &body).await.status, 204);
    assert_eq!(signed.get("/users/me").await.status, 401);
    assert_eq!(client.post("/auth/refresh", &body).await.status, 401);
    assert_eq!(
        client
            .post("/auth/logout", &json!({ "refresh_token": "nonsense" }))
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn a_token_may_be_a_minute_ahead_and_is_not_used_before_its_time() {
    use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
    const SECRET: &str = "a secret of this test, long enough";
    let cura = Cura::builder().workers(0).with("SECRET_KEY", SECRET).start().await;
    let token = cura.user().await.token.unwrap();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&["cura-api"]);
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let ours = decode::<serde_json::Value>(&token, &key, &validation).unwrap().claims;
    let now = wiring::clock().now().timestamp();
    for (claim, ahead, expected) in [
        ("iat", 0, 200),
        ("iat", 40, 200),
        ("iat", 90, 401),
        ("nbf", -30, 200),
        ("nbf", 30, 401),
        ("nbf", 3600, 401),
    ] {
        let mut claims = ours.clone();
        claims[claim] = json!(now + ahead);
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signed = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        let reply = cura.client().with_token(&json!(signed)).get("/users/me").await;
        assert_eq!(reply.status, expected, "{claim} {ahead} s ahead: {}", reply.body);
    }
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused() {
    let cura = Cura::without_workers().await;
    let token = cura.user().await.token.unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    let tampered = format!("{}.{}x.{}", parts[0], parts[1], parts[2]);
    for bad in [unsigned, tampered, "x".repeat(5000), String::new(), "a.b.c".to_owned()] {
        let reply = cura.client().with_token(&json!(bad)).get("/users/me").await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (401, "not_authenticated"),
            "{bad:.40}"
        );
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
}

#[tokio::test]
async fn an_old_hash_is_replaced_when_its_cost_was_raised() {
    let mut cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let hash = async || {
        sqlx::query_scalar::<_, String>("SELECT password_hash FROM users")
            .fetch_one(cura.database.pool())
            .await
            .unwrap()
    };
    let before = hash().await;
    assert!(before.contains("m=8,t=1"), "{before}");
    let dearer = cura_tests::Program::start(
        "cura-server",
        &[],
        &[
            ("DATABASE_URL", cura.database.url()),
            ("REDIS_URL", cura.redis.url()),
            ("PORT", "0".to_owned()),
            ("PASSWORD_HASH_MEMORY_KIB", "64".to_owned()),
        ],
    );
    let base = format!(
        "http://{}",
        dearer.wait_for_log("the server has started address=").await.trim()
    );
    let login = json!({ "email": "ann@example.com", "password": "a long password" });
    assert_eq!(Client::new(&base).post("/auth/login", &login).await.status, 200);
    let after = hash().await;
    assert!(after.contains("m=64,t=2"), "{after}");
    assert_eq!(cura.client().post("/auth/login", &login).await.status, 200);
    cura.servers.clear();
}
