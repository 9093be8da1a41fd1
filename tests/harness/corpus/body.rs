//! From the body of a case to the steps of a provider. See the corpus' README for the notation.

use std::time::Duration;

use serde_json::{Value, json};

use super::case::{Dialect, Framing, Response};
use crate::provider::{Step, anthropic, event};

/// One part of a body.
enum Part {
    Bytes(Vec<u8>),
    Step(Step),
}

/// The steps that send `response`.
///
/// # Panics
/// If its body is not in the notation.
pub fn steps(response: &Response, dialect: Dialect) -> Vec<Step> {
    let parts = parts(&response.body, dialect);
    let ok = response.status.starts_with('2');
    let default_type = if ok { "text/event-stream" } else { "application/json" };
    let mut head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\n",
        response.status,
        response.content_type.as_deref().unwrap_or(default_type)
    );
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let framing = if ok { response.framing } else { Framing::Length };
    head.push_str(&match framing {
        Framing::Chunked | Framing::Bytes => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
        Framing::Close => "Connection: close\r\n\r\n".to_owned(),
        Framing::Length => {
            let length: usize = parts.iter().map(|part| part.bytes().len()).sum();
            format!("Content-Length: {length}\r\n\r\n")
        }
    });
    let mut steps = vec![Step::Raw(head.into_bytes())];
    let mut ended = false;
    for part in parts {
        match part {
            Part::Bytes(bytes) => match framing {
                Framing::Chunked => steps.push(framed(&bytes)),
                Framing::Bytes => steps.extend(bytes.iter().map(|byte| framed(&[*byte]))),
                Framing::Length | Framing::Close => steps.push(Step::Raw(bytes)),
            },
            Part::Step(step) => {
                ended |= matches!(step, Step::Cut | Step::Hang);
                steps.push(step);
            }
        }
    }
    match framing {
        _ if ended => {}
        Framing::Chunked | Framing::Bytes => steps.push(Step::End),
        Framing::Close => steps.push(Step::Cut),
        Framing::Length => {}
    }
    steps
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Step(_) => &[],
        }
    }
}

fn framed(bytes: &[u8]) -> Step {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend(bytes);
    framed.extend(b"\r\n");
    Step::Raw(framed)
}

/// An event, or what stands between two directives, is one part.
fn parts(body: &str, dialect: Dialect) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open = Vec::new();
    for line in body.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let step = match word {
            "@pause" => Step::Pause(Duration::from_millis(rest.parse().expect("milliseconds"))),
            "@cut" => Step::Cut,
            "@hang" => Step::Hang,
            "@bytes" => {
                open.extend(unescaped(rest));
                open.push(b'\n');
                continue;
            }
            "@repeat" => {
                let (times, text) = rest.split_once(' ').expect("how often, and what");
                open.extend(unescaped(text).repeat(times.parse().expect("how often")));
                continue;
            }
            "@part" => {
                // A line without its end.
                open.extend(unescaped(rest));
                flush(&mut parts, &mut open);
                continue;
            }
            _ => {
                match shorthand(word, rest, dialect) {
                    Some(event) => {
                        flush(&mut parts, &mut open);
                        open.extend(event.into_bytes());
                    }
                    None => {
                        open.extend(line.as_bytes());
                        open.push(b'\n');
                    }
                }
                if line.is_empty() || open.ends_with(b"\n\n") {
                    flush(&mut parts, &mut open);
                }
                continue;
            }
        };
        flush(&mut parts, &mut open);
        parts.push(Part::Step(step));
    }
    flush(&mut parts, &mut open);
    parts
}

fn flush(parts: &mut Vec<Part>, open: &mut Vec<u8>) {
    if !open.is_empty() {
        parts.push(Part::Bytes(std::mem::take(open)));
    }
}

/// `\xNN` is a byte, `\n` a line end; every other character is itself.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        bytes.extend(&rest.as_bytes()[..at]);
        bytes.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).expect("two hexadecimal digits"));
        rest = &rest[at + 4..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// The event that a shorthand stands for.
fn shorthand(word: &str, rest: &str, dialect: Dialect) -> Option<String> {
    let known = matches!(word, "T" | "R" | "E" | "TE" | "U" | "D" | "B");
    if !known || (rest.is_empty() && !matches!(word, "D" | "B")) {
        return None;
    }
    Some(match dialect {
        Dialect::Openai => openai_shorthand(word, rest),
        Dialect::Anthropic => anthropic_shorthand(word, rest),
    })
}

/// JSON strings or numbers beside each other; `"x" * 3` is repeated.
fn arguments(rest: &str) -> Vec<Value> {
    if let Some((text, times)) = rest.rsplit_once(" * ")
        && let Ok(times) = times.trim().parse()
        && let Ok(Value::String(text)) = serde_json::from_str(text)
    {
        return vec![Value::String(text.repeat(times))];
    }
    serde_json::Deserializer::from_str(rest)
        .into_iter()
        .map(|value| value.unwrap_or_else(|error| panic!("{rest:?}: {error}")))
        .collect()
}

fn openai_shorthand(word: &str, rest: &str) -> String {
    let arguments = arguments(rest);
    let argument = |index: usize| arguments.get(index).cloned().unwrap_or_default();
    let chunk = |delta: Value, finish: Value| {
        event(&json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "scripted",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
        }))
    };
    match word {
        "T" => chunk(json!({ "content": argument(0) }), Value::Null),
        "R" => chunk(json!({ "reasoning_content": argument(0) }), Value::Null),
        "E" => chunk(json!({}), argument(0)),
        "TE" => chunk(json!({ "content": argument(0) }), argument(1)),
        "U" => event(&json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "scripted",
            "choices": [], "usage": { "prompt_tokens": argument(0), "completion_tokens": argument(1) },
        })),
        "B" => chunk(json!({ "role": "assistant", "content": "" }), Value::Null),
        _ => "data: [DONE]\n\n".to_owned(),
    }
}

fn anthropic_shorthand(word: &str, rest: &str) -> String {
    let arguments = arguments(rest);
    let argument = |index: usize| arguments.get(index).cloned().unwrap_or_default();
    let delta = |delta: Value| anthropic::event(&json!({ "type": "content_block_delta", "index": 0, "delta": delta }));
    match word {
        "T" => delta(json!({ "type": "text_delta", "text": argument(0) })),
        "R" => delta(json!({ "type": "thinking_delta", "thinking": argument(0) })),
        "E" => {
            let stop = json!({ "stop_reason": argument(0), "stop_sequence": null });
            let end = json!({ "type": "message_delta", "delta": stop, "usage": { "output_tokens": 2 } });
            anthropic::event(&json!({ "type": "content_block_stop", "index": 0 })) + &anthropic::event(&end)
        }
        "B" => {
            let message = json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-scripted", "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 7, "output_tokens": 1 },
            });
            let block =
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } });
            anthropic::event(&json!({ "type": "message_start", "message": message })) + &anthropic::event(&block)
        }
        "D" => anthropic::event(&json!({ "type": "message_stop" })),
        other => panic!("Anthropic's dialect has no {other}"),
    }
}
