//! Whether an error concerns the account, the key, or the settings: everybody's requests, until an operator has acted.
//!
//! Status, types and codes decide. Words do where no server has a code for it, if they are no quotation; a request of our own
//! confirms it.

use super::stated::Stated;
use super::words::Words;

/// Types and codes of an account without credit.
const NO_CREDIT: [&str; 19] = [
    // OpenAI
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    // Anthropic
    "billing_error",
    "credit_balance_too_low",
    // DeepSeek and others
    "insufficient_balance",
    "insufficient_credits",
    "insufficient_funds",
    "payment_required",
    // Moonshot
    "exceeded_current_quota_error",
    // Gateways that resell (one-api)
    "insufficient_user_quota",
    "pre_consume_token_quota_failed",
    "quota_exceeded",
    // DashScope, Volcengine
    "arrearage",
    "accountoverdueerror",
    "account_overdue",
    // Zhipu
    "1113",
    // SiliconFlow
    "30001",
    "usage_limit_exceeded",
];

/// Words for it.
const NO_CREDIT_WORDS: [&str; 15] = [
    "credit balance is too low",
    "insufficient balance",
    "balance is insufficient",
    "balance insufficient",
    "balance is not enough",
    "insufficient quota",
    "insufficient credit",
    "not enough credits",
    "out of credits",
    "exceeded your current quota",
    "exceeded your monthly",
    "reached your specified api usage limits",
    "billing hard limit",
    "account is not active please check your billing",
    "in good standing",
];

/// Types, codes and reasons about our key or region.
const KEY: [&str; 11] = [
    "invalid_api_key",
    "api_key_invalid",
    "api_key_expired",
    "api_key_service_blocked",
    "authentication_error",
    "invalid_authentication_error",
    "account_deactivated",
    "access_terminated",
    "missing_scope",
    "unsupported_country_region_territory",
    "unauthenticated",
];

/// Types and codes for a model that is not there.
const NO_MODEL: [&str; 14] = [
    // OpenAI, Groq, vLLM, Fireworks
    "model_not_found",
    "notfounderror",
    "not_found_error",
    // Together, GitHub's models, xAI
    "model_not_available",
    "unknown_model",
    "unavailable_model",
    "model_not_supported",
    // Mistral
    "invalid_model",
    "1500",
    // Azure
    "deploymentnotfound",
    "operationnotsupported",
    "unsupportedmodel",
    // DashScope, Moonshot
    "modelnotfound",
    "resource_not_found_error",
];

/// Words for it, of servers that answer 400.
const NO_MODEL_WORDS: [&str; 9] = [
    // DeepSeek
    "model not exist",
    // OpenRouter
    "is not a valid model",
    "model not found",
    "invalid model name",
    "invalid model ",
    "model does not exist",
    "no such model",
    "no model loaded",
    "no models loaded",
];

/// Whether the account has no credit left.
pub(super) fn has_no_credit(status: Option<u16>, has_wait: bool, stated: &Stated, words: &Words) -> bool {
    if status == Some(402) || stated.is(&NO_CREDIT) {
        return true;
    }
    // Gemini says "exceeded your current quota" of a minute's limit, too, but states when it is over.
    let is_limit = status == Some(429) && has_wait;
    matches!(status, Some(400 | 401 | 403 | 429)) && !is_limit && words.say_of_everybody(&NO_CREDIT_WORDS)
}

/// Whether the key is not accepted.
pub(super) fn refuses_key(status: Option<u16>, stated: &Stated, words: &Words) -> bool {
    match status {
        Some(401) => true,
        // A gateway may answer 403 to one message (OpenRouter's moderation, a firewall): it concerns every request only if the
        // error names the key or the account.
        Some(403) => stated.is(&KEY) || words.say_of_everybody(&[" api key "]),
        // Gemini's 400 has the reason beside it.
        Some(400) => stated.is(&KEY),
        Some(_) => false,
        None => stated.is(&KEY),
    }
}

/// Whether the model, or the address, is not there. No server is known that says 404 of one message.
pub(super) fn lacks_model(status: Option<u16>, stated: &Stated, words: &Words) -> bool {
    match status {
        Some(404 | 410) => true,
        Some(400 | 403 | 422) => {
            stated.is(&NO_MODEL) || stated.names("model") || words.say_of_everybody(&NO_MODEL_WORDS)
        }
        Some(_) => false,
        None => stated.is(&NO_MODEL),
    }
}
