//! What an attacker with one address or one account can do to somebody else: nothing. Each file attacks one thing that is kept, counted or shared.

mod any_route;
mod clock_steps;
mod compose;
mod poison;
mod revocation;
mod tokens;
mod waiting_answers;
