//! The one definition of a written number, shared by the numeric, arithmetic and confidence parsers
//! and by the edit that rewrites numbers.

/// What may stand between groups of three digits in a formula or in careful typesetting. A blank, a
/// tie (`~`) and a no-break space may not: `5 120` may be two numbers.
const TYPESET: [&str; 7] = [",", "{,}", ",\\!", "{,}\\!", "\\,", "\u{2009}", "\u{202f}"];

/// The length in bytes of the unsigned numeral at the start of `text`, 0 if there is none.
///
/// A numeral is `digits[.digits]` or `.digits`; its whole part may be grouped by commas in threes
/// (`1,234,567`), and then begins with no zero: `0,123` is a decimal comma to half of the world. A
/// comma that does not fit the grouping ends the numeral, and so does a full stop that no digit
/// follows. No sign, no exponent: those are the caller's grammar.
#[must_use]
pub fn numeral_length(text: &str) -> usize {
    scan(text, &TYPESET[..1])
}

/// The numeral without its grouping commas.
#[must_use]
pub fn without_grouping(numeral: &str) -> String {
    numeral.replace(',', "")
}

/// Takes a numeral from the start of `text`, its groups parted by any one of the marks of
/// typesetting: `1{,}234`, `1\,234`. Returns its digits and point alone, and the rest.
pub(crate) fn take_numeral(text: &str) -> Option<(String, &str)> {
    let (numeral, rest) = text.split_at(scan(text, &TYPESET));
    let plain = numeral.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    (!numeral.is_empty()).then_some((plain, rest))
}

fn scan(text: &str, separators: &[&str]) -> usize {
    let whole = grouped_length(text, separators);
    match text[whole..].strip_prefix('.').map(digits) {
        None | Some(0) => whole,
        Some(decimals) => whole + 1 + decimals,
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The length of the whole part; all of its groups are parted in the same way.
fn grouped_length(text: &str, separators: &[&str]) -> usize {
    let first = digits(text);
    if !(1..=3).contains(&first) || text.starts_with('0') {
        return first;
    }
    let group = |at: usize, separator: &str| {
        text[at..].strip_prefix(separator).is_some_and(|rest| digits(rest) == 3)
    };
    let mut end = first;
    if let Some(separator) = separators.iter().find(|separator| group(first, separator)) {
        while group(end, separator) {
            end += separator.len() + 3;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerals_end_where_the_grammar_ends() {
        for (text, numeral) in [
            ("12", "12"),
            ("1,234,567.50 apples", "1,234,567.50"),
            ("1234,567", "1234"),
            ("1,2345", "1"),
            ("1,234,56", "1,234"),
            ("0,123", "0"),
            ("012,345", "012"),
            ("1{,}234", "1"),
            (".5", ".5"),
            ("5.", "5"),
            (".", ""),
            ("-5", ""),
            ("", ""),
            ("٣", ""),
        ] {
            assert_eq!(&text[..numeral_length(text)], numeral, "{text}");
        }
    }

    #[test]
    fn typeset_groups_are_parted_in_one_way() {
        for (text, plain, rest) in [
            (r"1{,}234{,}567.5\%", "1234567.5", r"\%"),
            (r"1,\!234", "1234", ""),
            (r"1\,234", "1234", ""),
            ("1\u{202f}234", "1234", ""),
            (r"1{,}234,567", "1234", ",567"),
            (r"1{,}5", "1", "{,}5"),
            ("5 120", "5", " 120"),
            ("5~120", "5", "~120"),
        ] {
            assert_eq!(take_numeral(text), Some((plain.to_owned(), rest)), "{text}");
        }
        assert_eq!(take_numeral("x"), None);
    }
}
