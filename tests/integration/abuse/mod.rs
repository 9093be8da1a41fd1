//! What an attacker with one address or one account can do to somebody else: nothing. Each file attacks one thing that is kept, counted or shared.

mod any_route;
mod budgets;
mod clock_steps;
mod compose;
mod connections;
mod ends_of_answers;
mod erasure;
mod glitches;
mod gone;
mod long_texts;
mod migrations;
mod poison;
mod pruning;
mod replays;
mod request_bodies;
mod revocation;
mod sign_in;
mod sockets;
mod strangers;
mod tokens;
mod unpaid_calls;
mod unread_answers;
mod waiting_answers;
