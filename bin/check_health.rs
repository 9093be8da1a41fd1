//! `cura-server --check-health`: asks a running server whether it accepts requests, for containers and scripts.

use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::program::{self, StartError};
use crate::settings::ServerSettings;

/// How long a check takes at most; the server's own probe of its database takes one second.
const CHECK_TIMEOUT: Duration = Duration::from_secs(4);
/// How much of an answer is read for its status.
const STATUS_LINE: usize = "HTTP/1.1 200".len();

/// Asks the server of these settings for `/health/ready`; gives the exit code, with the reason on stderr.
pub fn start() -> ExitCode {
    match check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => program::fail(&error),
    }
}

fn check() -> Result<(), StartError> {
    let server = ServerSettings::from_environment()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::Other(format!("the health cannot be checked: {error}")))?;
    // A timer is made where the runtime is.
    let answer = runtime.block_on(async { tokio::time::timeout(CHECK_TIMEOUT, ask(&server)).await });
    runtime.shutdown_background();
    match answer {
        Ok(Ok(status)) if status == "200" => Ok(()),
        Ok(Ok(status)) => Err(StartError::Other(format!(
            "the server is not ready: it answered {status}"
        ))),
        Ok(Err(error)) => Err(StartError::Other(format!("the server does not answer: {error}"))),
        Err(_) => Err(StartError::Other("the server does not answer in time".to_owned())),
    }
}

/// The status that the server answers with.
async fn ask(server: &ServerSettings) -> std::io::Result<String> {
    // A server on every address is reached on this machine's own.
    let host = match &*server.host {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    let mut connection = TcpStream::connect((host, server.port)).await?;
    let request = "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).await?;
    let mut answer = [0; STATUS_LINE];
    connection.read_exact(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.1 ");
    status
        .map(str::to_owned)
        .ok_or_else(|| std::io::Error::other("something else than Cura is there"))
}
