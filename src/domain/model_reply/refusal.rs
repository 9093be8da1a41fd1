//! How models refuse, in the languages that people write in. "I can't sleep" is a title: only what a model says of its own help,
//! not what a person says of their life, is a refusal.

/// How a refusal begins.
const BEGINNINGS: [&str; 105] = [
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
    "i'm really sorry you",
    "i'm really sorry that you",
    "i'm so sorry you",
    "i'm so sorry that you",
    "i'm sorry you're",
    "i'm sorry you are",
    "i'm sorry that you",
    "i am sorry you",
    "i am really sorry",
    "i must decline",
    "i have to decline",
    "sorry, i am unable",
    "sorry, i'm unable",
    "sorry, i am not able",
    "sorry, i'm not able",
    "i'm sorry, i am",
    "i'm sorry, i'm unable",
    "this content violates",
    "this request violates",
    "your request violates",
    "content policy violation",
    "ich kann dir damit",
    "ich kann ihnen damit",
    "ich kann dir leider",
    "ich kann ihnen leider",
    "damit kann ich",
    "dabei kann ich",
    "申し訳ありませんが",
    "申し訳ございませんが",
    "申し訳ありません。",
    "すみませんが、",
    "抱歉，",
    "很抱歉，",
    "对不起，我",
    "我无法",
    "我不能提供",
    "извините, но",
    "простите, но",
    "к сожалению, я",
    "я не могу помочь",
    "я не могу обсуждать",
    "죄송하지만",
    "죄송합니다",
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
const HELP: [&str; 17] = [
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
    "discuss",
];
/// How models begin that think of the question instead of answering it.
const DELIBERATIONS: [&str; 12] = [
    "the user ",
    "the user's ",
    "let me think",
    "we need to produce",
    "we need to create",
    "we need to generate",
    "we need to write",
    "we need to output",
    "we need to give",
    "we need to summari",
    "i need to produce",
    "i need to create a",
];
/// What may stand before a deliberation.
const HESITATIONS: [&str; 6] = ["okay, ", "ok, ", "so, ", "so ", "alright, ", "hmm, "];

/// Whether a text is a thought about what the model was asked for, instead of a title.
pub(super) fn is_deliberation(text: &str) -> bool {
    let start: String = text.chars().take(80).collect();
    let start = start.to_lowercase().replace('’', "'");
    let spoken = HESITATIONS.iter().find_map(|word| start.strip_prefix(word));
    let spoken = spoken.unwrap_or(&start);
    DELIBERATIONS.iter().any(|beginning| spoken.starts_with(beginning))
}

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
