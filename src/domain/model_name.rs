//! The name of a model, as people and operators see it.

use std::borrow::Cow;

/// Endings of files with a model's weights.
const WEIGHTS: [&str; 12] = [
    ".gguf",
    ".ggml",
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".onnx",
    ".llamafile",
    ".tflite",
    ".mlmodel",
    ".mlpackage",
];
/// Namespaces of names that have more than one slash and are no paths.
const NAMESPACES: [&str; 9] = [
    "accounts",
    "@cf",
    "@hf",
    "workers-ai",
    "openrouter",
    "publishers",
    "projects",
    "hf.co",
    "huggingface.co",
];
/// What stands for a path of which no name is left.
const NAMELESS: &str = "model";

/// The name of a model that a provider or an operator named by `name`: servers of local models name the file or folder of
/// its weights, and where that lies on a disk is nobody's business. `organisation/model` is no path.
pub fn model_name(name: &str) -> Cow<'_, str> {
    let name = name.trim();
    let is_path = is_path(name);
    if !is_path && weights(name).is_none() {
        return Cow::Borrowed(name);
    }
    let mut parts = name.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".."));
    // The cache of Hugging Face: `models--organisation--model/snapshots/<hash>`.
    if let Some(cached) = parts.clone().find_map(|part| part.strip_prefix("models--")) {
        return Cow::Owned(cached.replacen("--", "/", 1));
    }
    let last = parts.next_back().unwrap_or_default();
    let last = weights(last).unwrap_or(last);
    if last.is_empty() || last.ends_with(':') || last == "~" {
        return Cow::Borrowed(NAMELESS);
    }
    Cow::Borrowed(last)
}

fn is_path(name: &str) -> bool {
    let drive = matches!(name.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    let begins = ["/", "./", "../", "~", "$", "%"]
        .iter()
        .any(|start| name.starts_with(start));
    let folders = name.contains("/../") || name.contains("/./") || name.contains('\\') || name.contains("://");
    let slashes = name.matches('/').count();
    let namespace = name.split('/').next().unwrap_or_default();
    let is_deep = slashes > 1 && !NAMESPACES.contains(&namespace);
    drive || begins || folders || is_deep || is_file_url(name) || (slashes > 0 && weights(name).is_some())
}

fn is_file_url(name: &str) -> bool {
    name.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:"))
}

/// `name` without the ending of a file with weights, if it has one.
fn weights(name: &str) -> Option<&str> {
    WEIGHTS.iter().find_map(|ending| {
        let start = name.len().checked_sub(ending.len())?;
        let end = name.get(start..)?;
        end.eq_ignore_ascii_case(ending).then(|| name.get(..start)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::model_name;

    #[test]
    fn a_path_is_reduced_to_a_name() {
        for (path, name) in [
            ("/models/smollm2-135m-q4_k_m.gguf", "smollm2-135m-q4_k_m"),
            ("/data/models/Llama-3-8B-Instruct/", "Llama-3-8B-Instruct"),
            (r"C:\Users\anna\models\Llama-3.gguf", "Llama-3"),
            ("d:/models/Llama-3", "Llama-3"),
            (r"\\server\share\Llama-3.SAFETENSORS", "Llama-3"),
            (r"..\models\Llama-3", "Llama-3"),
            ("./Llama-3", "Llama-3"),
            ("../Llama-3", "Llama-3"),
            ("~/models/Llama-3", "Llama-3"),
            ("$HOME/models/Llama-3", "Llama-3"),
            ("file:///srv/llm/Llama-3.gguf", "Llama-3"),
            ("FILE:/srv/llm/Llama-3.gguf", "Llama-3"),
            ("s3://bucket/weights/Llama-3", "Llama-3"),
            ("models/Llama-3.Q4_K_M.gguf", "Llama-3.Q4_K_M"),
            ("models/chat/llama/Llama-3", "Llama-3"),
            ("Llama-3.Q4_K_M.gguf", "Llama-3.Q4_K_M"),
            ("lmstudio-community/Llama-3-GGUF/Llama-3-Q4_K_M.gguf", "Llama-3-Q4_K_M"),
            (
                "/root/.cache/huggingface/hub/models--meta-llama--Llama-3-8B/snapshots/8afb486c1db2",
                "meta-llama/Llama-3-8B",
            ),
            ("/", "model"),
            (r"C:\", "model"),
            ("~", "model"),
            ("/.gguf", "model"),
        ] {
            assert_eq!(model_name(path), name, "{path}");
        }
    }

    #[test]
    fn a_name_stays_as_it_is() {
        for name in [
            "gpt-4o-mini-2024-07-18",
            "meta-llama/Llama-3.1-8B-Instruct",
            "meta-llama/llama-3.1-8b-instruct:free",
            "models/gemini-2.0-flash",
            "accounts/fireworks/models/llama-v3p1-8b-instruct",
            "@cf/meta/llama-3-8b-instruct",
            "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
            "llama3.2:1b",
            "anthropic.claude-3-5-sonnet-20240620-v1:0",
            "openrouter/anthropic/claude-sonnet-4.5",
            "",
        ] {
            assert_eq!(model_name(name), name);
        }
    }
}
