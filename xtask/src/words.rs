//! Text for a terminal: durations, counts, and lines that fit.

/// A length of time in seconds as people say it: `40 s`, `12 min`, `1 h 20 min`.
pub(crate) fn roughly(seconds: f64) -> String {
    // A length that is no number (0 seconds of 0 cells) is shown as none.
    let seconds = seconds.max(0.0);
    let minutes = (seconds / 60.0).round() as u64;
    if seconds < 9.5 {
        format!("{} s", seconds.ceil())
    } else if seconds < 57.5 {
        // To 5 s: the last digit of a guess is noise.
        format!("{} s", (seconds / 5.0).round() * 5.0)
    } else if minutes < 60 {
        format!("{} min", minutes.max(1))
    } else {
        format!("{} h {} min", minutes / 60, minutes % 60)
    }
}

/// A number and its noun: `1 cell`, `2 cells`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Words joined by commas, and by `and` before the last.
pub(crate) fn listed<S: AsRef<str>>(words: &[S]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The first `most` characters, on one line; dots in the place of what is cut.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= most {
        return text;
    }
    let kept: String = text.chars().take(most.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

/// The first `most` characters as they are.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// Breaks a line at spaces so that it fits into `width` columns. Its own indent is kept, and what
/// goes on stands two columns further in. A word that is too long stays whole: paths can then still
/// be copied. `None` breaks nothing.
pub(crate) fn wrapped(line: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width.filter(|width| line.chars().count() > *width) else {
        return vec![line.to_owned()];
    };
    let indent = line.chars().take_while(|c| *c == ' ').count();
    let mut lines: Vec<String> = Vec::new();
    let mut last = " ".repeat(indent);
    let mut is_empty = true;
    for word in line.split_whitespace() {
        if !is_empty && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut last, " ".repeat(indent + 2)));
            is_empty = true;
        }
        if !is_empty {
            last.push(' ');
        }
        last.push_str(word);
        is_empty = false;
    }
    lines.push(last);
    lines
}

/// A command line that a shell reads as these arguments.
pub(crate) fn command<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let quoted = arguments.into_iter().map(|argument| {
        let argument = argument.as_ref();
        if !argument.is_empty() && argument.chars().all(plain) {
            return argument.to_owned();
        }
        format!("'{}'", argument.replace('\'', "'\\''"))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_rounded_as_people_say_them() {
        let said = [0.0, 0.2, 9.0, 9.9, 42.0, 58.0, 61.0, 89.0, 91.0, 1590.0, 3570.0, 4810.0];
        let expected = [
            "0 s",
            "1 s",
            "9 s",
            "10 s",
            "40 s",
            "1 min",
            "1 min",
            "1 min",
            "2 min",
            "27 min",
            "1 h 0 min",
            "1 h 20 min",
        ];
        assert_eq!(said.map(roughly), expected);
        assert_eq!(roughly(f64::NAN), "0 s");
        assert_eq!(roughly(-3.0), "0 s");
    }

    #[test]
    fn words_are_listed_counted_shortened_and_quoted() {
        assert_eq!(
            [listed::<&str>(&[]), listed(&["a"]), listed(&["a", "b", "c"])],
            ["", "a", "a, b and c"]
        );
        assert_eq!([counted(1, "cell"), counted(0, "cell")], ["1 cell", "0 cells"]);
        assert_eq!(shortened("two\nlines", 20), "two lines");
        assert_eq!(shortened("a sentence that is too long", 13), "a sentence...");
        assert_eq!([cut("né", 1), cut("né", 2), cut("né", 9)], ["n", "né", "né"]);
        let line = command(["cargo", "xtask", "--out", "my run", "it's", ""]);
        assert_eq!(line, r"cargo xtask --out 'my run' 'it'\''s' ''");
    }

    #[test]
    fn a_line_is_broken_at_spaces_and_a_long_word_stays_whole() {
        assert_eq!(wrapped("  one two three four", None), ["  one two three four"]);
        assert_eq!(
            wrapped("  one two three four", Some(11)),
            ["  one two", "    three", "    four"]
        );
        let path = "report: a/very/long/path/to/report.html";
        assert_eq!(wrapped(path, Some(20)), ["report:", "  a/very/long/path/to/report.html"]);
    }

    proptest! {
        #[test]
        fn a_broken_line_fits_and_loses_no_word(
            words in prop::collection::vec("[a-z]{1,12}", 1..20),
            indent in 0..5_usize,
            width in 20..60_usize,
        ) {
            let line = format!("{}{}", " ".repeat(indent), words.join(" "));
            let lines = wrapped(&line, Some(width));
            prop_assert!(lines.iter().all(|line| line.len() <= width), "{lines:?}");
            let found: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
            prop_assert_eq!(found, words);
        }
    }
}
