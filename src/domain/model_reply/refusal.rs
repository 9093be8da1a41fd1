//! How models refuse, in the languages that people write in. "I can't sleep" is a title: only what a model says of its own help,
//! not what a person says of their life, is a refusal.

/// How a refusal begins.
const BEGINNINGS: [&str; 62] = [
    "i'm sorry, but i",
    "i am sorry, but i",
    "i'm sorry but i",
    "i am sorry but i",
    "sorry, but i",
    "sorry, i can",
    "i'm sorry, i can",
    "i apologize, but",
    "i apologise, but",
    "i'm afraid i can't",
    "unfortunately, i can",
    "unfortunately, i am",
    "unfortunately, i'm",
    "as an ai",
    "as a language model",
    "i'm just an ai",
    "i'm an ai",
    "i do not feel comfortable",
    "i don't feel comfortable",
    "tut mir leid, aber",
    "es tut mir leid, aber",
    "tut mir leid, ich kann",
    "es tut mir leid, ich kann",
    "tut mir leid, dabei kann",
    "es tut mir leid, dabei kann",
    "tut mir leid, das kann",
    "leider kann ich",
    "ich kann leider",
    "ich kann dabei nicht",
    "ich kann dir dabei nicht",
    "ich kann ihnen dabei nicht",
    "ich kann diese anfrage",
    "als ki",
    "als ein ki",
    "je suis désolé, mais",
    "je suis désolée, mais",
    "désolé, mais",
    "désolée, mais",
    "désolé, je ne peux",
    "je ne peux pas vous aider",
    "je ne peux pas répondre à",
    "je ne suis pas en mesure",
    "en tant qu'ia",
    "en tant qu'intelligence",
    "en tant que modèle",
    "lo siento, pero",
    "lo siento, no puedo",
    "no puedo ayudarte",
    "no puedo ayudarle",
    "no puedo proporcionar",
    "como ia,",
    "como modelo de",
    "mi dispiace, ma",
    "mi dispiace, non posso",
    "non posso aiutarti",
    "non posso fornire",
    "non sono in grado di",
    "desculpe, mas",
    "sinto muito, mas",
    "lamento, mas",
    "não posso ajudá",
    "não posso ajudar com",
];
/// How a sentence begins of what somebody cannot do.
const CANNOT: [&str; 8] = [
    "i can't ",
    "i cannot ",
    "i can not ",
    "i won't ",
    "i'm unable to ",
    "i am unable to ",
    "i'm not able to ",
    "i am not able to ",
];
/// What only a model says that it cannot do.
const HELP: [&str; 16] = [
    "assist",
    "provide a",
    "provide the",
    "provide you",
    "provide that",
    "provide this",
    "create a",
    "generate",
    "comply",
    "fulfill",
    "fulfil",
    "engage in th",
    "help with th",
    "help you with",
    "summari",
    "produce a",
];

/// Whether a text is a refusal to do what the model was asked for.
pub(super) fn is_refusal(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(80).collect();
    let start = start.to_lowercase().replace('’', "'");
    let start = start.trim_start_matches(|letter: char| !letter.is_alphanumeric());
    let of_help = |beginning: &&str| {
        let rest = start.strip_prefix(*beginning);
        rest.is_some_and(|rest| HELP.iter().any(|help| rest.starts_with(help)))
    };
    BEGINNINGS.iter().any(|beginning| start.starts_with(beginning)) || CANNOT.iter().any(of_help)
}
