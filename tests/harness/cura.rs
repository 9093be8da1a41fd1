//! A whole Cura: database, Redis, servers, workers, each a real process.

use crate::{Client, Program, Proxy, ScriptedProvider, TestDatabase, TestRedis};

/// How a Cura is to be.
#[derive(Default)]
pub struct CuraBuilder {
    servers: usize,
    workers: usize,
    variables: Vec<(&'static str, String)>,
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
    variables: Vec<(&'static str, String)>,
}

/// A server and where it is.
pub struct Server {
    /// The process.
    pub program: Program,
    /// `http://127.0.0.1:…`
    pub base: String,
}

impl Cura {
    /// One server and one worker, unless said otherwise.
    pub fn builder() -> CuraBuilder {
        CuraBuilder {
            servers: 1,
            workers: 1,
            variables: Vec::new(),
        }
    }

    /// One server and one worker that answer with the demo voice.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// One server and one worker that answer with what this provider says.
    pub async fn answering(provider: &ScriptedProvider) -> Self {
        Self::builder().answering(provider).start().await
    }

    /// One server and nobody who answers.
    pub async fn without_workers() -> Self {
        Self::builder().workers(0).start().await
    }

    /// Nobody in particular, at the first server.
    pub fn client(&self) -> Client {
        Client::new(&self.servers[0].base)
    }

    /// Somebody with an account, at the first server.
    pub async fn somebody(&self) -> Client {
        self.client().register("somebody@example.com").await
    }

    /// Starts another worker.
    pub async fn add_worker(&mut self) {
        let worker = Program::start("cura-worker", &["--wait", "20"], &self.variables);
        worker.says("working").await;
        self.workers.push(worker);
    }

    /// Starts another server.
    pub async fn add_server(&mut self) {
        let program = Program::start("cura-server", &["--wait", "20"], &self.variables);
        // Plain lines in development, JSON elsewhere.
        let address = program.says("address").await;
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

    /// The settings of its processes, with others added.
    pub fn variables_with(&self, more: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
        self.variables.iter().chain(more).cloned().collect()
    }

    /// Checks that nothing was lost, doubled or left over, once everything has ended.
    pub async fn check_invariants(&self) {
        crate::invariants::check(self.database.pool()).await;
    }

    /// Everything every process has said.
    pub fn said(&self) -> String {
        let servers = self.servers.iter().map(|server| server.program.said());
        servers
            .chain(self.workers.iter().map(Program::said))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl CuraBuilder {
    /// How many servers.
    pub fn servers(mut self, servers: usize) -> Self {
        self.servers = servers;
        self
    }

    /// How many workers.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// It answers with what this provider says, not with the demo voice.
    pub fn answering(self, provider: &ScriptedProvider) -> Self {
        self.with("AI_MODEL_URL", provider.url())
    }

    /// A setting.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Starts it.
    pub async fn start(self) -> Cura {
        let database = TestDatabase::create().await;
        self.start_on(database, |database| database.url()).await
    }

    /// Starts it with a wire to Postgres that can be cut.
    pub async fn start_behind_wire(self) -> (Cura, Proxy) {
        let database = TestDatabase::create().await;
        let wire = Proxy::to_postgres(&database).await;
        let cura = self.start_on(database, |database| wire.url(database)).await;
        (cura, wire)
    }

    /// Starts it on this database, reached by this URL.
    async fn start_on(self, database: TestDatabase, url: impl FnOnce(&TestDatabase) -> String) -> Cura {
        let redis = TestRedis::start();
        let mut variables = vec![
            ("DATABASE_URL", url(&database)),
            ("REDIS_URL", redis.url()),
            ("PORT", "0".to_owned()),
            ("DATA_DIR", "/tmp".to_owned()),
            // As cheap as argon2 gets: what it costs is not what these tests are about.
            ("PASSWORD_HASH_MEMORY_KIB", "8".to_owned()),
            ("PASSWORD_HASH_PASSES", "1".to_owned()),
            ("DATABASE_POOL_SIZE", "5".to_owned()),
            // Tests of limits set their own.
            ("RATE_LIMIT_AUTH", "0".to_owned()),
            ("RATE_LIMIT_CHAT", "0".to_owned()),
            ("RATE_LIMIT_UPLOAD", "0".to_owned()),
            ("RATE_LIMIT_DEFAULT", "0".to_owned()),
            // Or every test that counts requests would have to know which are for titles.
            ("AI_TITLES", "false".to_owned()),
        ];
        variables.extend(self.variables);
        let mut cura = Cura {
            servers: Vec::new(),
            workers: Vec::new(),
            redis,
            database,
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
