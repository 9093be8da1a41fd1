//! RFC 6455 on a plain TCP connection: the cases of the public Autobahn suite that fit a server which does not echo. A `pong`
//! event shows that it has understood a message.

use cura_tests::raw_socket::{
    ACCEPT, BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RawSocket, TEXT, close, frame, request, text, unmasked,
};
use cura_tests::{Client, Cura};
use serde_json::{Value, json};

const COMMAND: &str = "{\"type\":\"ping\"}";
const PROTOCOL: Option<u16> = Some(1002);
const NOT_UTF8: Option<u16> = Some(1007);
const TOO_BIG: Option<u16> = Some(1009);

struct Place {
    _cura: Cura,
    user: Client,
    conversation: Value,
}

impl Place {
    async fn new() -> Self {
        let cura = Cura::without_workers().await;
        let user = cura.user().await;
        let conversation = user.post("/conversations", &json!({})).await.body["id"].clone();
        Self {
            _cura: cura,
            user,
            conversation,
        }
    }

    async fn socket(&self) -> RawSocket {
        RawSocket::of(&self.user, &self.conversation).await
    }

    /// How the server ends a socket on which this was said.
    async fn end_after(&self, said: &[Vec<u8>]) -> Option<u16> {
        let mut socket = self.socket().await;
        socket.send(&said.concat()).await;
        socket.close_code().await
    }
}

/// The command, as long as this.
fn padded(length: usize) -> String {
    COMMAND.to_owned() + &" ".repeat(length - COMMAND.len())
}

async fn understands(socket: &mut RawSocket) {
    socket.send(&text(COMMAND)).await;
    assert_eq!(socket.event().await["type"], "pong");
}

#[tokio::test]
async fn messages_of_every_length_are_heard_up_to_the_longest() {
    let place = Place::new().await;
    let mut socket = place.socket().await;
    for length in [125, 126, 127, 128, 65_535, 65_536, 131_072] {
        socket.send(&text(&padded(length))).await;
        assert_eq!(socket.event().await["type"], "pong", "{length}");
    }
    for length in [0, 125, 126, 127, 65_535, 65_536, 131_072] {
        socket.send(&frame(FIN | BINARY, &vec![0xfe; length])).await;
        assert_eq!(socket.event().await["code"], "malformed_frame", "{length}");
    }
    socket.send(&text("")).await;
    assert_eq!(socket.event().await["code"], "malformed_frame");
    understands(&mut socket).await;
    for length in [131_073, 1_000_000] {
        let end = place.end_after(&[text(&"x".repeat(length))]).await;
        assert_eq!(end, TOO_BIG, "{length}");
    }
    let half = "x".repeat(70_000);
    let halves = [frame(TEXT, half.as_bytes()), frame(FIN | CONTINUATION, half.as_bytes())];
    assert_eq!(place.end_after(&halves).await, TOO_BIG, "in fragments");
}

#[tokio::test]
async fn pings_are_answered_with_what_they_carry_and_pongs_are_not() {
    let place = Place::new().await;
    let mut socket = place.socket().await;
    for payload in [&b""[..], b"Hello", b"\x00\xff\xfe\xfd\xfc\x00", &[0xfe; 125]] {
        socket.send(&frame(FIN | PING, payload)).await;
        assert_eq!(socket.next().await, Some((PONG, payload.to_vec())));
    }
    for payload in [&b""[..], b"unsolicited"] {
        socket.send(&frame(FIN | PONG, payload)).await;
    }
    understands(&mut socket).await;
    for one_by_one in [true, false] {
        let pings: Vec<_> = (0..10)
            .map(|n| frame(FIN | PING, format!("ping {n}").as_bytes()))
            .collect();
        if one_by_one {
            for ping in &pings {
                socket.send(ping).await;
            }
        } else {
            socket.send(&pings.concat()).await;
        }
        for n in 0..10 {
            assert_eq!(socket.next().await, Some((PONG, format!("ping {n}").into_bytes())));
        }
    }
    assert_eq!(place.end_after(&[frame(FIN | PING, &[0xfe; 126])]).await, PROTOCOL);
    assert_eq!(place.end_after(&[frame(FIN | PONG, &[0xfe; 126])]).await, PROTOCOL);
}

