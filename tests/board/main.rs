//! The operators' page for the queue, as a browser and as those meet it who should not. Needs a cura-server that was built with it:
//! `make board`.

use std::time::{Duration, Instant};

use cura_tests::{Client, Cura, CuraBuilder, Program, TestDatabase, eventually, program};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sqlx::AssertSqlSafe;

/// The password of every account here.
const PASSWORD: &str = "a long password";
/// The two seconds of the contract, and what a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(5);
/// A listing.
const TASKS: &str = "/api/v1/tasks?status=Done&page=1&page_size=10";

/// A Cura with the page, an admin (Ada), and a user who is none (Bob).
struct Operated {
    cura: Cura,
    page: Page,
}

/// The page, as a browser asks for it.
#[derive(Clone)]
struct Page {
    base: String,
    http: reqwest::Client,
    cookie: Option<String>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Page {
    async fn of(server: &Program) -> Self {
        let address = server.wait_for_log("board=").await;
        Self {
            base: format!("http://{}", address.trim()),
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            cookie: None,
        }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("theme=dark; {cookie}"));
        }
        let response = request.send().await.unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    async fn sign_in(&self, email: &str, password: &str) -> Answer {
        let form = format!(
            "email={}&password={}",
            email.replace('@', "%40"),
            password.replace(' ', "+")
        );
        let headers = [
            ("origin", self.base.as_str()),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.send(Method::POST, "/sign-in", &headers, &form).await
    }

    /// The page with the cookie of Ada.
    async fn signed_in(&self) -> Self {
        let answer = self.sign_in("ada@example.com", PASSWORD).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (303, "/"),
            "{}",
            answer.body
        );
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        Self {
            cookie: Some(cookie),
            ..self.clone()
        }
    }

    /// Waits until the cookie is worth nothing; at once, counted from now.
    async fn until_refused(&self) {
        let begun = Instant::now();
        eventually("the page is refused", async || {
            let answer = self.get(TASKS).await;
            (answer.status == 401 && answer.code() == "not_authenticated").then_some(())
        })
        .await;
        assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
        assert_eq!(self.get("/").await.header("location"), "/sign-in");
    }
}

async fn operated_by(builder: CuraBuilder) -> Operated {
    let cura = builder.with("ADMIN_PORT", "0").start().await;
    let page = with_people(&cura).await;
    Operated { cura, page }
}

async fn with_people(cura: &Cura) -> Page {
    for email in ["ada@example.com", "bob@example.com"] {
        let body = serde_json::json!({ "email": email, "password": PASSWORD });
        assert_eq!(cura.client().post("/auth/register", &body).await.status, 201);
    }
    sql(
        &cura.database,
        "UPDATE users SET is_admin = true WHERE email = 'ada@example.com'",
    )
    .await;
    Page::of(&cura.servers[0].program).await
}

async fn operated() -> Operated {
    operated_by(Cura::builder().workers(0)).await
}

async fn sql(database: &TestDatabase, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(database.pool())
        .await
        .unwrap();
}

