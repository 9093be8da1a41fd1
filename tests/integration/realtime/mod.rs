//! Streams of events and WebSockets, the live text behind them, and who watches them.

mod answer_streams;
mod events;
mod live_text;
mod presence;
mod socket_close;
mod sockets;
mod stream_connections;
mod stream_ends;
mod websocket_protocol;
