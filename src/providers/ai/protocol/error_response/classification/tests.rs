//! Errors as servers send them. Each line: the status, the body, and what it means.

use std::time::Duration;

use cura_domain::message::Role;
use cura_domain::prompt::PromptMessage;
use serde_json::{Value, json};

use crate::ai::error::Failure;
use crate::ai::prompt::Prompt;
use crate::ai::protocol::error_response::ErrorResponse;
use crate::ai::request_form::RequestPart;

/// What an error means, without its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    TooLong,
    Part(RequestPart),
    NoCredit,
    Key,
    Settings,
    Refused,
    Limited,
    Away,
}
use Means::{Away, Key, Limited, NoCredit, Part, Refused, Settings, TooLong};
use RequestPart::{LargeOutputLimit, OutputLimit, Prefill, StreamOptions, SystemRole};

impl From<Failure> for Means {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::ContextTooLong { .. } => TooLong,
            Failure::RefusedPart { part, .. } => Part(part),
            Failure::QuotaExhausted => NoCredit,
            Failure::Unauthorized { .. } => Key,
            Failure::Misconfigured(_) => Settings,
            Failure::Refused { .. } | Failure::Moderated { .. } => Refused,
            Failure::RateLimited { .. } => Limited,
            Failure::Unavailable { .. } => Away,
            other => panic!("no error of a provider: {other:?}"),
        }
    }
}

fn asking(question: &str) -> Prompt {
    Prompt::of_text(vec![PromptMessage::plain(Role::User, question)], None)
}

fn meaning(status: u16, body: &str) -> Means {
    let prompt = asking("I could not sleep at all last night, and I am tired");
    ErrorResponse::with(status, body).failure(Some(&prompt)).into()
}

