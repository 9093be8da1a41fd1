//! Sentences that match the built-in rules, and idioms that must not.

use crate::CareRules;

/// Kind, language and a sentence.
const DANGER: &[(&str, &str, &str)] = &[
    ("suicide_or_self_harm", "en", "I don’t want to live anymore"),
    ("suicide_or_self_harm", "en", "i DONT want\nto live\n\nanymore..."),
    ("suicide_or_self_harm", "en", "I'm going to kill myself"),
    (
        "suicide_or_self_harm",
        "en",
        "I keep thinking about... killing — myself",
    ),
    ("suicide_or_self_harm", "en", "They'd be better off without me."),
    ("suicide_or_self_harm", "en", "honestly i wanna die"),
    ("suicide_or_self_harm", "en", "I just want to *end it all*"),
    ("suicide_or_self_harm", "en", "I feel SUICIDAL tonight"),
    (
        "suicide_or_self_harm",
        "en",
        "I've started self-harming... self harm, I mean",
    ),
    (
        "suicide_or_self_harm",
        "en",
        "I want to die. Laughing does not help any more.",
    ),
    ("suicide_or_self_harm", "en", "I don't see a reason to keep living"),
    ("suicide_or_self_harm", "en", "i wanna kill my self"),
    ("suicide_or_self_harm", "en", "I want to end my own life"),
    ("suicide_or_self_harm", "de", "Ich will nicht mehr leben."),
    ("suicide_or_self_harm", "de", "Ich will einfach nur noch sterben"),
    ("suicide_or_self_harm", "fr", "je pense au suicide"),
    ("suicide_or_self_harm", "es", "he pensado en el suicidio"),
    ("suicide_or_self_harm", "it", "ho pensato di uccidermi"),
    ("suicide_or_self_harm", "pt", "pensei em me matar"),
    ("suicide_or_self_harm", "nl", "ik wil er een eind aan maken"),
    ("suicide_or_self_harm", "de", "ich MÖCHTE sterben"),
    ("suicide_or_self_harm", "de", "ich moechte sterben"),
    ("suicide_or_self_harm", "de", "Ich denke darüber nach, mich umzubringen"),
    ("suicide_or_self_harm", "de", "Ich bringe mich um!"),
    ("suicide_or_self_harm", "fr", "J’ai envie de mourir"),
    ("suicide_or_self_harm", "fr", "je veux mettre fin a mes jours"),
    ("suicide_or_self_harm", "fr", "Je pense à l’automutilation"),
    ("suicide_or_self_harm", "es", "Ya no quiero vivir"),
    ("suicide_or_self_harm", "es", "estarian mejor sin mi"),
    ("suicide_or_self_harm", "it", "Voglio farla finita con la vita"),
    ("suicide_or_self_harm", "it", "non voglio piu vivere"),
    ("suicide_or_self_harm", "pt", "Não quero mais viver"),
    ("suicide_or_self_harm", "pt", "estou pensando em me suicidar"),
    ("suicide_or_self_harm", "nl", "Ik wil niet meer leven"),
    ("suicide_or_self_harm", "nl", "ik voel me suicidaal"),
    ("suicide_or_self_harm", "pl", "Nie chcę już żyć"),
    ("suicide_or_self_harm", "pl", "chce sie zabic"),
    ("medical_emergency", "en", "I took too many pills"),
    ("medical_emergency", "en", "My dad isn’t breathing"),
    ("medical_emergency", "de", "Ich habe zu viele Tabletten genommen"),
    ("medical_emergency", "de", "Ich bekomme keine Luft mehr"),
    ("medical_emergency", "fr", "Je n’arrive plus à respirer"),
    ("medical_emergency", "fr", "j'ai pris tous mes médicaments"),
    ("medical_emergency", "es", "¡No puedo respirar!"),
    ("medical_emergency", "it", "non riesco a respirare"),
    ("medical_emergency", "pt", "Não consigo respirar"),
    ("medical_emergency", "nl", "ik krijg geen lucht"),
    ("medical_emergency", "pl", "nie mogę oddychać"),
];

const HARMLESS: &[&str] = &[
    "Good morning, how are you?",
    "I slept badly and my head hurts a little.",
    "I could kill for a coffee",
    "This homework is killing me",
    "My mom is going to kill me when she sees the bill",
    "I nearly died laughing",
    "I was dying of laughter the whole evening",
    "I could kill myself laughing",
    "I want to die laughing at that film",
    "I almost want to die of embarrassment",
    "That is not the hill I want to die on",
    "I shoot myself in the foot every time I do this",
    "I'd love to skill myself up in Rust",
    "I cut myself while cooking yesterday",
    "I hurt myself playing football",
    "You nearly gave me a heart attack!",
    "I am having a stroke of luck",
    "We were laughing so hard I can't breathe",
    "I don't want to live in Paris anymore",
    "I don't want to live here anymore",
    "The battery died again",
    "I am dead tired",
    "Over my dead body",
    "The deadline is killing the mood",
    "Suicide Squad is a bad film",
    "The film is about the life of a doctor and his death",
    "My grandmother died last year and I miss her",
    "It ended all our plans for the summer",
    "I overdosed on chocolate",
    "I am cutting myself a piece of cake",
    "Non vale la pena vivere in centro",
    "Ich könnte sterben vor Hunger",
    "Meine Mutter wird mich umbringen, wenn sie das sieht",
    "Ich habe mich totgelacht",
    "Die Hitze bringt mich um",
    "Ich will nicht mehr in Berlin leben",
    "Ich bin todmüde",
    "Je meurs de faim",
    "Je suis mort de rire",
    "Ma mère va me tuer",
    "Je ne veux plus vivre avec mes parents",
    "Me muero de hambre",
    "Mi madre me va a matar",
    "Quiero cortarme el pelo",
    "Me quiero morir de risa",
    "Ya no quiero vivir con mis padres",
    "Muoio di fame",
    "Mi ammazzo di lavoro",
    "Voglio farla finita con il fumo",
    "Estou morrendo de fome",
    "Minha mãe vai me matar",
    "Vou me matar de trabalhar",
    "Ik lach me dood",
    "Ik ben doodmoe",
    "Umieram z głodu",
    "Umrę ze śmiechu",
    "Chcę umrzeć ze śmiechu",
    "Mam dość tej pogody",
    "I ran 10 kms this morning",
    "ls -la && kill 4711; killall myselfd",
    "Zażółć gęślą jaźń",
    "今日はいい天気ですね",
    "👋🙂",
    "",
];

#[test]
fn danger_is_found_in_every_language() {
    let rules = CareRules::built_in().unwrap();
    for (kind, language, sentence) in DANGER {
        let notice = rules.check(sentence, None, None);
        let notice = notice.unwrap_or_else(|| panic!("nothing found in {sentence}"));
        assert_eq!(notice.kind, *kind, "{sentence}");
        let found = rules.matcher.find(sentence);
        assert_eq!(found[0].language, *language, "{sentence}");
    }
}

#[test]
fn everyday_sentences_and_idioms_are_left_alone() {
    let rules = CareRules::built_in().unwrap();
    for sentence in HARMLESS {
        assert_eq!(rules.check(sentence, None, None), None, "{sentence}");
    }
}
