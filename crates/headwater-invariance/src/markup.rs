//! Which parts of a text are code, tags or formulas, where an edit would change what is said.
//!
//! Markdown is read as CommonMark has it. Where renderers differ, or HTML hides what could be code,
//! it counts as code. The price is an edit that is not made.

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Parser, Tag, TagEnd};

/// What a byte of a text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Plain text.
    Prose,
    /// A tag in angle brackets, its brackets included; what stands between two tags is not.
    Tag,
    /// A formula between dollars or LaTeX's brackets, these included.
    Formula,
    /// A code span, a code block or what could be one, its marks included.
    Code,
}

/// A text taken apart, byte by byte.
pub(super) struct Layout {
    parts: Vec<Part>,
    /// Whether the text ends inside a block of code or a formula that was never closed: what is
    /// added at the end becomes a part of it.
    pub(super) open_at_end: bool,
    /// Whether there is code as well as a line that begins with a tag. Such a line may open a block
    /// of HTML, in which no fence counts, up to the next blank line: then whether the code is code
    /// hangs on the lines before it.
    pub(super) code_below_tags: bool,
}

impl Layout {
    pub(super) fn of(text: &str) -> Self {
        let parts = vec![Part::Prose; text.len()];
        let mut layout = Self { parts, open_at_end: false, code_below_tags: false };
        layout.mark_markdown(text);
        layout.mark_code_elements(text);
        layout.mark_tags(text);
        layout.mark_formulas(text);
        let begins_with_tag = |(_, line): (usize, &str)| line.trim_start().starts_with('<');
        layout.code_below_tags =
            layout.parts.contains(&Part::Code) && lines(text).any(begins_with_tag);
        layout
    }

    /// The part that the byte at `position` belongs to; prose behind the end.
    pub(super) fn at(&self, position: usize) -> Part {
        self.parts.get(position).copied().unwrap_or(Part::Prose)
    }

    /// Whether every byte of the range is prose.
    pub(super) fn is_prose(&self, range: std::ops::Range<usize>) -> bool {
        self.parts[range].iter().all(|part| *part == Part::Prose)
    }

    fn mark(&mut self, range: std::ops::Range<usize>, part: Part) {
        self.parts[range].fill(part);
    }

    /// Blocks and spans of code, targets of links, images.
    fn mark_markdown(&mut self, text: &str) {
        let events = Parser::new(text).into_offset_iter();
        for (_, definition) in events.reference_definitions().iter() {
            self.mark(definition.span.clone(), Part::Code);
        }
        // Of the link that is open, where its text ends as far as it has been read.
        let mut read: Option<usize> = None;
        for (event, range) in events {
            if let (Some(read), false) = (&mut read, event == Event::End(TagEnd::Link)) {
                *read = range.end.max(*read);
            }
            match event {
                Event::Code(_)
                | Event::Start(
                    Tag::Image { .. }
                    | Tag::Link { link_type: LinkType::Autolink | LinkType::Email, .. },
                ) => self.mark(range, Part::Code),
                Event::Start(Tag::CodeBlock(kind)) => {
                    let block = &text[range.clone()];
                    self.open_at_end |= range.end >= text.trim_end().len()
                        && matches!(kind, CodeBlockKind::Fenced(_))
                        && !is_closed(block);
                    self.mark_lines(text, range);
                }
                // Whether a fence counts in a block of HTML hangs on the lines before it.
                Event::Start(Tag::HtmlBlock)
                    if lines(&text[range.clone()])
                        .any(|(_, line)| fence(without_containers(line)).is_some()) =>
                {
                    let last = text[range.clone()].lines().last().unwrap_or_default();
                    self.open_at_end |=
                        range.end >= text.trim_end().len() && !last.trim_start().starts_with('<');
                    self.mark(range, Part::Code);
                }
                Event::Start(Tag::Link { .. }) => read = Some(range.start),
                Event::End(TagEnd::Link) => {
                    if let Some(read) = read.take() {
                        self.mark(read..range.end, Part::Code);
                    }
                }
                _ => {}
            }
        }
    }

