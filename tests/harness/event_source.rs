//! An `EventSource` as browsers have one (WHATWG HTML, section 9.2): it has a URL and no headers, and comes back by itself, with
//! the last id it has seen, until a status says that there is nothing to come back for.

use reqwest::Method;

use crate::client::{Client, Event};

/// More connections than any test needs: a stream that is opened again and again for the same end is a fault.
const MAX_CONNECTIONS: usize = 20;

/// What an `EventSource` has seen when it stopped.
#[derive(Debug)]
pub struct Watched {
    /// The events of all connections.
    pub events: Vec<Event>,
    /// The status that stopped it.
    pub stopped_by: u16,
    /// How many connections were streams.
    pub connections: usize,
}

/// Opens this path of `client`'s server, as a page of `origin`, and comes back until it is stopped. A browser waits two seconds
/// before it comes back; this one does not.
pub async fn watch(client: &Client, path: &str, origin: Option<&str>) -> Watched {
    let anonymous = Client::new(client.base());
    let (mut events, mut last_id) = (Vec::new(), None::<String>);
    for connections in 0..MAX_CONNECTIONS {
        let mut request = anonymous
            .request(Method::GET, path)
            .header("Accept", "text/event-stream");
        if let Some(id) = &last_id {
            request = request.header("Last-Event-ID", id);
        }
        if let Some(origin) = origin {
            request = request.header("Origin", origin);
        }
        match anonymous.events(request).await {
            Ok(mut stream) => {
                while let Some(event) = stream.next().await {
                    events.push(event);
                }
                last_id = stream.cursor.or(last_id);
            }
            Err(refused) => {
                return Watched {
                    events,
                    stopped_by: refused.status.as_u16(),
                    connections,
                };
            }
        }
    }
    panic!("it came back {MAX_CONNECTIONS} times: {events:?}");
}
