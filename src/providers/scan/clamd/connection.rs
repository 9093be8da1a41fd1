//! A connection to clamd.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::address::ClamdAddress;
use crate::scan::error::ScanError;

/// One of TCP or of a Unix socket.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

/// Opens a connection.
///
/// # Errors
/// [`ScanError::Unavailable`]
pub(super) async fn open(address: &ClamdAddress, limit: Duration) -> Result<Box<dyn Connection>, ScanError> {
    let opening = async {
        Ok::<Box<dyn Connection>, std::io::Error>(match address {
            ClamdAddress::Tcp { host, port } => Box::new(TcpStream::connect((host.as_str(), *port)).await?),
            ClamdAddress::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    };
    match tokio::time::timeout(limit, opening).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(_)) => Err(ScanError::Unavailable("unreachable")),
        Err(_) => Err(ScanError::TIMED_OUT),
    }
}