#[tokio::test]
async fn reserved_bits_and_opcodes_break_the_protocol_after_what_came_before_them() {
    let place = Place::new().await;
    let bits = (1..=7).map(|bits| FIN | TEXT | bits << 4);
    let pings = (1..=7).map(|bits| FIN | PING | bits << 4);
    let closes = (1..=7).map(|bits| FIN | CLOSE | bits << 4);
    let opcodes = (3..=7).chain(11..=15).map(|opcode| FIN | opcode);
    for first in bits.chain(pings).chain(closes).chain(opcodes) {
        for payload in [&b""[..], COMMAND.as_bytes()] {
            let mut socket = place.socket().await;
            let said = [text(COMMAND), frame(first, payload), frame(FIN | PING, b"too late")];
            socket.send(&said.concat()).await;
            assert_eq!(socket.event().await["type"], "pong", "{first:x}");
            assert_eq!(socket.close_code().await, PROTOCOL, "{first:x}");
        }
    }
}

#[tokio::test]
async fn a_message_in_fragments_is_one_message_and_pings_come_between() {
    let place = Place::new().await;
    let mut socket = place.socket().await;
    let (start, end) = COMMAND.as_bytes().split_at(5);
    for in_one_write in [true, false] {
        let said = [
            frame(TEXT, start),
            frame(FIN | PING, b"between"),
            frame(CONTINUATION, b""),
            frame(FIN | PING, b"again"),
            frame(FIN | CONTINUATION, end),
        ];
        if in_one_write {
            socket.send(&said.concat()).await;
        } else {
            for frame in said {
                socket.send(&frame).await;
            }
        }
        assert_eq!(socket.next().await, Some((PONG, b"between".to_vec())));
        assert_eq!(socket.next().await, Some((PONG, b"again".to_vec())));
        assert_eq!(socket.event().await["type"], "pong");
    }
    let mut letters: Vec<_> = COMMAND.bytes().map(|letter| frame(CONTINUATION, &[letter])).collect();
    letters.insert(0, frame(TEXT, b""));
    letters.push(frame(FIN | CONTINUATION, b""));
    socket.send(&letters.concat()).await;
    assert_eq!(socket.event().await["type"], "pong");
    socket
        .send(&[frame(BINARY, b"1"), frame(FIN | CONTINUATION, b"2")].concat())
        .await;
    assert_eq!(socket.event().await["code"], "malformed_frame");
}

#[tokio::test]
async fn fragments_that_do_not_fit_break_the_protocol() {
    let place = Place::new().await;
    for (what, said) in [
        ("nothing to continue", vec![frame(FIN | CONTINUATION, b"x")]),
        ("nothing to continue, and more to come", vec![frame(CONTINUATION, b"x")]),
        (
            "continued after its end",
            vec![
                frame(TEXT, b"x"),
                frame(FIN | CONTINUATION, b"x"),
                frame(FIN | CONTINUATION, b"x"),
            ],
        ),
        ("a message in a message", vec![frame(TEXT, b"x"), text(COMMAND)]),
        ("a beginning in a message", vec![frame(TEXT, b"x"), frame(TEXT, b"x")]),
        ("bytes in a text", vec![frame(TEXT, b"x"), frame(FIN | BINARY, b"x")]),
        (
            "a ping in fragments",
            vec![frame(PING, b"x"), frame(FIN | CONTINUATION, b"x")],
        ),
        (
            "a pong in fragments",
            vec![frame(PONG, b"x"), frame(FIN | CONTINUATION, b"x")],
        ),
        ("a goodbye in fragments", vec![frame(CLOSE, &[3, 232])]),
    ] {
        assert_eq!(place.end_after(&said).await, PROTOCOL, "{what}");
    }
}

