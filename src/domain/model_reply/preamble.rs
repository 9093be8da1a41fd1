//! What models say before what they were asked for, in the languages that people write in.

/// What a title is called.
pub(super) const TITLE_LABELS: [&str; 14] = [
    "title",
    "titel",
    "titre",
    "título",
    "titolo",
    "titulo",
    "überschrift",
    "topic",
    "标题",
    "標題",
    "タイトル",
    "название",
    "заголовок",
    "제목",
];
/// What a summary is called.
pub(super) const SUMMARY_LABELS: [&str; 8] = [
    "summary",
    "zusammenfassung",
    "résumé",
    "resumen",
    "riassunto",
    "resumo",
    "sintesi",
    "samenvatting",
];
/// Courtesies, before a comma, an exclamation mark or a full stop.
const INTERJECTIONS: [&str; 26] = [
    "sure",
    "sure thing",
    "certainly",
    "of course",
    "absolutely",
    "okay",
    "ok",
    "got it",
    "klar",
    "natürlich",
    "gerne",
    "gern",
    "sicher",
    "selbstverständlich",
    "bien sûr",
    "d'accord",
    "certainement",
    "claro",
    "claro que sí",
    "por supuesto",
    "desde luego",
    "certo",
    "certamente",
    "va bene",
    "com certeza",
    "claro que sim",
];
/// How a sentence begins that introduces something, which follows its colon.
const INTRODUCTIONS: [&str; 22] = [
    "here is",
    "here's",
    "here are",
    "here you go",
    "this is",
    "the following",
    "based on",
    "hier ist",
    "hier sind",
    "hier kommt",
    "hier die",
    "hier der",
    "voici",
    "voilà",
    "aquí está",
    "aquí tienes",
    "aquí tiene",
    "aquí va",
    "ecco",
    "aqui está",
    "aqui vai",
    "segue",
];
/// What may follow a label before its colon: "title for this conversation:".
const CONNECTIVES: [&str; 16] = [
    "for",
    "of",
    "suggestion",
    "für",
    "der",
    "des",
    "zum",
    "pour",
    "de",
    "du",
    "para",
    "del",
    "per",
    "della",
    "da",
    "do",
];

/// A line without a courtesy at its beginning.
pub(super) fn without_interjection(line: &str) -> &str {
    let line = line.trim_start_matches(['¡', ' ']);
    let Some((word, rest)) = line.split_once(['!', ',', '.']) else {
        return line;
    };
    // "Okay, but not okay" is no courtesy.
    let ends = line.get(word.len()..).is_some_and(|rest| !rest.starts_with(','));
    let is_courtesy = INTERJECTIONS.contains(&plain(word).as_str()) && (ends || rest.contains(':'));
    if is_courtesy { rest.trim_start() } else { line }
}

/// What follows a label or an introduction in a line, or the line; `None` when nothing does.
pub(super) fn behind_label<'a>(line: &'a str, labels: &[&str]) -> Option<&'a str> {
    let line = match line.split_once([':', '：']) {
        Some((before, behind)) if introduces(before, labels) => behind,
        _ => ["The title is ", "A title is "]
            .into_iter()
            .find_map(|introduction| line.strip_prefix(introduction))
            .filter(|title| title.starts_with(['"', '“', '*', '\'']))
            .unwrap_or(line),
    };
    let line = line.trim();
    (!line.is_empty() && !line.ends_with(':')).then_some(line)
}

/// A text without its first line, or the beginning of that, if it only introduces the rest.
pub(super) fn without_first_line<'a>(text: &'a str, labels: &[&str]) -> &'a str {
    let text = text.trim();
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let is_heading = labels.contains(&plain(first).as_str());
    if is_heading {
        return rest.trim();
    }
    match text.split_once([':', '：']) {
        Some((before, behind)) if !before.contains('\n') && introduces(without_interjection(before), labels) => {
            behind.trim_start_matches(['*', '_']).trim()
        }
        _ => text,
    }
}

/// Whether these words before a colon introduce what follows it.
fn introduces(words: &str, labels: &[&str]) -> bool {
    let words = plain(words);
    if INTRODUCTIONS.iter().any(|beginning| begins_with(&words, beginning)) {
        return true;
    }
    let labelled = |label: &&str| {
        let behind = words.strip_prefix(*label);
        words == **label
            || words.ends_with(&format!(" {label}"))
            || behind.is_some_and(|behind| CONNECTIVES.iter().any(|word| begins_with(behind.trim_start(), word)))
    };
    labels.iter().any(labelled)
}

fn begins_with(words: &str, beginning: &str) -> bool {
    words
        .strip_prefix(beginning)
        .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

/// In lower case, with plain apostrophes, without marks around it.
fn plain(words: &str) -> String {
    let words = words.to_lowercase().replace('’', "'");
    let is_mark = |letter: char| letter.is_whitespace() || "*_#\"“”„".contains(letter);
    words.trim_matches(is_mark).to_owned()
}
