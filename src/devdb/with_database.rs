//! `with-database COMMAND…` runs a command with `DATABASE_URL` set to a new database with every migration in the folder
//! `migrations`. It reads the folder, so it works before the code that uses a new migration compiles.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cura_devdb::{PrivatePostgres, Profile};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    // Before anything else: this process may be the supervisor of a private Postgres.
    cura_devdb::run_supervisor_if_asked();
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        return Ok(ExitCode::from(2));
    };
    let root = PathBuf::from(format!(
        "/tmp/cura-generate-postgres-{}",
        rustix::process::geteuid().as_raw()
    ));
    let postgres = PrivatePostgres::start(&root, Profile::Throwaway, None)?;
    let name = format!("generate_{}", std::process::id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(create_database(&postgres, &name))?;
    let done = Command::new(program)
        .args(arguments)
        .env("DATABASE_URL", postgres.url(&name))
        .status()?;
    runtime.block_on(administrate(&postgres, format!("DROP DATABASE {name} WITH (FORCE)")))?;
    Ok(if done.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn create_database(postgres: &PrivatePostgres, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    administrate(postgres, format!("CREATE DATABASE {name}")).await?;
    let pool = PgPool::connect(&postgres.url(name)).await?;
    cura_queue::migrator().run(&pool).await?;
    Migrator::new(Path::new("migrations")).await?.run(&pool).await?;
    pool.close().await;
    Ok(())
}

async fn administrate(postgres: &PrivatePostgres, sql: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await?;
    connection.execute(AssertSqlSafe(sql)).await?;
    connection.close().await
}
