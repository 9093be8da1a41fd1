//! `make bench`: how fast Cura is on this machine, against an AI service with a fixed script. Prints Markdown.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on has failed; its output is its result"
)]

mod answers;
mod attack;
mod calls;
mod files;
mod floor;
mod light_client;
mod many_connections;
mod measure;
mod memory;
mod processor_time;
mod push;
mod queue;
mod users;

use light_client::Kind;

#[tokio::main]
async fn main() {
    // `cura-bench floor` runs what has `floor` in its name; without an argument, everything.
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let wants = |name: &str| name.contains(&wanted);
    if wanted == attack::ATTACKER {
        let base = std::env::args().nth(2).unwrap();
        return attack::attack(&base).await;
    }
    cura_tests::database::use_durable_server().await;
    let beside_floor: Vec<_> = floor::PROFILES.iter().filter(|profile| wants(profile.name)).collect();
    if !beside_floor.is_empty() {
        floor::compare(&beside_floor).await;
    }
    if wants("first-token") {
        answers::first_token_all_in_one().await;
    }
    for kind in [Kind::Events, Kind::Sockets] {
        if wants(&format!("latency-{}", kind.name())) {
            many_connections::latency(kind).await;
        }
        if wants(&format!("idle-{}", kind.name())) {
            many_connections::idle(kind).await;
        }
        if wants(&format!("reconnect-{}", kind.name())) {
            many_connections::reconnect(kind).await;
        }
    }
    if wants("calls") {
        calls::mixed_calls().await;
        calls::sign_in_times().await;
    }
    if wants("memory") {
        memory::registrations().await;
    }
    if wants("push-latency") {
        push::end_to_request().await;
    }
    if wants("push-streams") {
        push::streams().await;
    }
    if wants("push-burst") {
        push::burst().await;
    }
    if wants("files-clean") {
        files::upload_to_clean().await;
    }
    if wants("files-child") {
        files::child_start().await;
    }
    if wants("files-uploads") {
        files::many_at_once().await;
    }
    if wants("files-bombs") {
        files::growth_over_bombs().await;
    }
    if wants("files-messages") {
        files::with_files_and_without().await;
    }
    if wants("files-pages") {
        files::pages_with_files_and_without().await;
    }
    // Two minutes, and it makes much noise: only by its name.
    if wanted == "attack" {
        attack::mixed().await;
    }
    if wants("users") {
        users::lists().await;
    }
    if wants("queue") {
        queue::enqueue_to_start().await;
        queue::idle_worker().await;
    }
}
