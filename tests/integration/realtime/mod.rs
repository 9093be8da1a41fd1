//! Streams of events and WebSockets, and the live text behind them.

mod answer_streams;
mod events;
mod live_text;
mod socket_close;
mod sockets;
mod stream_connections;
mod stream_ends;
mod websocket_protocol;
