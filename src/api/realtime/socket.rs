//! One conversation on a WebSocket (RFC 6455): the events of `/events`, in the same order and with the same cursors, and
//! commands of the client.
//!
//! Each socket is one task. It reads no faster than it acts, and takes no event before the last one was sent: a slow reader gets
//! fewer, bigger chunks, and costs no memory.

mod admission;
mod close;
mod close_reason;
mod command;
mod connection;
mod context;
mod frame;
mod frame_rate;
pub(crate) mod handshake;
mod heartbeat;
pub(crate) mod upgrade;
mod wire;

pub(crate) use context::Context;
