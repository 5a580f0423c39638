//! What an edit did to a sample, in words.

use crate::sample::OwnedSample;

/// What was inserted, removed or replaced between `original` and `edited`, field by field.
pub(super) fn difference(original: &OwnedSample, edited: &OwnedSample) -> String {
    let reference = |sample: &OwnedSample| sample.reference.clone().unwrap_or_default();
    let fields = [
        ("prompt", original.prompt.clone(), edited.prompt.clone()),
        ("completion", original.completion.clone(), edited.completion.clone()),
        ("reference", reference(original), reference(edited)),
    ];
    let changes: Vec<String> = fields
        .iter()
        .filter(|(_, before, after)| before != after)
        .map(|(field, before, after)| format!("{} the {field}", of_texts(before, after)))
        .collect();
    if changes.is_empty() { "changed nothing".to_owned() } else { changes.join("; ") }
}

/// The change from `before` to `after`, which differ, up to "the ...".
fn of_texts(before: &str, after: &str) -> String {
    if let Some(replaced) = replaced_words(before, after) {
        return format!("replaced {replaced} in");
    }
    // Tried first, so that an insertion that begins like the text is not torn apart.
    if let Some(inserted) = after.strip_suffix(before) {
        return format!("inserted {} at the start of", quoted(inserted));
    }
    if let Some(inserted) = after.strip_prefix(before) {
        return format!("inserted {} at the end of", quoted(inserted));
    }
    let same = |(a, b): &(char, char)| a == b;
    let length = |(a, _): (char, char)| a.len_utf8();
    let start: usize = before.chars().zip(after.chars()).take_while(same).map(length).sum();
    let (before_rest, after_rest) = (&before[start..], &after[start..]);
    let pairs = before_rest.chars().rev().zip(after_rest.chars().rev());
    let end: usize = pairs.take_while(same).map(length).sum();
    let removed = &before_rest[..before_rest.len() - end];
    let inserted = &after_rest[..after_rest.len() - end];
    let place = match before[..start].char_indices().rev().nth(15) {
        Some((at, _)) => format!("behind {:?} in", format!("…{}", &before[at..start])),
        None if start == 0 => "at the start of".to_owned(),
        None => format!("behind {:?} in", &before[..start]),
    };
    match (removed.is_empty(), inserted.is_empty()) {
        (true, _) => format!("inserted {} {place}", quoted(inserted)),
        (_, true) => format!("removed {} {place}", quoted(removed)),
        _ => format!("replaced {} by {} {place}", quoted(removed), quoted(inserted)),
    }
}

/// The words replaced one for one between the same gaps, each pair once; `None` when other things
/// changed too.
fn replaced_words(before: &str, after: &str) -> Option<String> {
    const MOST: usize = 4;
    let split = |text: &str| -> Vec<String> {
        text.split_inclusive(char::is_whitespace).map(str::to_owned).collect()
    };
    let (old, new) = (split(before), split(after));
    let gap = |word: &String| word.ends_with(char::is_whitespace).then(|| word.chars().next_back());
    if old.len() != new.len() || old.iter().map(gap).ne(new.iter().map(gap)) {
        return None;
    }
    let mut pairs: Vec<String> = Vec::new();
    for (a, b) in old.iter().zip(&new).filter(|(a, b)| a != b) {
        let pair = format!("{} by {}", quoted(a.trim_end()), quoted(b.trim_end()));
        if a.trim().is_empty() || b.trim().is_empty() {
            return None;
        }
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    let more = pairs.len().saturating_sub(MOST);
    pairs.truncate(MOST);
    if more > 0 {
        pairs.push(format!("{more} more"));
    }
    Some(pairs.join(", "))
}

/// The text in quotes, its middle left out when it is long.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 120;
    let count = text.chars().count();
    if count <= MOST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MOST / 2).collect();
    let end: String = text.chars().skip(count - MOST / 2).collect();
    format!("{:?}", format!("{start}…{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(before: &str, after: &str) -> String {
        let sample = |text: &str| OwnedSample::new("", text, None);
        difference(&sample(before), &sample(after))
    }

    #[test]
    fn what_was_done_is_named_and_placed() {
        for (before, after, said) in [
            ("b", "a b", r#"inserted "a " at the start of the completion"#),
            ("a a b", "a a a b", r#"inserted "a " at the start of the completion"#),
            ("b", "b\n\na", r#"inserted "\n\na" at the end of the completion"#),
            ("", "a", r#"inserted "a" at the start of the completion"#),
            ("a b", "a    b", r#"inserted "   " behind "a " in the completion"#),
            ("a 1234 b", "a 1,234 b", r#"replaced "1234" by "1,234" in the completion"#),
            (
                "he, she\nhe",
                "she, he\nshe",
                r#"replaced "he," by "she,", "she" by "he", "he" by "she" in the completion"#,
            ),
            ("a b c", "a c", r#"removed "b " behind "a " in the completion"#),
            ("so a b c", "so x c", r#"replaced "a b" by "x" behind "so " in the completion"#),
            ("é", "è", r#"replaced "é" by "è" in the completion"#),
            ("a", "a", "changed nothing"),
        ] {
            assert_eq!(between(before, after), said, "{before:?} {after:?}");
        }
        let original = OwnedSample::new("he", "x", Some("he"));
        let edited = OwnedSample::new("she", "x", Some("she"));
        let said =
            r#"replaced "he" by "she" in the prompt; replaced "he" by "she" in the reference"#;
        assert_eq!(difference(&original, &edited), said);
        let long = between("", &"ab".repeat(1000));
        assert!(long.len() < 200 && long.contains('…'), "{long}");
    }
}
