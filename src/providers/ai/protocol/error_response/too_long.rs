//! Whether an error says that the prompt is too long for the model, in the words of common servers.
//!
//! It concerns only the asker, whose prompt is shortened, so it is believed generously.

use super::stated::Stated;
use super::words::Words;

/// Types, codes and reasons for it.
const CODES: [&str; 11] = [
    // OpenAI, Azure, Groq, Together, OpenRouter, Cerebras
    "context_length_exceeded",
    // llama.cpp, in both protocols
    "exceed_context_size_error",
    // Anthropic, and Bedrock behind gateways
    "request_too_large",
    // GitHub's models
    "tokens_limit_reached",
    // Azure, for one message of a megabyte
    "string_above_max_length",
    // LiteLLM
    "contextwindowexceedederror",
    "context_window_exceeded",
    "model_context_window_exceeded",
    "input_too_long",
    "prompt_too_long",
    // Zhipu
    "1261",
];

/// Phrases that say nothing else, in the form of `plain`.
const PHRASES: [&str; 29] = [
    // OpenAI, Azure, DeepSeek, OpenRouter, SGLang, Mistral, Fireworks, vLLM before 0.9
    "maximum context length",
    // text-generation-webui
    "model maximum context",
    // llama.cpp, Ollama
    "context size",
    // Anthropic, llama-cpp-python, MiniMax, OpenAI's newer models
    "context window",
    // Anthropic
    "exceed context limit",
    // LM Studio: "Trying to keep the first … tokens when context the overflows", "Reached context length of … tokens"
    "context the overflows",
    "context overflow",
    "reached context length",
    // vLLM, SGLang, LM Studio
    "s context length",
    "exceeds the context length",
    "with context length of only",
    "greater than the context length",
    "context length exceeded",
    // vLLM
    "longer than the maximum model length",
    "is too long to fit into the model",
    // Anthropic, Fireworks, Ollama, and Bedrock
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "input too long",
    // Gemini
    "exceeds the maximum number of tokens",
    // Cohere
    "too many tokens total number of tokens",
    "too many tokens size limit exceeded",
    // xAI
    "maximum prompt length",
    // Groq, Cerebras, OpenAI
    "reduce the length of the",
    // Moonshot
    "exceeded model token limit",
    // TGI, Together
    "inputs tokens max new tokens must be",
    // Cloudflare, Perplexity
    "exceeded this model context window limit",
    // Baidu, Zhipu and other Chinese houses: "the length of the context", "too long"
    "上下文长度",
    "超长",
];

/// Of these, one must be said …
const MEASURES: [&str; 7] = [
    " token ",
    " tokens ",
    " context ",
    " prompt ",
    " input ",
    " inputs ",
    " messages ",
];

/// … and one of these, which other refusals say, too.
const EXCESSES: [&str; 14] = [
    " too long ",
    " too large ",
    " exceed ",
    " exceeds ",
    " exceeded ",
    " exceeding ",
    " longer than ",
    " larger than ",
    " overflow",
    " must have less than ",
    // DashScope: "Range of input length should be [1, 30720]"
    " input length should be ",
    " reduce the ",
    " must be reduced ",
    " over the limit ",
];

/// Whether its status, type or code says that the prompt is too long.
pub(super) fn is_stated_too_long(status: Option<u16>, stated: &Stated) -> bool {
    status == Some(413) || stated.is(&CODES)
}

/// Whether an error with this status says in words that the prompt is too long, and nothing else.
pub(super) fn is_too_long(status: Option<u16>, words: &Words) -> bool {
    match status {
        // A limit for a minute that this request exceeds alone never lets it through.
        Some(429) => words.say(&["request too large for", "must be reduced in order to run"]),
        Some(401..=403) => false,
        _ => words.say(&PHRASES),
    }
}

/// Whether an error with this status, which names no parameter, speaks of a length.
pub(super) fn may_be_too_long(status: Option<u16>, words: &Words) -> bool {
    matches!(status, Some(400 | 422)) && words.say(&MEASURES) && words.say(&EXCESSES)
}