#[test]
fn a_prompt_that_is_too_long_is_recognised_in_the_words_of_every_server() {
    for (server, status, body) in [
        (
            "OpenAI",
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        ),
        (
            "OpenAI, by its message",
            400,
            r#"{"error":{"message":"This model's maximum context length is 4097 tokens. However, you requested 4226 tokens (226 in the messages, 4000 in the completion). Please reduce the length of the messages or completion.","type":"invalid_request_error","param":"messages","code":null}}"#,
        ),
        (
            "OpenAI, newer",
            400,
            r#"{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","type":"invalid_request_error","param":"input"}}"#,
        ),
        (
            "OpenAI, a minute's limit",
            429,
            r#"{"error":{"message":"Request too large for gpt-4 in organization org-1 on tokens per min (TPM): Limit 10000, Requested 12000. The input or output tokens must be reduced in order to run successfully.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
        ),
        (
            "Azure",
            400,
            r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#,
        ),
        (
            "Azure, one message",
            400,
            r#"{"error":{"message":"Invalid 'messages[1].content': string too long. Expected a string with maximum length 1048576, but got a string with length 1200000 instead.","code":"string_above_max_length"}}"#,
        ),
        (
            "GitHub",
            413,
            r#"{"error":{"code":"tokens_limit_reached","message":"Request body too large for gpt-4o model. Max size: 8000 tokens.","details":"Request body too large for gpt-4o model. Max size: 8000 tokens."}}"#,
        ),
        (
            "GitHub Copilot",
            400,
            r#"{"error":{"message":"prompt token count of 130000 exceeds the limit of 128000","code":"model_max_prompt_tokens_exceeded"}}"#,
        ),
        (
            "Anthropic",
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
        ),
        (
            "Anthropic, with the answer",
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000, decrease input length or `max_tokens` and try again"}}"#,
        ),
        (
            "Anthropic, bytes",
            413,
            r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
        ),
        (
            "llama.cpp",
            400,
            r#"{"error":{"code":400,"message":"request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":5000,"n_ctx":4096}}"#,
        ),
        (
            "llama.cpp, Anthropic's protocol",
            400,
            r#"{"type":"error","error":{"type":"exceed_context_size_error","message":"x"}}"#,
        ),
        (
            "llama.cpp, older",
            500,
            r#"{"error":{"code":500,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"server_error"}}"#,
        ),
        (
            "llama-cpp-python",
            400,
            r#"{"error":{"message":"Requested tokens (5000) exceed context window of 4096","type":"invalid_request_error","param":"messages","code":"x"}}"#,
        ),
        (
            "vLLM, older",
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens in the messages, Please reduce the length of the messages.","type":"BadRequestError","param":null,"code":400}"#,
        ),
        (
            "vLLM, the answer",
            400,
            r#"{"object":"error","message":"'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 4096 tokens and your request has 30 input tokens (4096 > 4096 - 30).","type":"BadRequestError","param":null,"code":400}"#,
        ),
        (
            "vLLM, newer",
            400,
            r#"{"error":{"message":"You passed 27905 input tokens and requested 4096 output tokens. However, the model's context length is only 32000 tokens, resulting in a maximum input length of 27904 tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=27905)","type":"BadRequestError","param":"input_tokens","code":400}}"#,
        ),
        (
            "vLLM, decoder",
            400,
            r#"{"object":"error","message":"The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure that `max_model_len` is no smaller than the number of text tokens.","type":"BadRequestError","code":400}"#,
        ),
        (
            "vLLM, fit",
            400,
            r#"{"object":"error","message":"The prompt (total length 5000) is too long to fit into the model (context length 4096).","type":"BadRequestError","code":400}"#,
        ),
        (
            "vLLM, in a detail",
            400,
            r#"{"detail":"You passed 32769 input tokens and requested 0 output tokens. However, the model's context length is only 32768 tokens"}"#,
        ),
        (
            "SGLang",
            400,
            r#"{"object":"error","message":"The input (5000 tokens) is longer than the model's context length (4096 tokens).","type":"BadRequestError","param":null,"code":400}"#,
        ),
        (
            "SGLang, with the answer",
            400,
            r#"{"object":"error","message":"Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 tokens: 904 tokens from the input messages and 4096 tokens for the completion.","type":"BadRequestError","code":400}"#,
        ),
        (
            "SGLang, allowed",
            400,
            r#"{"error":{"message":"Input length (5000 tokens) exceeds the maximum allowed length (4091 tokens). Use a shorter input or enable --allow-auto-truncate."}}"#,
        ),
        (
            "LM Studio",
            400,
            r#"{"error":"Trying to keep the first 6269 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough. Try to load the model with a larger context length, or provide a shorter input"}"#,
        ),
        (
            "LM Studio, reached",
            400,
            r#"{"error":"Reached context length of 4096 tokens with model (arch: llama) that does not currently support mid-generation context overflow. Try reloading with a larger context length or shortening the prompt/chat."}"#,
        ),
        (
            "LM Studio, greater",
            400,
            r#"{"error":"The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 9000 >= n_ctx: 4096). Try to load the model with a larger context length."}"#,
        ),
        (
            "Ollama",
            400,
            r#"{"error":{"message":"prompt too long; exceeded max context length by 12 tokens","type":"invalid_request_error","param":null,"code":null}}"#,
        ),
        ("Ollama, plain", 400, "input length exceeds the context length"),
        (
            "TGI",
            422,
            r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 20 `max_new_tokens`","error_type":"validation"}"#,
        ),
        (
            "TGI, inputs",
            422,
            r#"{"error":"Input validation error: `inputs` must have less than 1024 tokens. Given: 3000","error_type":"validation"}"#,
        ),
        (
            "Mistral",
            400,
            r#"{"object":"error","message":"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_error","param":null,"code":"3051"}"#,
        ),
        (
            "Groq",
            400,
            r#"{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        ),
        (
            "Groq, a minute's limit",
            413,
            r#"{"error":{"message":"Request too large for model `x` in organization `org` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 8000, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}"#,
        ),
        (
            "Cerebras",
            400,
            r#"{"message":"Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}"#,
        ),
        (
            "DeepSeek",
            400,
            r#"{"error":{"message":"This model's maximum context length is 65536 tokens. However, you requested 70000 tokens (66000 in the messages, 4000 in the completion). Please reduce the length of the messages or completion.","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
        ),
        (
            "OpenRouter",
            400,
            r#"{"error":{"message":"This endpoint's maximum context length is 32768 tokens. However, you requested about 40000 tokens (39000 of text input, 1000 in the output). Please reduce the length of either one, or use the \"middle-out\" transform to compress your prompt automatically.","code":400}}"#,
        ),
        (
            "OpenRouter, what is behind it",
            400,
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"Input is too long for requested model.\"}}","provider_name":"Amazon Bedrock"}}}"#,
        ),
        (
            "Gemini",
            400,
            r#"[{"error":{"code":400,"message":"The input token count (1048600) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}]"#,
        ),
        (
            "Together",
            422,
            r#"{"id":"x","error":{"message":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`","type":"invalid_request_error","param":null,"code":null}}"#,
        ),
        (
            "Fireworks",
            400,
            r#"{"error":{"object":"error","type":"invalid_request_error","message":"The prompt is too long: 9000, model maximum context length: 8191"}}"#,
        ),
        (
            "Cohere",
            400,
            r#"{"id":"x","message":"too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000. Try using a shorter prompt, or enable prompt truncating."}"#,
        ),
        (
            "Cohere, size",
            400,
            r#"{"message":"too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs."}"#,
        ),
        (
            "Bedrock",
            400,
            r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"Input is too long for requested model."}"#,
        ),
        (
            "xAI",
            400,
            r#"{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 200000 tokens."}"#,
        ),
        (
            "Moonshot",
            400,
            r#"{"error":{"message":"Invalid request: Your request exceeded model token limit: 8192","type":"invalid_request_error"}}"#,
        ),
        (
            "MiniMax",
            400,
            r#"{"error":{"message":"invalid params, context window exceeds limit (2013)"}}"#,
        ),
        (
            "DashScope",
            400,
            r#"{"error":{"code":"invalid_parameter_error","message":"<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]","type":"invalid_request_error"}}"#,
        ),
        ("Zhipu", 400, r#"{"error":{"code":"1261","message":"Prompt 超长"}}"#),
        (
            "LiteLLM",
            400,
            r#"{"error":{"message":"litellm.ContextWindowExceededError: litellm.BadRequestError: x - {\"error\":{\"message\":\"prompt is too long\"}}","type":null,"param":null,"code":"400"}}"#,
        ),
        (
            "text-generation-webui",
            400,
            r#"{"detail":[{"loc":["body","messages"],"msg":"This model maximum context length is 2048 tokens. However, your messages resulted in over 3000 tokens.","type":"value_error"}]}"#,
        ),
        (
            "nginx",
            413,
            "<html><head><title>413 Request Entity Too Large</title></head></html>",
        ),
        ("anybody", 413, ""),
    ] {
        assert_eq!(meaning(status, body), TooLong, "{server}");
    }
}

