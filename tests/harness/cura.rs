//! A complete Cura: database, Redis, servers and workers, each a real process.

use std::process::Command;

use tempfile::TempDir;

use crate::pgbouncer::{PgBouncer, PoolMode};
use crate::{
    Client, FcmServer, FirefoxPushServer, Program, Proxy, PushService, ScriptedProvider, TestDatabase, TestRedis,
};

/// The processes and settings of a [`Cura`].
#[derive(Default)]
pub struct CuraBuilder {
    servers: usize,
    workers: usize,
    variables: Vec<(&'static str, String)>,
    pooler: Option<PoolMode>,
}

/// A running Cura.
pub struct Cura {
    /// Its servers.
    pub servers: Vec<Server>,
    /// Its workers.
    pub workers: Vec<Program>,
    /// Its Redis.
    pub redis: TestRedis,
    /// Its database.
    pub database: TestDatabase,
    /// The pooler in front of its database, if there is one.
    pub pooler: Option<PgBouncer>,
    /// Its `DATA_DIR`, removed when its processes have ended.
    pub data: TempDir,
    variables: Vec<(&'static str, String)>,
}

/// A server process and its address.
pub struct Server {
    /// The process.
    pub program: Program,
    /// `http://127.0.0.1:…`
    pub base: String,
}

impl Cura {
    /// One server and one worker unless set otherwise.
    pub fn builder() -> CuraBuilder {
        CuraBuilder {
            servers: 1,
            workers: 1,
            variables: Vec::new(),
            pooler: None,
        }
    }

    /// One server and one worker that use the demo provider.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// One server and one worker that use this provider.
    pub async fn with_provider(provider: &ScriptedProvider) -> Self {
        Self::builder().with_provider(provider).start().await
    }

    /// One server and no worker, so nothing is answered.
    pub async fn without_workers() -> Self {
        Self::builder().workers(0).start().await
    }

    /// A client that is not signed in, at the first server.
    pub fn client(&self) -> Client {
        Client::new(&self.servers[0].base)
    }

    /// A client with a new account, at the first server.
    pub async fn user(&self) -> Client {
        self.client().register("user@example.com").await
    }

    /// Starts another worker.
    pub async fn add_worker(&mut self) {
        let worker = Program::start("cura-worker", &["--wait", "20"], &self.variables);
        worker.wait_for_log("the worker has started").await;
        self.workers.push(worker);
    }

    /// Starts another server.
    pub async fn add_server(&mut self) {
        let program = Program::start("cura-server", &["--wait", "20"], &self.variables);
        self.add_started(program).await;
    }