    /// Marks a block of code with the indentation and the marks of lists before it.
    fn mark_lines(&mut self, text: &str, range: std::ops::Range<usize>) {
        let start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
        self.mark(start..range.end, Part::Code);
    }

    fn rest_is_code(&mut self, start: usize) {
        let end = self.parts.len();
        self.mark(start..end, Part::Code);
        self.open_at_end = true;
    }

    /// The contents of the elements that HTML has for code.
    fn mark_code_elements(&mut self, text: &str) {
        let lower = self.with_blanks_for_all_but_prose(text).to_ascii_lowercase();
        for name in ["code", "pre", "script", "style", "kbd", "samp"] {
            let (opening, closing) = (format!("<{name}"), format!("</{name}>"));
            let mut position = 0;
            while let Some(offset) = lower[position..].find(&opening) {
                let start = position + offset;
                let named = start + opening.len();
                // `<prefix>` is no `<pre>`.
                if lower[named..].starts_with(|c: char| c.is_alphanumeric() || c == '-') {
                    position = named;
                    continue;
                }
                let Some(length) = lower[named..].find(&closing) else {
                    return self.rest_is_code(start);
                };
                position = named + length + closing.len();
                self.mark(start..position, Part::Code);
            }
        }
    }

    fn mark_tags(&mut self, text: &str) {
        for (start, _) in text.match_indices('<') {
            let inside = &text[start + 1..];
            if !inside.starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c)) {
                continue;
            }
            let end = inside.find(['<', '>', '\n']).filter(|end| inside[*end..].starts_with('>'));
            if let Some(length) = end
                && self.is_prose(start..start + length + 2)
            {
                self.mark(start..start + length + 2, Part::Tag);
            }
        }
    }

    fn mark_formulas(&mut self, text: &str) {
        let text = &self.with_blanks_for_all_but_prose(text);
        for (opening, closing) in
            [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("\\begin{", "\\end{")]
        {
            let mut position = 0;
            while let Some(offset) = text[position..].find(opening) {
                let start = position + offset;
                let inside = start + opening.len();
                let length = text[inside..].find(closing);
                self.open_at_end |= length.is_none();
                position = length.map_or(text.len(), |length| inside + length + closing.len());
                self.mark_prose(start..position, Part::Formula);
            }
        }
        for (start, line) in lines(text) {
            // A sum of money opens nothing: `$5 and $6` has no dollar that could close.
            let closes = |&(at, _): &(usize, &str)| {
                !line[..at].ends_with(char::is_whitespace)
                    && !line[at + 1..].starts_with(|c: char| c.is_ascii_digit())
            };
            let closing: Vec<usize> =
                line.match_indices('$').filter(closes).map(|(at, _)| at).collect();
            let mut position = 0;
            while let Some(offset) = line[position..].find('$') {
                let opening = position + offset;
                position = opening + 1;
                if line[position..].starts_with(char::is_whitespace) {
                    continue;
                }
                let next = closing.partition_point(|at| *at <= opening + 1);
                if let Some(&end) = closing.get(next) {
                    position = end + 1;
                    self.mark_prose(start + opening..start + position, Part::Formula);
                }
            }
        }
    }

    /// The text in which nothing opens or closes anything but prose, byte for byte as long.
    fn with_blanks_for_all_but_prose(&self, text: &str) -> String {
        let blank = |(at, c): (usize, char)| match self.at(at) {
            Part::Prose => c.to_string(),
            _ => " ".repeat(c.len_utf8()),
        };
        text.char_indices().map(blank).collect()
    }

    /// Marks what is prose so far: code comes first.
    fn mark_prose(&mut self, range: std::ops::Range<usize>, part: Part) {
        for byte in &mut self.parts[range] {
            if *byte == Part::Prose {
                *byte = part;
            }
        }
    }
}