#[tokio::test]
async fn text_is_utf_8_wherever_it_is_cut() {
    let place = Place::new().await;
    let mut socket = place.socket().await;
    let said = "Hello-µ@ßöäüàá-κόσμε-𝄞-\u{10ffff}-\u{fffd}";
    let message = json!({ "type": "message", "content": said }).to_string();
    let mut bytes = message.as_bytes().iter();
    let mut frames = vec![frame(TEXT, &[*bytes.next().unwrap()])];
    frames.extend(bytes.map(|byte| frame(CONTINUATION, &[*byte])));
    frames.push(frame(FIN | CONTINUATION, b""));
    socket.send(&frames.concat()).await;
    let heard = loop {
        let event = socket.event().await;
        if event["type"] == "message" {
            break event["message"]["content"].clone();
        }
    };
    assert_eq!(heard, said);
    for bad in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xfe",
        b"\x80",
        b"cut \xf0\x9d\x84",
    ] {
        assert_eq!(place.end_after(&[frame(FIN | TEXT, bad)]).await, NOT_UTF8, "{bad:x?}");
        let (start, end) = bad.split_at(bad.len() - 1);
        let halves = [frame(TEXT, start), frame(FIN | CONTINUATION, end)];
        assert_eq!(place.end_after(&halves).await, NOT_UTF8, "{bad:x?} in fragments");
        assert_eq!(
            place.end_after(&[close(1000, bad)]).await,
            NOT_UTF8,
            "{bad:x?} as a reason"
        );
    }
    // What can never become text is refused before its end.
    let hopeless = [frame(TEXT, b"\xf4\x90"), frame(CONTINUATION, b"\x80")];
    assert_eq!(place.end_after(&hopeless).await, NOT_UTF8);
}

#[tokio::test]
async fn every_goodbye_is_answered_and_what_follows_it_is_not() {
    let place = Place::new().await;
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        assert_eq!(place.end_after(&[close(code, b"")]).await, Some(code));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(place.end_after(&[close(code, b"")]).await, PROTOCOL, "{code}");
    }
    let mut socket = place.socket().await;
    socket.send(&frame(FIN | CLOSE, b"")).await;
    assert_eq!(socket.closed().await, Some(Vec::new()));
    assert_eq!(place.end_after(&[frame(FIN | CLOSE, &[3])]).await, PROTOCOL);
    assert_eq!(place.end_after(&[close(1000, &[b'x'; 124])]).await, PROTOCOL);
    let mut socket = place.socket().await;
    socket.send(&close(1000, &[b'x'; 123])).await;
    assert_eq!(socket.closed().await.unwrap()[2..], [b'x'; 123]);
    for after in [
        text(COMMAND),
        frame(FIN | PING, b"x"),
        close(1001, b""),
        unmasked(0xff, b"x"),
    ] {
        let mut socket = place.socket().await;
        socket.send(&[close(1000, b""), after].concat()).await;
        assert_eq!(socket.next().await, Some((CLOSE, vec![3, 232])));
        assert_eq!(socket.next().await, None);
    }
    // In the middle of a message, too.
    assert_eq!(
        place.end_after(&[frame(TEXT, b"x"), close(1000, b"")]).await,
        Some(1000)
    );
}

#[tokio::test]
async fn frames_without_a_mask_break_the_protocol() {
    let place = Place::new().await;
    for said in [
        unmasked(FIN | TEXT, COMMAND.as_bytes()),
        unmasked(FIN | PING, b""),
        unmasked(FIN | CLOSE, &[3, 232]),
    ] {
        assert_eq!(place.end_after(&[said]).await, PROTOCOL);
    }
}

