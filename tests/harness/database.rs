//! A separate database for every test, copied from a template that has all migrations.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use cura_devdb::{PrivatePostgres, Profile};
use cura_store::MIGRATOR;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

use crate::{eventually, program};

/// The advisory lock held while the template is made. Any number.
const TEMPLATE_LOCK: i64 = 7_305_331;

/// A database; removed when dropped.
pub struct TestDatabase {
    name: String,
    pool: PgPool,
    /// Its URL, if it is not on the server that tests share.
    elsewhere: Option<String>,
}

/// The Postgres server that tests use.
enum Server {
    Given(String),
    Private(PrivatePostgres),
}

static SERVER: OnceLock<Server> = OnceLock::new();

/// Makes this process' databases on a server of benchmarks, which syncs what is committed and pauses for no autovacuum and no
/// checkpoint; `DATABASE_URL` does not count. Its data is on a disk, where syncing costs what it costs.
///
/// # Panics
/// When a database has been made already.
pub async fn use_durable_server() {
    let root = PathBuf::from(format!("/var/tmp/cura-bench-postgres-{}", users_name()));
    assert!(
        SERVER.set(start(&root, Profile::Durable)).is_ok(),
        "tests have a server"
    );
    let mut admin = admin().await;
    for setting in ["autovacuum = off", "checkpoint_timeout = '1h'", "max_wal_size = '4GB'"] {
        let set = format!("ALTER SYSTEM SET {setting}");
        admin.execute(AssertSqlSafe(set)).await.expect("it is done");
    }
    admin.execute("SELECT pg_reload_conf()").await.expect("it is done");
    // A process that was killed leaves its databases.
    let left = "SELECT datname FROM pg_database WHERE datname LIKE 'cura_test_%'";
    for name in sqlx::query_scalar::<_, String>(left)
        .fetch_all(&mut admin)
        .await
        .expect("a list")
    {
        // It may be in use by another benchmark.
        let _ = admin.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await;
    }
}

/// Starts or joins a private server whose data is here.
fn start(root: &Path, profile: Profile) -> Server {
    let supervisor = program::path("cura-server");
    let start = || PrivatePostgres::start(root, profile, Some(&supervisor));
    // A separate thread, because starting blocks.
    let started = std::thread::scope(|scope| scope.spawn(start).join().expect("starting Postgres panicked"));
    Server::Private(started.expect("a private Postgres for the tests"))
}

fn server() -> &'static Server {
    SERVER.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the harness takes its settings from the environment"
        )]
        if let Ok(url) = std::env::var("DATABASE_URL") {
            return Server::Given(url);
        }
        let root = PathBuf::from(format!("/tmp/cura-tests-postgres-{}", users_name()));
        start(&root, Profile::Throwaway)
    })
}

fn users_name() -> String {
    std::fs::metadata("/proc/self")
        .map_or(0, |meta| std::os::unix::fs::MetadataExt::uid(&meta))
        .to_string()
}

fn url_of(database: &str) -> String {
    match server() {
        Server::Private(postgres) => postgres.url(database),
        Server::Given(url) => {
            let (base, query) = url
                .split_once('?')
                .map_or((url.as_str(), None), |(base, query)| (base, Some(query)));
            let host = base
                .rfind('/')
                .filter(|at| *at > "postgres://".len())
                .map_or(base, |at| &base[..at]);
            query.map_or_else(
                || format!("{host}/{database}"),
                |query| format!("{host}/{database}?{query}"),
            )
        }
    }
}

async fn admin() -> PgConnection {
    PgConnection::connect(&url_of("postgres"))
        .await
        .expect("the test server answers")
}

/// The name of the template for these migrations. The first process that asks creates it.
async fn template() -> String {
    let mut hash = DefaultHasher::new();
    for migration in cura_queue::migrator().iter().chain(MIGRATOR.iter()) {
        migration.version.hash(&mut hash);
        migration.checksum.hash(&mut hash);
    }
    let name = format!("cura_template_{:016x}", hash.finish());
    let mut admin = admin().await;
    let ready = "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate)";
    if sqlx::query_scalar::<_, bool>(ready)
        .bind(&name)
        .fetch_one(&mut admin)
        .await
        .unwrap()
    {
        return name;
    }
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut admin)
        .await
        .unwrap();
    if !sqlx::query_scalar::<_, bool>(ready)
        .bind(&name)
        .fetch_one(&mut admin)
        .await
        .unwrap()
    {
        // Left over from a process that was killed while creating it.
        admin
            .execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
            .await
            .unwrap();
        admin
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .unwrap();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect(&url_of(&name))
            .await
            .unwrap();
        cura_queue::migrator().run(&pool).await.unwrap();
        MIGRATOR.run(&pool).await.unwrap();
        pool.close().await;
        admin
            .execute(AssertSqlSafe(format!("ALTER DATABASE {name} IS_TEMPLATE true")))
            .await
            .unwrap();
    }
    admin.close().await.unwrap();
    name
}