#[test]
fn a_part_that_is_refused_is_recognised() {
    for (server, status, body, part) in [
        (
            "OpenAI",
            400,
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
            OutputLimit,
        ),
        (
            "OpenAI, unknown",
            400,
            r#"{"error":{"message":"Unknown parameter: 'stream_options'.","type":"invalid_request_error","param":"stream_options","code":"unknown_parameter"}}"#,
            StreamOptions,
        ),
        (
            "OpenAI, value",
            400,
            r#"{"error":{"message":"max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you provided 100000.","type":"invalid_request_error","param":"max_tokens","code":"invalid_value"}}"#,
            LargeOutputLimit,
        ),
        (
            "Azure, older",
            400,
            r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":null}}"#,
            StreamOptions,
        ),
        (
            "Azure, data sources",
            400,
            r#"{"error":{"message":"Validation error at #/stream_options: Extra inputs are not permitted","code":"400"}}"#,
            StreamOptions,
        ),
        (
            "Mistral",
            422,
            r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options","include_usage"],"msg":"Extra inputs are not permitted","input":true}]},"type":"invalid_request_error","param":null,"code":null}"#,
            StreamOptions,
        ),
        (
            "Mistral, limit",
            422,
            r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted","input":512}]}}"#,
            OutputLimit,
        ),
        (
            "Fireworks",
            400,
            r#"{"error":{"message":"Extra inputs are not permitted, field: 'stream_options'"}}"#,
            StreamOptions,
        ),
        (
            "vLLM, older",
            400,
            r#"{"object":"error","message":"[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted', 'input': {'include_usage': True}}]","type":"BadRequestError","param":null,"code":400}"#,
            StreamOptions,
        ),
        (
            "FastAPI",
            422,
            r#"{"detail":[{"loc":["body","max_completion_tokens"],"msg":"extra fields not permitted","type":"value_error.extra"}]}"#,
            OutputLimit,
        ),
        (
            "Groq",
            400,
            r#"{"error":{"message":"property 'stream_options' is unsupported","type":"invalid_request_error"}}"#,
            StreamOptions,
        ),
        (
            "TensorRT",
            400,
            r#"{"error":"max_tokens: unexpected keyword argument"}"#,
            OutputLimit,
        ),
        (
            "vLLM, value",
            400,
            r#"{"message":"max_tokens=140000 cannot be greater than max_model_len=max_total_tokens=131072."}"#,
            LargeOutputLimit,
        ),
        (
            "DeepSeek, value",
            400,
            r#"{"error":{"message":"Invalid max_tokens value, the valid range of max_tokens is [1, 8192]","type":"invalid_request_error"}}"#,
            LargeOutputLimit,
        ),
        (
            "Anthropic, value",
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet"}}"#,
            LargeOutputLimit,
        ),
        (
            "Anthropic, prefill",
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"This model does not support assistant message prefill. The conversation must end with a user message."}}"#,
            Prefill,
        ),
        (
            "llama.cpp, prefill",
            400,
            r#"{"error":{"code":400,"message":"Assistant response prefill is incompatible with enable_thinking.","type":"invalid_request_error"}}"#,
            Prefill,
        ),
        (
            "Gemma",
            400,
            r#"{"object":"error","message":"System role not supported","type":"BadRequestError","code":400}"#,
            SystemRole,
        ),
        (
            "o1-mini",
            400,
            r#"{"error":{"message":"Unsupported value: 'messages[0].role' does not support 'system' with this model.","type":"invalid_request_error","param":"messages[0].role","code":"unsupported_value"}}"#,
            SystemRole,
        ),
        (
            "a template of Mistral's",
            500,
            r#"{"error":{"code":500,"message":"Conversation roles must alternate user/assistant/user/assistant/...","type":"server_error"}}"#,
            SystemRole,
        ),
        (
            "llama.cpp, prefill, older",
            500,
            r#"{"error":{"code":500,"message":"Assistant response prefill is incompatible with enable_thinking.","type":"server_error"}}"#,
            Prefill,
        ),
    ] {
        assert_eq!(meaning(status, body), Part(part), "{server}");
    }
}