#[tokio::test]
async fn a_handshake_is_answered_with_the_proof_that_it_was_read_or_with_a_problem() {
    let place = Place::new().await;
    let path = format!("/chat/ws/{}", place.conversation);
    let ask = async |changed: &[(&str, Option<&str>)]| {
        let mut socket = RawSocket::connect(&place.user).await;
        let request = request(&place.user, &path, changed);
        socket.send(format!("{request}\r\n").as_bytes()).await;
        (socket.head().await, socket)
    };
    for changed in [
        vec![],
        vec![("Upgrade", Some("WebSocket"))],
        vec![("Upgrade", Some("WEBSOCKET"))],
        vec![("Upgrade", Some("something-newer, WebSocket"))],
        vec![("Connection", Some("keep-alive, upgrade"))],
        vec![(
            "Sec-WebSocket-Extensions",
            Some("permessage-deflate; client_max_window_bits"),
        )],
        vec![("Sec-WebSocket-Protocol", Some("chat, superchat"))],
        vec![("Origin", Some("http://localhost"))],
    ] {
        let (head, mut socket) = ask(&changed).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{changed:?}: {head}");
        assert!(head.contains(&format!("sec-websocket-accept: {ACCEPT}\r\n")), "{head}");
        for never in ["sec-websocket-extensions", "sec-websocket-protocol"] {
            assert!(!head.contains(never), "nothing was agreed on: {head}");
        }
        understands(&mut socket).await;
    }
    for changed in [
        ("Upgrade", None),
        ("Upgrade", Some("h2c")),
        ("Connection", None),
        ("Connection", Some("keep-alive")),
        ("Sec-WebSocket-Version", None),
        ("Sec-WebSocket-Version", Some("8")),
        ("Sec-WebSocket-Key", None),
        ("Sec-WebSocket-Key", Some("")),
        ("Sec-WebSocket-Key", Some("short")),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ")),
        ("Sec-WebSocket-Key", Some("bm90IHNpeHRlZW4gYnl0ZXM=")),
    ] {
        let (head, mut socket) = ask(&[changed]).await;
        let is = |line: &str| assert!(head.contains(line), "{changed:?}: {head} has no {line}");
        let of_key = changed.0 == "Sec-WebSocket-Key" && changed.1.is_some();
        let status = if of_key { 400 } else { 426 };
        is(&format!("HTTP/1.1 {status} "));
        is("content-type: application/problem+json\r\n");
        if status == 426 {
            // What would be right: RFC 9110, section 15.5.22, and RFC 6455, section 4.2.2.
            is("upgrade: websocket\r\n");
            is("sec-websocket-version: 13\r\n");
        }
        let (_, length) = head.split_once("content-length: ").unwrap();
        let body = socket.body(length.lines().next().unwrap().parse().unwrap()).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["status"], status, "{changed:?}");
    }
}

