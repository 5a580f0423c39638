//! What LaTeX puts around and between the parts of an answer. A reader of final answers, not of
//! LaTeX: whatever is not known here stays in the text, and the reader behind it refuses it.

/// Commands that only leave a gap, without their backslash.
const SPACES: [&str; 8] = [",", "!", ";", ":", " ", "quad", "qquad", "thinspace"];

/// The same at the end of a text; last what is left of `\ ` or of an escaped sign.
const ENDS: [&str; 8] = ["\\,", "\\!", "\\;", "\\:", "\\quad", "\\qquad", "\\thinspace", "\\"];

/// What opens or closes a formula.
const DELIMITERS: [&str; 5] = ["$", "\\(", "\\)", "\\[", "\\]"];

/// Commands that change the looks of their argument and not what it says.
const WRAPPERS: [&str; 22] = [
    "text",
    "textbf",
    "textit",
    "textrm",
    "textsf",
    "texttt",
    "textnormal",
    "emph",
    "mbox",
    "hbox",
    "mathrm",
    "mathbf",
    "mathit",
    "mathsf",
    "mathtt",
    "mathnormal",
    "boldsymbol",
    "bm",
    "underline",
    "ensuremath",
    "boxed",
    "fbox",
];

/// The longest text, in bytes, that is taken out of its wrapping: a final answer is short.
const LONGEST: usize = 1024;

/// The command at the start of `text`, without its backslash, and what stands behind it.
pub(crate) fn command(text: &str) -> Option<(&str, &str)> {
    let name = text.strip_prefix('\\')?;
    let letters = name.bytes().take_while(u8::is_ascii_alphabetic).count();
    match letters {
        0 => Some(name.split_at(name.chars().next()?.len_utf8())),
        _ => Some(name.split_at(letters)),
    }
}

/// `text` behind the whitespace and spacing commands at its start.
pub(crate) fn skip_spaces(text: &str) -> &str {
    let mut rest = text.trim_start();
    while let Some((name, after)) = command(rest)
        && SPACES.contains(&name)
    {
        rest = after.trim_start();
    }
    rest
}

/// Where the brace closes that was opened just before `text`; `\{` and `\}` are no braces.
pub(crate) fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1_usize;
    let mut escaped = false;
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(offset);
        }
    }
    None
}

/// `text` out of formula signs, spacing commands, braces and commands of type around all of it.
pub(crate) fn unwrapped(text: &str) -> &str {
    unwrapped_of(text, &[])
}

/// [`unwrapped`], with `further` texts taken from both ends.
pub(crate) fn unwrapped_of<'t>(text: &'t str, further: &[&str]) -> &'t str {
    let mut text = text.trim();
    if text.len() > LONGEST {
        return text;
    }
    loop {
        let before = text.len();
        text = skip_spaces(text).trim_end();
        for mark in DELIMITERS.iter().chain(further) {
            text = text.strip_prefix(mark).unwrap_or(text);
            text = text.strip_suffix(mark).unwrap_or(text);
        }
        text = ENDS.iter().fold(text, |text, end| text.strip_suffix(end).unwrap_or(text));
        text = inside(text).unwrap_or(text);
        if text.len() == before {
            return text;
        }
    }
}

/// What stands in the braces that `text` is, or that its command has as the only argument.
fn inside(text: &str) -> Option<&str> {
    let group = match command(text) {
        Some(("displaystyle", rest)) => return Some(rest),
        Some((name, rest)) => WRAPPERS.contains(&name).then(|| rest.trim_start())?,
        None => text,
    };
    let inner = group.strip_prefix('{')?;
    let end = closing_brace(inner)?;
    (end + 1 == inner.len()).then(|| &inner[..end])
}

/// The answer of the last `\boxed` or `\fbox`: inside its braces, or without braces the rest of its
/// formula or line. `None` without one, or when its brace never closes.
///
/// One without braces before anything but a number or a command may be prose about boxes, and
/// counts only where there is no other.
pub(crate) fn last_boxed(text: &str) -> Option<&str> {
    let mut starts: Vec<usize> = ["\\boxed", "\\fbox"]
        .into_iter()
        .flat_map(|name| text.match_indices(name).map(|(start, found)| start + found.len()))
        // Another letter makes it another command.
        .filter(|&end| !text[end..].starts_with(|c: char| c.is_ascii_alphabetic()))
        .collect();
    starts.sort_unstable();
    let sure = starts.iter().rev().find(|&&start| begins_an_answer(text[start..].trim_start()));
    let rest = text[*sure.or(starts.last())?..].trim_start();
    if let Some(inner) = rest.strip_prefix('{') {
        return Some(inner[..closing_brace(inner)?].trim());
    }
    let line = rest.lines().next()?;
    Some(line[..formula_end(line)].trim())
}

/// A brace, a number or a LaTeX command of letters.
fn begins_an_answer(text: &str) -> bool {
    let mut letters = text.chars();
    match letters.next() {
        Some('{' | '+' | '-' | '\u{2212}' | '.') => true,
        Some('\\') => letters.next().is_some_and(|next| next.is_ascii_alphabetic()),
        first => first.is_some_and(|first| first.is_ascii_digit()),
    }
}

/// Where the formula that `text` stands in ends: at a `$`, `&`, `\)`, `\]`, `\\`, `\end`, or the
/// brace that closes around it.
fn formula_end(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let at = text.len() - rest.len();
        if let Some((name, after)) = command(rest) {
            if matches!(name, ")" | "]" | "\\" | "end") {
                return at;
            }
            rest = after;
            continue;
        }
        match next {
            '$' | '&' => return at,
            '}' if depth == 0 => return at,
            '}' => depth -= 1,
            '{' => depth += 1,
            _ => {}
        }
        rest = &rest[next.len_utf8()..];
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_is_taken_off_and_nothing_else() {
        for (text, bare) in [
            (r"\text{(B)}", "(B)"),
            (r" $\mathbf{ \text{yes} }$ ", "yes"),
            (r"\(\displaystyle 5\)", "5"),
            (r"\[\,5\ \]", "5"),
            (r"{{5}}", "5"),
            (r"\quad 5 \qquad", "5"),
            (r"{1}{2}", "{1}{2}"),
            (r"\text{a} or \text{b}", r"\text{a} or \text{b}"),
            (r"\overline{3}", r"\overline{3}"),
            (r"\textual{3}", r"\textual{3}"),
            (r"\{1\}", r"\{1\}"),
            (r"\text{a", r"\text{a"),
            ("", ""),
        ] {
            assert_eq!(unwrapped(text), bare, "{text}");
        }
        let long = format!("${}$", "x".repeat(LONGEST));
        assert_eq!(unwrapped(&long), long);
    }
}