/// The lines with the line break behind each, and where they begin.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        start += line.len();
        (start - line.len(), line)
    })
}

/// Whether a text that begins so is more than a line of prose, and would not be with words put in
/// front: a heading, list, table, quotation, rule, block of code, formula or HTML, or a blank line.
pub(super) fn begins_block(text: &str) -> bool {
    const MARKS: [&str; 9] =
        ["$$", "\\[", "\\begin{", "---", "***", "___", "<pre", "<script", "<style"];
    let mut lines = text.lines();
    let (line, next) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let content = line.trim_start_matches(' ');
    let lower = content.to_ascii_lowercase();
    (line.trim().is_empty() && !text.is_empty())
        || is_indented(line)
        || content.starts_with(['#', '>', '|'])
        || MARKS.iter().any(|mark| lower.starts_with(mark))
        || (content.starts_with('<') && !next.trim().is_empty())
        || list_marker(line).is_some()
        || fence(content).is_some()
        || underlines(next)
}

/// Whether a line makes the line before it a heading.
pub(super) fn underlines(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && (line.bytes().all(|b| b == b'=') || line.bytes().all(|b| b == b'-'))
}

/// The length of the list marker at the start of a line, with the indentation before it and without
/// the blank after.
pub(super) fn list_marker(line: &str) -> Option<usize> {
    let content = line.trim_start_matches([' ', '\t']);
    let indent = line.len() - content.len();
    let digits = content.bytes().take_while(u8::is_ascii_digit).count();
    let mark = if digits > 0 { &['.', ')'][..] } else { &['-', '*', '+'] };
    let rest = content[digits..].strip_prefix(mark)?;
    rest.chars().next().is_none_or(char::is_whitespace).then_some(indent + digits + 1)
}

/// A line without its indentation and the marks of the lists and quotations it is in.
pub(super) fn without_containers(mut line: &str) -> &str {
    loop {
        let content = line.trim_start_matches([' ', '\t', '>']);
        match list_marker(content) {
            Some(length) => line = &content[length..],
            None => return content,
        }
    }
}

/// Whether a line is a block of code by its indentation, or that of its content behind the marks of
/// lists and quotations.
fn is_indented(line: &str) -> bool {
    let marks = &line[..line.len() - without_containers(line).len()];
    // Of five blanks behind a mark, the first belongs to it.
    marks.starts_with("    ") || marks.contains("     ") || marks.contains('\t')
}

/// Whether a LaTeX command ends `text`: what stands behind it may be its argument.
pub(super) fn ends_in_command(text: &str) -> bool {
    let before = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    before.len() < text.len() && before.ends_with('\\')
}

/// The fence a line without its indentation opens.
fn fence(content: &str) -> Option<(char, usize)> {
    let mark = content.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = run_length(content, mark);
    // A fence of backticks with another behind it is a code span.
    let opens = length >= 3 && (mark == '~' || !content[length..].contains('`'));
    opens.then_some((mark, length))
}

/// Whether a fenced block ends in its closing fence.
fn is_closed(block: &str) -> bool {
    let mut lines = block.trim_end().lines();
    let opening = lines.next().and_then(|line| fence(line.trim_start()));
    let last = lines.next_back().map(without_containers);
    opening.is_some_and(|fence| last.is_some_and(|line| closes(line, fence)))
}

fn closes(line: &str, (mark, length): (char, usize)) -> bool {
    let content = line.trim_start_matches(' ');
    let run = run_length(content, mark);
    line.len() - content.len() <= 3 && run >= length && content[run..].trim().is_empty()
}

