//! What is compared: the floor and Cura, each with a Redis and a database of its own, on one Postgres.

use std::any::Any;

use cura_tests::{Cura, Program, ScriptedProvider, TestDatabase, TestRedis};
use sqlx::PgPool;

use crate::light_client::raise_file_limit;
use crate::many_connections::{self, Person as Registered};
use crate::processor_time::postmaster;

use super::load::Person;

/// One of both.
pub struct Side {
    /// Host and port.
    pub address: String,
    pub people: Vec<Person>,
    /// Server, worker, Postgres, Redis.
    pub processes: [u32; 4],
    pub pool: PgPool,
    /// Runs as long as this value lives.
    _programs: Box<dyn Any>,
}

impl Side {
    /// Starts the floor, which knows nobody.
    pub async fn floor(provider: &ScriptedProvider, people: usize) -> Self {
        raise_file_limit();
        let (database, redis) = (TestDatabase::empty().await, TestRedis::start());
        let (url, pool) = (database.url(), database.pool().clone());
        let server = Program::start("cura-floor", &["server", &url, &redis.url()], &[]);
        let address = server.wait_for_log("the floor listens at http://").await;
        let worker = Program::start("cura-floor", &["worker", &url, &redis.url(), &provider.url()], &[]);
        worker.wait_for_log("the floor works").await;
        let person = |n| Person {
            path: format!("/chat/stream/{n}"),
            token: String::new(),
        };
        Self {
            address,
            people: (0..people).map(person).collect(),
            processes: [server.pid(), worker.pid(), postmaster(&pool).await, redis.pid()],
            pool,
            _programs: Box::new((server, worker, redis, database)),
        }
    }

    /// Starts Cura, and registers people with a conversation each.
    pub async fn cura(provider: &ScriptedProvider, people: usize) -> Self {
        raise_file_limit();
        let cura = Cura::builder()
            .with_provider(provider)
            .with("LOG_LEVEL", "warn,cura_bin=info")
            .with("MAX_CONNECTIONS_PER_ADDRESS", "0")
            .with("WORKER_CONCURRENCY_GENERATE_ANSWER", "1200")
            // As it comes.
            .with("DATABASE_POOL_SIZE", "10")
            .start()
            .await;
        let person = |Registered(client, conversation)| Person {
            path: format!("/chat/stream/{conversation}"),
            token: client.token.unwrap(),
        };
        let people = many_connections::people(&cura, people).await;
        let (server, pool) = (&cura.servers[0], cura.database.pool().clone());
        let postgres = postmaster(&pool).await;
        Self {
            address: server.base.trim_start_matches("http://").to_owned(),
            people: people.into_iter().map(person).collect(),
            processes: [server.program.pid(), cura.workers[0].pid(), postgres, cura.redis.pid()],
            pool,
            _programs: Box::new(cura),
        }
    }
}