#[test]
fn what_concerns_the_account_or_the_settings_is_recognised() {
    for (server, status, body, means) in [
        (
            "OpenAI",
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            NoCredit,
        ),
        (
            "OpenAI, by its words",
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details."}}"#,
            NoCredit,
        ),
        (
            "OpenAI, limit",
            400,
            r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","code":"billing_hard_limit_reached"}}"#,
            NoCredit,
        ),
        (
            "Anthropic",
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}"#,
            NoCredit,
        ),
        (
            "DeepSeek",
            402,
            r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
            NoCredit,
        ),
        (
            "DeepSeek behind a gateway",
            429,
            r#"{"error":{"message":"Insufficient Balance"}}"#,
            NoCredit,
        ),
        (
            "OpenRouter",
            402,
            r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 4096 tokens, but can only afford 12.","code":402}}"#,
            NoCredit,
        ),
        (
            "Moonshot",
            429,
            r#"{"error":{"message":"Your account x is not active, please check your plan and billing details","type":"exceeded_current_quota_error"}}"#,
            NoCredit,
        ),
        (
            "Zhipu",
            429,
            r#"{"error":{"code":"1113","message":"您的账户已欠费"}}"#,
            NoCredit,
        ),
        (
            "SiliconFlow",
            403,
            r#"{"code":30001,"message":"Sorry, your account balance is insufficient","data":null}"#,
            NoCredit,
        ),
        (
            "DashScope",
            400,
            r#"{"error":{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing."}}"#,
            NoCredit,
        ),
        (
            "one-api",
            403,
            r#"{"error":{"message":"quota","type":"one_api_error","code":"insufficient_user_quota"}}"#,
            NoCredit,
        ),
        (
            "Gemini, a minute's limit",
            429,
            r#"[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"36s"}]}}]"#,
            Limited,
        ),
        (
            "OpenAI, a minute's limit",
            429,
            r#"{"error":{"message":"Rate limit reached for gpt-4o on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.","type":"requests","code":"rate_limit_exceeded"}}"#,
            Limited,
        ),
        (
            "OpenAI, key",
            401,
            r#"{"error":{"message":"Incorrect API key provided: sk-x.","type":"invalid_request_error","code":"invalid_api_key"}}"#,
            Key,
        ),
        (
            "Gemini, key",
            400,
            r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
            Key,
        ),
        (
            "OpenAI, region",
            403,
            r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","type":"request_forbidden"}}"#,
            Key,
        ),
        (
            "Anthropic, permission",
            403,
            r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource."}}"#,
            Key,
        ),
        (
            "Anthropic, authentication",
            403,
            r#"{"type":"error","error":{"type":"authentication_error","message":""}}"#,
            Key,
        ),
        (
            "OpenAI, model",
            404,
            r#"{"error":{"message":"The model `x` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
            Settings,
        ),
        (
            "vLLM, model",
            404,
            r#"{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}"#,
            Settings,
        ),
        (
            "Ollama, model",
            404,
            r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error","param":null,"code":null}}"#,
            Settings,
        ),
        (
            "Anthropic, model",
            404,
            r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}"#,
            Settings,
        ),
        (
            "Azure, deployment",
            404,
            r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
            Settings,
        ),
        (
            "Azure, operation",
            400,
            r#"{"error":{"code":"OperationNotSupported","message":"The chatCompletion operation does not work with the specified model, x. Please choose different model and try again."}}"#,
            Settings,
        ),
        (
            "DeepSeek, model",
            400,
            r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
            Settings,
        ),
        (
            "OpenRouter, model",
            400,
            r#"{"error":{"message":"x is not a valid model ID","code":400}}"#,
            Settings,
        ),
        (
            "Mistral, model",
            400,
            r#"{"object":"error","message":"Invalid model: x","type":"invalid_model","param":null,"code":"1500"}"#,
            Settings,
        ),
        (
            "LM Studio, none loaded",
            400,
            r#"{"error":{"message":"No models loaded. Please load a model in the developer page or use the 'lms load' command.","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
            Settings,
        ),
        ("a web server", 404, "<html>404 Not Found</html>", Settings),
        ("a web server, method", 405, "<html>405 Not Allowed</html>", Settings),
        ("FastAPI, method", 405, r#"{"detail":"Method Not Allowed"}"#, Settings),
        ("gone", 410, "", Settings),
    ] {
        assert_eq!(meaning(status, body), means, "{server}");
    }
}