/// What an operator does by command.
fn admin(cura: &Cura, arguments: &[&str]) {
    let mut command = std::process::Command::new(program::path("cura-admin"));
    command.args(arguments).env_clear().current_dir("/tmp");
    command.envs([("DATABASE_URL", cura.database.url()), ("REDIS_URL", cura.redis.url())]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn recorded(cura: &Cura) -> Vec<(String, String, String, Option<String>, Option<String>)> {
    sqlx::query_as("SELECT action, operator, via, target, failure FROM operator_actions ORDER BY id")
        .fetch_all(cura.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn an_admin_signs_in_reads_the_queue_and_signs_out_and_each_is_recorded() {
    let Operated { cura, page } = operated_by(Cura::builder()).await;
    let bob = Client::new(&cura.servers[0].base);
    let body = serde_json::json!({ "email": "bob@example.com", "password": PASSWORD });
    let signed_in = bob.post("/auth/login", &body).await;
    let bob = bob.with_token(&signed_in.body["access_token"]);
    bob.ask("magnesium").await;
    // Nobody sees anything without a cookie.
    assert_eq!(
        (
            page.get("/").await.status.as_u16(),
            page.get("/").await.header("location").to_owned()
        ),
        (303, "/sign-in".to_owned())
    );
    let refused = page.get(TASKS).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (401, "not_authenticated".to_owned())
    );
    let form = page.get("/sign-in").await;
    assert_eq!(form.status, 200);
    assert!(
        form.body.contains("<form method=\"post\"") && !form.body.contains("<script"),
        "{}",
        form.body
    );
    assert!(
        form.header("content-security-policy")
            .starts_with("default-src 'none'; style-src 'sha256-")
    );
    let answer = page.sign_in("ada@example.com", PASSWORD).await;
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.ends_with("; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    let ada = page.signed_in().await;
    let document = ada.get("/").await;
    assert_eq!(document.status, 200);
    assert!(document.body.contains("Apalis Board") && document.body.contains("/sign-out"));
    for header in [
        "content-security-policy",
        "x-frame-options",
        "x-content-type-options",
        "referrer-policy",
    ] {
        assert!(!document.header(header).is_empty(), "{header}");
    }
    // What the document loads is all there, and comes from here.
    let parts = document
        .body
        .split(['"', '\''])
        .filter(|part| part.starts_with("/apalis-board") || part.starts_with("/input"));
    let parts: Vec<&str> = parts.collect();
    assert!(parts.len() >= 3, "{parts:?}");
    for part in parts {
        assert_eq!(ada.get(part).await.status, 200, "{part}");
    }
    for listing in [
        TASKS,
        "/api/v1/queues",
        "/api/v1/workers",
        "/api/v1/overview",
        "/api/v1/queues/generate-answer/tasks?status=Done",
        "/api/v1/queues/generate-answer/stats",
        "/api/v1/queues/generate-answer/workers",
    ] {
        let answer = ada.get(listing).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("cache-control")),
            (200, "no-store"),
            "{listing}: {}",
            answer.body
        );
        let listed: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(listed.is_array(), "{listing}: {listed}");
        assert!(!answer.body.contains("magnesium"), "{listing}");
    }
    // The worker says that it is done once the answer is there.
    eventually("the job is listed as done", async || {
        let done = ada.get("/api/v1/queues/generate-answer/tasks?status=Done").await;
        let done: Value = serde_json::from_str(&done.body).ok()?;
        (done.as_array()?.len() == 1).then_some(())
    })
    .await;
    // The cookie is stored nowhere, and opens nothing else.
    let token = ada.cookie.as_ref().unwrap().split_once('=').unwrap().1.to_owned();
    let api = Client::new(&cura.servers[0].base).with_token(&Value::from(token.clone()));
    assert_eq!(api.get("/users/me").await.status, 401);
    assert!(!cura.logs().contains(&token) && !cura.logs().contains("ada@example.com"));
    let out = ada
        .send(Method::POST, "/sign-out", &[("origin", page.base.as_str())], "")
        .await;
    assert_eq!((out.status.as_u16(), out.header("location")), (303, "/sign-in"));
    assert!(out.header("set-cookie").starts_with("cura_page=; Path=/; Max-Age=0"));
    assert_eq!(ada.get(TASKS).await.status, 401);
    let act = |action: &str| {
        (
            action.to_owned(),
            "user 1".to_owned(),
            "page".to_owned(),
            Some("1".to_owned()),
            None,
        )
    };
    assert_eq!(
        recorded(&cura).await,
        [act("page.sign-in"), act("page.sign-in"), act("page.sign-out")]
    );
}

#[tokio::test]
async fn only_an_admin_with_the_right_password_is_let_in_and_who_is_not_is_recorded() {
    let Operated { cura, page } = operated().await;
    for (email, password, status) in [
        ("ada@example.com", "not the password", 401),
        ("nobody@example.com", PASSWORD, 401),
        ("bob@example.com", PASSWORD, 403),
        ("not an address", PASSWORD, 401),
        ("ada@example.com", "", 401),
    ] {
        let answer = page.sign_in(email, password).await;
        assert_eq!(answer.status.as_u16(), status, "{email}");
        assert!(answer.body.contains("role=\"alert\"") && answer.header("set-cookie").is_empty());
        assert!(!answer.body.contains('@'), "{}", answer.body);
    }
    admin(&cura, &["users", "suspend", "ada@example.com", "--reason", "away"]);
    let answer = page.sign_in("ada@example.com", PASSWORD).await;
    assert_eq!(answer.status, 403);
    // A refused sign-in opens no session.
    assert_eq!(
        cura.database
            .count("SELECT count(*) FROM sessions WHERE device_name IS NOT NULL")
            .await,
        0
    );
    let failed = |operator: &str, target: Option<&str>, code: &str| {
        let target = target.map(str::to_owned);
        (
            "page.sign-in".to_owned(),
            operator.to_owned(),
            "page".to_owned(),
            target,
            Some(code.to_owned()),
        )
    };
    let mut recorded = recorded(&cura).await;
    recorded.retain(|(action, ..)| action == "page.sign-in");
    let expected = [
        failed("unknown", Some("1"), "invalid_credentials"),
        failed("unknown", None, "invalid_credentials"),
        failed("user 2", Some("2"), "not_admin"),
        failed("unknown", Some("1"), "invalid_credentials"),
        failed("unknown", Some("1"), "account_suspended"),
    ];
    assert_eq!(recorded, expected);
}

#[tokio::test]
async fn a_cookie_is_worth_nothing_within_two_seconds_of_what_ends_it() {
    let Operated { cura, page } = operated_by(Cura::builder().workers(0)).await;
    let run = |arguments: &[&str]| admin(&cura, arguments);
    let ada = page.signed_in().await;
    assert_eq!(ada.get(TASKS).await.status, 200);
    run(&["users", "sign-out", "ada@example.com"]);
    ada.until_refused().await;
    let ada = page.signed_in().await;
    run(&["users", "suspend", "ada@example.com", "--reason", "away"]);
    ada.until_refused().await;
    run(&["users", "restore", "ada@example.com"]);
    let ada = page.signed_in().await;
    run(&["users", "promote", "bob@example.com"]);
    run(&["users", "demote", "ada@example.com"]);
    ada.until_refused().await;
    run(&["users", "promote", "ada@example.com"]);
    assert_eq!(ada.get(TASKS).await.status, 401, "what has ended stays so");
    let ada = page.signed_in().await;
    let lasts: i64 = sqlx::query_scalar(
        "SELECT max(extract(epoch FROM expires_at - created_at))::bigint FROM sessions
         WHERE device_name IS NOT NULL AND ended_at IS NOT NULL",
    )
    .fetch_one(cura.database.pool())
    .await
    .unwrap();
    assert_eq!(lasts, 8 * 60 * 60);
    sql(
        &cura.database,
        "UPDATE sessions SET expires_at = now() WHERE device_name IS NOT NULL",
    )
    .await;
    ada.until_refused().await;
    for forged in [
        "cura_page=",
        "cura_page=x",
        "cura_page=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let forged = Page {
            cookie: Some(forged.to_owned()),
            ..page.clone()
        };
        assert_eq!(forged.get(TASKS).await.status, 401);
    }
}

#[tokio::test]
async fn nothing_can_be_changed_and_no_other_page_gets_anything() {
    let Operated { cura, page } = operated().await;
    let ada = page.signed_in().await;
    let jobs = "SELECT count(*) FROM apalis.jobs";
    let before = cura.database.count(jobs).await;
    for method in [
        Method::PUT,
        Method::POST,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ] {
        for path in [
            "/api/v1/queues/generate-answer/tasks",
            "/api/v1/tasks",
            "/",
            "/sign-in/x",
        ] {
            let headers = [("origin", page.base.as_str()), ("content-type", "application/json")];
            let answer = ada.send(method.clone(), path, &headers, "{}").await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("allow")),
                (405, "GET, HEAD"),
                "{method} {path}"
            );
        }
    }
    assert_eq!(cura.database.count(jobs).await, before);
    let status = async |method: Method, path: &str, headers: &[(&'static str, &str)]| {
        ada.send(method, path, headers, "").await.status.as_u16()
    };
    let evil = ("origin", "https://evil.example");
    assert_eq!(status(Method::GET, TASKS, &[evil]).await, 403);
    assert_eq!(
        status(Method::GET, TASKS, &[("sec-fetch-site", "same-site")]).await,
        403
    );
    assert_eq!(
        status(Method::GET, TASKS, &[("sec-fetch-site", "same-origin")]).await,
        200
    );
    assert_eq!(status(Method::POST, "/sign-in", &[evil]).await, 403);
    assert_eq!(status(Method::POST, "/sign-in", &[]).await, 403);
    assert_eq!(status(Method::POST, "/sign-out", &[evil]).await, 403);
    // A name of somebody else's that leads here.
    let port = page.base.rsplit(':').next().unwrap();
    let rebound = format!("evil.example:{port}");
    assert_eq!(status(Method::GET, TASKS, &[("host", rebound.as_str())]).await, 421);
    assert_eq!(
        status(Method::GET, TASKS, &[("host", format!("localhost:{port}").as_str())]).await,
        200
    );
    for page in [
        "page=0",
        "page=99999999",
        "page_size=1000000",
        "status=Nothing",
        "page=-1",
    ] {
        assert_eq!(
            status(Method::GET, &format!("/api/v1/tasks?{page}"), &[]).await,
            400,
            "{page}"
        );
    }
    assert_eq!(status(Method::GET, "/api/v1/queues/unknown/tasks", &[]).await, 404);
    assert_eq!(status(Method::GET, "/x.js", &[]).await, 404);
    assert_eq!(status(Method::HEAD, "/", &[]).await, 200);
    // A form without an end.
    let long = format!("email=ada%40example.com&password={}", "x".repeat(100_000));
    let answer = page
        .send(Method::POST, "/sign-in", &[("origin", page.base.as_str())], &long)
        .await;
    assert_eq!(answer.status, 413);
    // The API's port has nothing of it.
    assert_eq!(cura.client().get("/sign-in").await.status, 404);
}

