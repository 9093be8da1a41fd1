//! Whether an error says that a provider's moderation will not have the words: a shorter prompt is no cure, and shows nothing.
//!
//! It concerns only the asker, whose prompt is not sent again.

use super::stated::Stated;
use super::words::Words;

/// Types, codes and reasons for it.
const CODES: [&str; 20] = [
    // Azure
    "content_filter",
    "responsibleaipolicyviolation",
    "content_management_policy",
    // OpenAI
    "content_policy_violation",
    "moderation_blocked",
    "invalid_prompt",
    // LiteLLM
    "contentpolicyviolationerror",
    "content_filter_error",
    "contentfilter",
    // Groq, Bedrock behind gateways
    "guardrail_intervened",
    "guardrail_violation",
    "moderation_error",
    // Gemini
    "prohibited_content",
    // DashScope
    "data_inspection_failed",
    "datainspectionfailed",
    // Volcengine
    "sensitivecontentdetected",
    "inputtextsensitivecontentdetected",
    // Gateways that resell (one-api)
    "sensitive_words_detected",
    // Zhipu, MiniMax
    "1301",
    "1026",
];

/// Words for it, of servers without a code, in the form of `plain`.
const WORDS: [&str; 8] = [
    // Azure
    "content management policy",
    // OpenAI
    "potentially violating our usage policy",
    "rejected as a result of our safety system",
    // xAI
    "content violates usage guidelines",
    // DeepSeek
    "content exists risk",
    // DashScope, SiliconFlow
    "inappropriate content",
    // OpenRouter
    "requires moderation",
    "flagged by moderation",
];

/// Whether an error with this status says that moderation refused the words.
pub(super) fn is_moderated(status: Option<u16>, stated: &Stated, words: &Words) -> bool {
    // 451: refused for what the law, or the house, says of the words.
    match status {
        Some(451) => true,
        Some(400 | 403 | 422) => stated.is(&CODES) || words.say_of_everybody(&WORDS),
        None => stated.is(&CODES),
        Some(_) => false,
    }
}