#[test]
fn what_concerns_one_message_or_a_moment_is_recognised() {
    for (server, status, body, means) in [
        (
            "OpenAI, policy",
            400,
            r#"{"error":{"message":"Your input was flagged.","code":"content_policy_violation"}}"#,
            Refused,
        ),
        (
            "Azure, filter",
            400,
            r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400}}"#,
            Refused,
        ),
        (
            "OpenRouter, moderation",
            403,
            r#"{"error":{"code":403,"message":"x requires moderation on y. Your input was flagged for \"violence\".","metadata":{"reasons":["violence"],"flagged_input":"your credit balance is too low"}}}"#,
            Refused,
        ),
        ("a firewall", 403, "<html>Access denied: bad api key</html>", Refused),
        (
            "OpenRouter, guardrail",
            403,
            r#"{"type":"error","error":{"type":"permission_error","message":"Request blocked: prompt injection patterns detected"}}"#,
            Refused,
        ),
        (
            "Anthropic, roles",
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages: roles must alternate"}}"#,
            Refused,
        ),
        ("nothing", 400, "", Refused),
        ("nothing that can be read", 422, "\u{0}\u{1}", Refused),
        (
            "Anthropic, load",
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            Away,
        ),
        (
            "Groq, capacity",
            498,
            r#"{"error":{"message":"Flex tier capacity exceeded"}}"#,
            Away,
        ),
        (
            "llama.cpp, loading",
            503,
            r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
            Away,
        ),
        ("anything", 500, "", Away),
    ] {
        assert_eq!(meaning(status, body), means, "{server}");
    }
}