#[tokio::test]
async fn a_flood_of_sign_ins_is_limited_as_at_the_api() {
    let Operated { cura, page } = operated_by(Cura::builder().workers(0).with("RATE_LIMIT_AUTH", "5")).await;
    let begun = Instant::now();
    let mut checked = 0;
    for _ in 0..20 {
        let answer = page.sign_in("nobody@example.com", "a guess").await;
        match answer.status.as_u16() {
            401 => checked += 1,
            429 => assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers),
            other => panic!("{other}"),
        }
    }
    // One more is let through for each twelve seconds that this took.
    let most = 5 + begun.elapsed().as_secs() / 12 + 1;
    assert!(
        checked <= most && checked < 20,
        "{checked} of 20 were checked, {most} may be"
    );
    // What was not looked at is not recorded.
    let mut recorded = recorded(&cura).await;
    recorded.retain(|(action, ..)| action == "page.sign-in");
    assert_eq!(recorded.len() as u64, checked, "{recorded:?}");
    // Ada, who has signed in from here before, is let in all the same.
    page.signed_in().await;
}

#[tokio::test]
async fn with_postgres_away_the_page_says_so_and_comes_back() {
    let (cura, proxy) = Cura::builder()
        .workers(0)
        .with("ADMIN_PORT", "0")
        .start_behind_proxy()
        .await;
    let page = with_people(&cura).await;
    let ada = page.signed_in().await;
    assert_eq!(ada.get(TASKS).await.status, 200);
    proxy.cut();
    let begun = Instant::now();
    let answer = ada.get(TASKS).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.headers.contains_key("retry-after") && begun.elapsed() < Duration::from_secs(30));
    assert_eq!(page.sign_in("ada@example.com", PASSWORD).await.status, 503);
    // Who is not signed in is not let in because nobody can be asked.
    assert_eq!(page.get(TASKS).await.status, 401);
    proxy.restore();
    eventually("the page is back", async || {
        (ada.get(TASKS).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_page_reads_with_cannot_write_and_gives_up_after_two_seconds() {
    let database = TestDatabase::create().await;
    let pool = cura_bin::wiring::board_pool(&database.url()).unwrap();
    // A busy machine may take longer to connect than a listing waits.
    let mut connection = eventually("it connects", async || pool.acquire().await.ok()).await;
    let error = sqlx::query("DELETE FROM apalis.jobs")
        .execute(&mut *connection)
        .await
        .unwrap_err();
    assert_eq!(code_of(&error), "25006");
    let begun = Instant::now();
    let error = sqlx::query("SELECT pg_sleep(60)")
        .execute(&mut *connection)
        .await
        .unwrap_err();
    assert_eq!(code_of(&error), "57014");
    assert!(begun.elapsed() < Duration::from_secs(20));
    let name: String = sqlx::query_scalar("SELECT current_setting('application_name')")
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    assert_eq!(name, "cura-board");
    // A third use waits for one of two connections, and not for ever.
    let other = eventually("it connects", async || pool.acquire().await.ok()).await;
    let held = [connection, other];
    assert!(pool.acquire().await.is_err());
    drop(held);
}

fn code_of(error: &sqlx::Error) -> String {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .unwrap_or_default()
        .into_owned()
}

/// How long it takes from asking until an answer is complete, many times: the median, and the slowest.
async fn asking(user: &Client, times: usize) -> (Duration, Duration) {
    let mut took = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        user.ask("Hi").await;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    (took[times / 2], took[times - 1])
}

#[tokio::test]
async fn answers_keep_their_pace_while_the_page_lists_very_many_rows() {
    #[expect(clippy::disallowed_methods, reason = "whoever measures says how many")]
    let rows: u32 = std::env::var("CURA_BOARD_ROWS")
        .ok()
        .and_then(|rows| rows.parse().ok())
        .unwrap_or(100_000);
    let Operated { cura, page } = operated_by(Cura::builder()).await;
    let body = serde_json::json!({ "email": "bob@example.com", "password": PASSWORD });
    let signed_in = cura.client().post("/auth/login", &body).await;
    let bob = cura.client().with_token(&signed_in.body["access_token"]);
    let filled = format!(
        "INSERT INTO apalis.jobs (job, id, job_type, status, attempts, max_attempts, run_at, done_at, priority)
         SELECT '{{}}'::bytea, 'filled' || n, 'generate-answer', 'Done', 1, 5, now() - interval '1 minute', now(), 0
         FROM generate_series(1, {rows}) AS n"
    );
    sql(&cura.database, &filled).await;
    sql(&cura.database, "ANALYZE apalis.jobs").await;
    let alone = asking(&bob, 10).await;
    let ada = page.signed_in().await;
    let browsing = async {
        let mut seen = Vec::new();
        for listing in [
            "/api/v1/overview",
            "/api/v1/queues",
            TASKS,
            "/api/v1/queues/generate-answer/stats",
        ] {
            let begun = Instant::now();
            let status = ada.get(listing).await.status.as_u16();
            assert!([200, 503].contains(&status), "{listing}: {status}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{listing}");
            seen.push((listing, status, begun.elapsed()));
        }
        seen
    };
    let clients = [browsing];
    let (seen, beside) = tokio::join!(futures_util::future::join_all(clients), asking(&bob, 10));
    println!("{rows} rows: alone {alone:?}, beside the page {beside:?}; {seen:?}");
    assert!(beside.0 < alone.0 * 4 + Duration::from_secs(1), "{alone:?} {beside:?}");
    cura.check_invariants().await;
}