/// How often the ASCII character `mark` stands at the start of `text`.
fn run_length(text: &str, mark: char) -> usize {
    text.len() - text.trim_start_matches(mark).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with every byte that is not prose replaced by the initial of its part.
    fn drawn(text: &str) -> String {
        let layout = Layout::of(text);
        let initial = |(at, c): (usize, char)| match layout.at(at) {
            _ if c == '\n' => c,
            Part::Prose => c,
            Part::Tag => 'T',
            Part::Formula => 'F',
            Part::Code => 'C',
        };
        text.char_indices().map(initial).collect()
    }

    #[test]
    fn parts_are_told_apart() {
        for (text, parts) in [
            ("a `b c` d", "a CCCCC d"),
            ("``a ` b`` c", "CCCCCCCCC c"),
            ("a\n```py\nb\n```\nc", "a\nCCCCC\nC\nCCC\nc"),
            ("~~~\n```\n~~~\na", "CCC\nCCC\nCCC\na"),
            ("````\n```\n````\na", "CCCC\nCCC\nCCCC\na"),
            ("```\na\n    ```\nb", "CCC\nC\nCCCCCCC\nC"),
            ("    a\nb", "CCCCC\nb"),
            ("1.     a\n  \tb\n- c", "CCCCCCCC\n  \tb\n- c"),
            ("<b>\n```\na\n```\nb", "CCC\nCCC\nC\nCCC\nC"),
            ("<b>a</b> < c > d", "TTTaTTTT < c > d"),
            ("<code>a</code> b", "CCCCCCCCCCCCCC b"),
            ("<pre>a", "CCCCCC"),
            ("<prefix>a", "TTTTTTTTa"),
            ("$x$ is $5 or $6", "FFF is $5 or $6"),
            ("a $$b\nc$$ d", "a FFF\nFFF d"),
            (r"\(a\) b \[c", "FFFFF b FFF"),
            ("`$a` b$", "CCCC b$"),
            ("`$$` $$a$$", "CCCC FFFFF"),
            ("<code>a</code> `b`", "CCCCCCCCCCCCCC CCC"),
            (r"\`a` b `c`", r"\`aCCCCCc`"),
            // A span runs over lines, a fence ends with its list or quotation.
            ("a `b\nc `d`\n\ne", "a CC\nCCCd`\n\ne"),
            ("- ```\n  a\n  ```\nb", "CCCCC\nCCC\nCCCCC\nb"),
            ("- a\n  ```\nb\n  ```\nc", "- a\nCCCCC\nb\nCCCCC\nC"),
            ("- a\n  ```\n  b\n  ```\nc", "- a\nCCCCC\nCCC\nCCCCC\nc"),
            ("> ```\n> a\n\nb", "CCCCC\nCCC\n\nb"),
            // Targets of links are no prose, nor are images.
            ("[a *b*](c/d) e", "[a *b*CCCCCC e"),
            ("![a](b) c <http://d> e", "CCCCCCC c CCCCCCCCCC e"),
            ("[a][b] c\n\n[b]: d", "[aCCCC c\n\nCCCCCC"),
            ("```a```\nb", "CCCCCCC\nb"),
        ] {
            assert_eq!(drawn(text), parts, "{text:?}");
        }
        for (text, open) in [
            ("```\na", true),
            ("```\na\n```", false),
            ("- ```\n  a", true),
            ("> ```\n> a\n\nb", false),
            (r"\[a", true),
            ("a `b", false),
        ] {
            assert_eq!(Layout::of(text).open_at_end, open, "{text:?}");
        }
    }

    #[test]
    fn blocks_are_told_from_prose_by_how_they_begin() {
        for text in [
            "# a", "- a", "1. a", "2) a", "> a", "| a |", "```\na", "    a", "a\n===", "***",
            "\\[ a",
        ] {
            assert!(begins_block(text), "{text:?}");
        }
        for text in ["", "a", "1.5 a", "-5", "**a** b", "`a` b", "<b>a", "$x$", "a\nb"] {
            assert!(!begins_block(text), "{text:?}");
        }
        assert_eq!(list_marker("  10. a"), Some(5));
        assert_eq!(list_marker("10.5 a"), None);
    }
}