#[tokio::test]
async fn it_does_not_matter_how_tcp_cuts_what_is_said() {
    let place = Place::new().await;
    let mut socket = place.socket().await;
    let said = [frame(FIN | PING, b"x"), text(&padded(200))].concat();
    for byte in &said {
        socket.send(&[*byte]).await;
    }
    assert_eq!(socket.next().await, Some((PONG, b"x".to_vec())));
    assert_eq!(socket.event().await["type"], "pong");
    for cut in 1..said.len() {
        // Every cut, on sockets that do not run into the limit of frames.
        if cut % 25 == 1 {
            socket = place.socket().await;
        }
        socket.send(&said[..cut]).await;
        tokio::task::yield_now().await;
        socket.send(&said[cut..]).await;
        assert_eq!(socket.next().await, Some((PONG, b"x".to_vec())), "{cut}");
        assert_eq!(socket.event().await["type"], "pong", "{cut}");
    }
    let mut socket = place.socket().await;
    socket.send(&text(COMMAND).repeat(60)).await;
    for _ in 0..60 {
        assert_eq!(socket.event().await["type"], "pong");
    }
    // Behind the handshake, in the same write.
    let mut socket = RawSocket::connect(&place.user).await;
    let request = request(&place.user, &format!("/chat/ws/{}", place.conversation), &[]);
    socket
        .send(&[format!("{request}\r\n").into_bytes(), text(COMMAND)].concat())
        .await;
    assert!(socket.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(socket.event().await["type"], "pong");
}

#[tokio::test]
async fn a_client_that_stops_speaking_without_a_goodbye_is_let_go() {
    let place = Place::new().await;
    for said in [vec![], text(COMMAND)[..7].to_vec(), frame(TEXT, b"x")] {
        let mut socket = place.socket().await;
        socket.send(&said).await;
        socket.send_no_more().await;
        assert_eq!(socket.closed().await, None);
    }
    // What was whole is done before, and a goodbye is answered.
    let mut socket = place.socket().await;
    socket.send(&text(COMMAND)).await;
    socket.send_no_more().await;
    assert_eq!(socket.event().await["type"], "pong");
    assert_eq!(socket.next().await, None);
    let mut socket = place.socket().await;
    socket.send(&close(1000, b"")).await;
    socket.send_no_more().await;
    assert_eq!(socket.close_code().await, Some(1000));
}

#[tokio::test]
async fn a_client_that_sends_far_too_much_hears_why_before_it_is_let_go() {
    let place = Place::new().await;
    for said in [
        // In one frame, and in pieces that go on.
        text(&"x".repeat(20_000_000)),
        [
            frame(TEXT, &[b'x'; 100_000]),
            frame(CONTINUATION, &[b'x'; 100_000]).repeat(100),
        ]
        .concat(),
        // Behind something that cannot be understood.
        [unmasked(FIN | TEXT, b"x"), vec![b'x'; 5_000_000]].concat(),
    ] {
        let mut socket = place.socket().await;
        // It reads only when it has sent everything.
        socket.send(&said).await;
        let code = socket.close_code().await;
        let expected = if said[1] & 0x80 == 0 { PROTOCOL } else { TOO_BIG };
        assert_eq!(code, expected);
    }
    understands(&mut place.socket().await).await;
}

#[tokio::test]
async fn a_message_in_pieces_without_end_is_a_flood() {
    let place = Place::new().await;
    let empty = frame(CONTINUATION, b"").repeat(200_000);
    let flood = Some(1008);
    assert_eq!(place.end_after(&[frame(TEXT, b""), empty]).await, flood);
    // Whole messages in the smallest pieces are none.
    let mut socket = place.socket().await;
    let pieces: Vec<Vec<u8>> = padded(20_000)
        .bytes()
        .map(|byte| frame(CONTINUATION, &[byte]))
        .collect();
    let said = [frame(TEXT, b""), pieces.concat(), frame(FIN | CONTINUATION, b"")].concat();
    for _ in 0..10 {
        socket.send(&said).await;
        assert_eq!(socket.event().await["type"], "pong");
    }
}

#[tokio::test]
async fn compression_is_not_agreed_to_and_compressed_frames_break_the_protocol() {
    let place = Place::new().await;
    let mut socket = RawSocket::connect(&place.user).await;
    let path = format!("/chat/ws/{}", place.conversation);
    let extension = (
        "Sec-WebSocket-Extensions",
        Some("permessage-deflate; client_max_window_bits"),
    );
    let request = request(&place.user, &path, &[extension]);
    socket.send(format!("{request}\r\n").as_bytes()).await;
    let head = socket.head().await.to_ascii_lowercase();
    assert!(
        head.starts_with("http/1.1 101 ") && !head.contains("extensions"),
        "{head}"
    );
    understands(&mut socket).await;
    const COMPRESSED: u8 = 0x40;
    socket
        .send(&frame(FIN | COMPRESSED | TEXT, b"\xca\x48\xcd\xc9\xc9\x07\x00"))
        .await;
    assert_eq!(socket.close_code().await, PROTOCOL);
}