impl TestDatabase {
    /// A database with all migrations.
    pub async fn create() -> Self {
        let template = template().await;
        Self::make(&format!("TEMPLATE {template} STRATEGY FILE_COPY")).await
    }

    /// A database with nothing in it.
    pub async fn empty() -> Self {
        Self::make("").await
    }

    async fn make(how: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "cura_test_{}_{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let mut admin = admin().await;
        admin
            .execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
            .await
            .unwrap();
        admin
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name} {how}")))
            .await
            .unwrap();
        admin.close().await.unwrap();
        let pool = PgPoolOptions::new()
            .max_connections(10)
            .connect_lazy(&url_of(&name))
            .unwrap();
        Self {
            name,
            pool,
            elsewhere: None,
        }
    }

    /// The database of this URL, on a server of the test's own; gets all migrations.
    pub async fn on_own_server(url: String) -> Self {
        let pool = PgPoolOptions::new().max_connections(10).connect(&url).await.unwrap();
        cura_queue::migrator().run(&pool).await.unwrap();
        MIGRATOR.run(&pool).await.unwrap();
        let name = url.rsplit('/').next().expect("a database");
        let name = name.split('?').next().unwrap_or(name).to_owned();
        Self {
            name,
            pool,
            elsewhere: Some(url),
        }
    }

    /// Puts a clock that can be set in the place of Postgres' own, for connections that are opened from now on. Statements call
    /// `now()`, and find that of the schema that comes first.
    pub async fn let_clock_step(&self) {
        let clock = "CREATE SCHEMA stepping;
            CREATE TABLE stepping.clock (ahead interval NOT NULL);
            INSERT INTO stepping.clock VALUES ('0');
            CREATE FUNCTION stepping.now() RETURNS timestamptz LANGUAGE sql STABLE
                AS 'SELECT pg_catalog.now() + ahead FROM stepping.clock';";
        self.pool.execute(clock).await.unwrap();
        let path = format!(
            "ALTER DATABASE {} SET search_path = stepping, public, pg_catalog",
            self.name
        );
        self.pool.execute(AssertSqlSafe(path)).await.unwrap();
    }

    /// Sets the clock of [`Self::let_clock_step`] forward by this many seconds, or back.
    pub async fn step_clock(&self, seconds: i32) {
        let step = "UPDATE stepping.clock SET ahead = ahead + make_interval(secs => $1)";
        let stepped = sqlx::query(step).bind(f64::from(seconds)).execute(&self.pool).await;
        assert_eq!(stepped.unwrap().rows_affected(), 1);
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.elsewhere.clone().unwrap_or_else(|| url_of(&self.name))
    }

    /// The URL for a user of the server that may read everything and write nothing.
    pub async fn readers_url(&self) -> String {
        let make = "DO $$ BEGIN
                        CREATE ROLE cura_tests_reader LOGIN PASSWORD 'reader' IN ROLE pg_read_all_data;
                    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
                    END $$";
        let mut admin = admin().await;
        admin.execute(make).await.unwrap();
        admin.close().await.unwrap();
        let url = self.url();
        let (_, server) = url.split_once('@').expect("a user");
        format!("postgres://cura_tests_reader:reader@{server}")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connections to it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The single number that a statement returns.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("a count")
    }

    /// Waits until one session waits for a lock that another one holds.
    pub async fn wait_for_lock_waiter(&self) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("a session waits for a lock", async || {
            (self.count(waiting).await > 0).then_some(())
        })
        .await;
    }

    /// The path of the server's Unix socket; `None` when `DATABASE_URL` names a server.
    pub fn socket(&self) -> Option<PathBuf> {
        match server() {
            Server::Private(postgres) => {
                let url = postgres.url("postgres");
                let host = url.split('@').nth(1)?.split('/').next()?.replace("%2F", "/");
                Some(PathBuf::from(host).join(".s.PGSQL.5432"))
            }
            Server::Given(_) => None,
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.elsewhere.is_some() {
            return;
        }
        let drop = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                // A private server starts empty next time, so a failure does not matter.
                let _ = admin().await.execute(drop).await;
            });
        };
        // A separate thread, because a runtime cannot be blocked from within.
        let _ = std::thread::spawn(work).join();
    }
}
