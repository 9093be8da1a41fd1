// Tells its pages what was pushed. It shows nothing: a browser without a window cannot.
addEventListener("push", event => event.waitUntil(tell(event.data.json())));

async function tell(message) {
  for (const page of await clients.matchAll({ includeUncontrolled: true })) {
    page.postMessage(message);
  }
}