#[test]
fn what_a_person_said_says_nothing_of_everybody_or_of_their_own_prompt() {
    for (status, said) in [
        (400, "My bank says: your credit balance is too low. What now?"),
        (403, "Is this api key of mine safe with you, do you think?"),
        (400, "Why is max_tokens is not supported with this model shown to me?"),
        (422, "It says stream_options: Extra inputs are not permitted, help me"),
        (400, "It says: this model's maximum context length is 8192 tokens"),
        (400, "It says: model not found, and I do not know what to do"),
        (400, "prefill"),
    ] {
        for body in [
            json!({"error": {"message": format!("Request blocked: {said}")}}).to_string(),
            json!({"detail": [{"msg": said.to_uppercase(), "loc": ["body", "messages"]}]}).to_string(),
            format!("Request blocked: {said}"),
        ] {
            let failure = ErrorResponse::with(status, &body).failure(Some(&asking(said)));
            assert_eq!(failure, Failure::Refused { status: Some(status) }, "{body}");
        }
    }
    // What a field says, and what is said beside the quotation, counts all the same.
    let said = "It says that max_tokens is not supported with this model";
    let body = json!({"error": {"message": format!("Unknown parameter in: {said}"), "param": "stream_options"}});
    let failure = ErrorResponse::with(400, &body.to_string()).failure(Some(&asking(said)));
    assert_eq!(Means::from(failure), Part(StreamOptions));
}

#[test]
fn an_error_within_an_answer_is_judged_by_its_type_and_code() {
    let meaning = |error: Value| Means::from(ErrorResponse::in_stream(error).failure(None));
    for (error, means) in [
        (json!({"code": 429}), Limited),
        (json!({"code": 402, "message": "Insufficient credits"}), NoCredit),
        (json!({"code": "402"}), NoCredit),
        (json!({"type": "insufficient_quota"}), NoCredit),
        (json!({"code": 404, "message": "No endpoints found"}), Settings),
        (json!({"type": "not_found_error"}), Settings),
        (json!({"code": 403}), Refused),
        (json!({"type": "invalid_request_error"}), Refused),
        (json!({"type": "rate_limit_error"}), Limited),
        (json!({"type": "authentication_error"}), Key),
        (json!({"type": "billing_error"}), NoCredit),
        (json!({"type": "request_too_large"}), TooLong),
        (json!({"type": "exceed_context_size_error", "code": 400}), TooLong),
        (
            json!("Trying to keep the first 9 tokens when context the overflows."),
            TooLong,
        ),
        (
            json!({"object": "error", "message": "Reached context length of 4096 tokens"}),
            TooLong,
        ),
        (json!({"type": "overloaded_error"}), Away),
        (json!("boom"), Away),
        (json!(null), Away),
        // What an answer may quote is not known here.
        (
            json!({"type": "invalid_request_error", "message": "your credit balance is too low"}),
            Refused,
        ),
        (
            json!({"message": "max_tokens is not supported", "param": "max_tokens"}),
            Away,
        ),
    ] {
        assert_eq!(meaning(error.clone()), means, "{error}");
    }
}

#[test]
fn a_wait_may_be_stated_in_the_body() {
    let body = r#"{"error":{"details":[{"retryDelay":"36.5s"}]}}"#;
    let retry_after = Some(Duration::from_millis(36_500));
    assert_eq!(
        ErrorResponse::with(429, body).failure(None),
        Failure::RateLimited { retry_after }
    );
}
