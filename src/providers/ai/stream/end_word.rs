//! The words with which providers say why a text has ended. Every house has its own, in its own spelling.

use cura_domain::message::FinishReason;

/// How much of an unknown word is logged, in characters.
const MAX_WORD_CHARS: usize = 40;

/// What a word says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EndWord {
    /// The text has ended for this reason.
    Reason(FinishReason),
    /// The text has not ended: the provider, or what stands before it, gave up.
    Failure,
    /// Nothing that we know: the word, as far as it may be logged.
    Unknown(String),
}

/// The model reached a limit.
const LENGTH: [&str; 16] = [
    "length",
    "maxtokens",
    "maxoutputtokens",
    "maxtokensreached",
    "maxlength",
    // Mistral
    "modellength",
    // Anthropic
    "modelcontextwindowexceeded",
    // Cohere: the context is used up.
    "errorlimit",
    // LM Studio
    "maxpredictedtokensreached",
    "contextlengthreached",
    // Gateways, and servers of local models
    "contextlengthexceeded",
    "tokenlimit",
    "limit",
    "lengthcapped",
    "lengthlimit",
    "lengthlimitreached",
];

/// The provider withheld the rest.
const CONTENT_FILTER: [&str; 20] = [
    // OpenAI, Azure; Bedrock says `content_filtered`, and Gemini's endpoint `content_filter: SAFETY`.
    "contentfilter",
    // Anthropic
    "refusal",
    // Gemini
    "safety",
    "recitation",
    "prohibitedcontent",
    "blocklist",
    "spii",
    "language",
    "imagesafety",
    "modelarmor",
    // Cohere
    "errortoxic",
    "toxic",
    // Bedrock
    "guardrailintervened",
    // Zhipu
    "sensitive",
    // Gateways
    "moderation",
    "safetyfilter",
    "guardrail",
    "guardrails",
    "filtered",
    "blocked",
];

/// The model had finished.
const STOP: [&str; 22] = [
    "stop",
    "stopped",
    // Anthropic
    "endturn",
    "stopsequence",
    "pauseturn",
    "tooluse",
    // OpenAI
    "toolcalls",
    "functioncall",
    // TGI, Together, LM Studio
    "eos",
    "eostoken",
    "eosfound",
    "stopstringfound",
    "stopword",
    // Cohere, Bedrock
    "complete",
    "completed",
    "finish",
    "finished",
    "toolcall",
    "endofturn",
    "endoftext",
    "end",
    "done",
];

/// What words of failure speak of.
const FAILURE: [&str; 25] = [
    "error",
    "abort",
    "fail",
    "network",
    "insufficient",
    "cancel",
    "timeout",
    "timedout",
    "unavailable",
    "overload",
    "interrupt",
    "disconnect",
    "crash",
    "exception",
    "malformed",
    "killed",
    "preempt",
    "unload",
    "unexpected",
    "ratelimit",
    "internal",
    "exhausted",
    "quota",
    "budget",
    // LM Studio: somebody stopped it there.
    "userstopped",
];

impl EndWord {
    /// What `word` says; `None` for words that say nothing, which some servers send with every chunk.
    pub(crate) fn of(word: &str) -> Option<Self> {
        // `MAX_TOKENS`, `max-tokens` and `maxTokens` are one word, and `FinishReason.STOP` is `stop`.
        let squashed: String = word
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|char| char.to_ascii_lowercase())
            .take(200)
            .collect();
        let plain = squashed.strip_prefix("finishreason").unwrap_or(&squashed);
        let is = |words: &[&str]| words.contains(&plain);
        Some(match plain {
            "" | "null" | "none" | "undefined" | "nil" | "unspecified" => return None,
            _ if is(&STOP) => Self::Reason(FinishReason::Stop),
            _ if is(&LENGTH) => Self::Reason(FinishReason::Length),
            _ if is(&CONTENT_FILTER) || plain.starts_with("contentfilter") => Self::Reason(FinishReason::ContentFilter),
            _ if FAILURE.iter().any(|failure| plain.contains(failure)) => Self::Failure,
            _ => Self::Unknown(loggable(word)),
        })
    }
}

/// A word without anything that is no word: it comes from outside, and stands in a log.
fn loggable(word: &str) -> String {
    let is_safe = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.' | ':');
    word.chars().filter(is_safe).take(MAX_WORD_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_house_do_not_matter() {
        for (words, reason) in [
            (
                "stop STOP eos_token end_turn endTurn FinishReason.STOP COMPLETE tool_calls",
                FinishReason::Stop,
            ),
            (
                "length MAX_TOKENS max-tokens maxTokens model_length FINISH_REASON_MAX_TOKENS ERROR_LIMIT \
                 model_context_window_exceeded",
                FinishReason::Length,
            ),
            (
                "content_filter SAFETY RECITATION PROHIBITED_CONTENT BLOCKLIST SPII LANGUAGE ERROR_TOXIC refusal \
                 guardrail_intervened content_filtered content_filter:OTHER sensitive",
                FinishReason::ContentFilter,
            ),
        ] {
            for word in words.split_whitespace() {
                assert_eq!(EndWord::of(word), Some(EndWord::Reason(reason)), "{word}");
            }
        }
    }

    #[test]
    fn a_word_of_failure_is_one() {
        for word in "error ERROR network_error insufficient_system_resource abort aborted USER_CANCEL failed timeout \
                     MALFORMED_FUNCTION_CALL modelUnloaded"
            .split_whitespace()
        {
            assert_eq!(EndWord::of(word), Some(EndWord::Failure), "{word}");
        }
    }

    #[test]
    fn a_word_that_says_nothing_is_none_and_an_unknown_one_is_cut() {
        for word in ["", " ", "null", "NULL", "None", "FINISH_REASON_UNSPECIFIED"] {
            assert_eq!(EndWord::of(word), None, "{word:?}");
        }
        assert_eq!(EndWord::of("OTHER"), Some(EndWord::Unknown("OTHER".to_owned())));
        let long = format!("a line\nof text {}", "x".repeat(300));
        let Some(EndWord::Unknown(word)) = EndWord::of(&long) else {
            panic!("it is unknown");
        };
        assert_eq!(word, format!("alineoftext{}", "x".repeat(29)));
    }
}