    /// Starts another server with these settings, too; the last value of a setting counts.
    pub async fn add_server_with(&mut self, more: &[(&'static str, String)]) {
        let program = Program::start("cura-server", &["--wait", "20"], &self.variables_with(more));
        self.add_started(program).await;
    }

    /// Starts another server with a limit of file descriptors, set as `ulimit` does with this option.
    pub async fn add_server_with_descriptors(&mut self, option: &str, limit: u32) {
        let server = crate::program::path("cura-server");
        let script = format!("ulimit {option} {limit} && exec {} --wait 20", server.display());
        let program = Program::start_command(Command::new("bash").args(["-c", &script]), &self.variables);
        self.add_started(program).await;
    }

    async fn add_started(&mut self, program: Program) {
        // The address is in a plain line in development and in JSON in production.
        let address = program.wait_for_log("address").await;
        let base = format!(
            "http://{}",
            address
                .trim_start_matches(['=', ':', '"'])
                .split(['"', ' '])
                .next()
                .expect("one")
        );
        self.servers.push(Server { program, base });
    }

    /// The settings of its processes and these.
    pub fn variables_with(&self, more: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
        self.variables.iter().chain(more).cloned().collect()
    }

    /// Waits until everything has ended, and checks that nothing was lost, doubled or left over.
    pub async fn check_invariants(&self) {
        crate::invariants::check(self.database.pool()).await;
    }

    /// The output of all processes.
    pub fn logs(&self) -> String {
        let servers = self.servers.iter().map(|server| server.program.logs());
        servers
            .chain(self.workers.iter().map(Program::logs))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl CuraBuilder {
    /// The number of servers.
    pub fn servers(mut self, servers: usize) -> Self {
        self.servers = servers;
        self
    }

    /// The number of workers.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Uses this provider instead of the demo provider.
    pub fn with_provider(self, provider: &ScriptedProvider) -> Self {
        self.with("AI_MODEL_URL", provider.url())
    }

    /// Pushes to phones through this Firebase.
    pub fn with_fcm(mut self, fcm: &FcmServer) -> Self {
        self.variables.extend(fcm.variables());
        self
    }

    /// Pushes to the browsers of this service.
    pub fn with_push_service(mut self, service: &PushService) -> Self {
        self.variables.extend(service.variables());
        self
    }

    /// Pushes to the Firefox of this service.
    pub fn with_firefox_push_server(mut self, service: &FirefoxPushServer) -> Self {
        self.variables.extend(service.variables());
        self
    }

    /// Sets an environment variable of all processes.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Puts a pooler in front of Postgres; `DATABASE_DIRECT_URL` goes past it, if it gives each transaction another session.
    pub fn behind_pooler(mut self, mode: PoolMode) -> Self {
        self.pooler = Some(mode);
        self
    }

    /// Starts it.
    pub async fn start(self) -> Cura {
        let database = TestDatabase::create().await;
        self.start_on_database(database).await
    }

    /// Starts it on this database.
    pub async fn start_on_database(mut self, database: TestDatabase) -> Cura {
        let Some(mode) = self.pooler else {
            return self.start_on(database, |database| database.url()).await;
        };
        let pooler = PgBouncer::start(&database, mode);
        if mode == PoolMode::Transaction {
            self = self.with("DATABASE_DIRECT_URL", database.url());
        }
        let mut cura = self.start_on(database, |database| pooler.url(database.name())).await;
        cura.pooler = Some(pooler);
        cura
    }

    /// Starts it on a Postgres whose clock can be set: [`TestDatabase::step_clock`].
    pub async fn start_with_stepping_clock(self) -> Cura {
        let database = TestDatabase::create().await;
        database.let_clock_step().await;
        self.start_on(database, |database| database.url()).await
    }

    /// Starts it with a proxy in front of Postgres.
    pub async fn start_behind_proxy(self) -> (Cura, Proxy) {
        let database = TestDatabase::create().await;
        let proxy = Proxy::to_postgres(&database).await;
        let cura = self.start_on(database, |database| proxy.url(database)).await;
        (cura, proxy)
    }

    /// Starts it on this database, reached through this URL.
    async fn start_on(self, database: TestDatabase, url: impl FnOnce(&TestDatabase) -> String) -> Cura {
        let redis = TestRedis::start();
        let data = tempfile::tempdir().expect("a folder");
        let mut variables = vec![
            ("DATABASE_URL", url(&database)),
            ("REDIS_URL", redis.url()),
            ("PORT", "0".to_owned()),
            ("DATA_DIR", data.path().display().to_string()),
            // The cheapest argon2: these tests are not about its cost.
            ("PASSWORD_HASH_MEMORY_KIB", "8".to_owned()),
            ("PASSWORD_HASH_PASSES", "1".to_owned()),
            ("DATABASE_POOL_SIZE", "5".to_owned()),
            // Tests of rate limits set their own.
            ("RATE_LIMIT_AUTH", "0".to_owned()),
            ("RATE_LIMIT_CHAT", "0".to_owned()),
            ("RATE_LIMIT_UPLOAD", "0".to_owned()),
            ("RATE_LIMIT_DEFAULT", "0".to_owned()),
            ("USER_CONNECTIONS", "0".to_owned()),
            // Tests count requests to the provider, and requests for titles would be counted too.
            ("AI_TITLES", "false".to_owned()),
        ];
        variables.extend(self.variables);
        let mut cura = Cura {
            servers: Vec::new(),
            workers: Vec::new(),
            redis,
            database,
            pooler: None,
            data,
            variables,
        };
        for _ in 0..self.servers {
            cura.add_server().await;
        }
        for _ in 0..self.workers {
            cura.add_worker().await;
        }
        cura
    }
}
