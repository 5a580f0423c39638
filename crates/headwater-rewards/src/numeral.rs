//! The one definition of a written number, shared by the numeric, arithmetic and confidence parsers
//! and by the edit that rewrites numbers.

/// The length in bytes of the unsigned numeral at the start of `text`, 0 if there is none.
///
/// A numeral is `digits[.digits]` or `.digits`; its whole part may be grouped by commas in threes
/// (`1,234,567`). A comma that does not fit the grouping ends the numeral, and so does a full stop
/// that no digit follows. No sign, no exponent: those are the caller's grammar.
#[must_use]
pub fn numeral_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let whole = grouped_length(bytes);
    if bytes.get(whole) == Some(&b'.') {
        let decimals = digits(&bytes[whole + 1..]);
        if decimals > 0 {
            return whole + 1 + decimals;
        }
    }
    whole
}

/// The numeral without its grouping commas.
#[must_use]
pub fn without_grouping(numeral: &str) -> String {
    numeral.replace(',', "")
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn grouped_length(bytes: &[u8]) -> usize {
    let first = digits(bytes);
    if !(1..=3).contains(&first) {
        return first;
    }
    let mut end = first;
    while bytes.get(end) == Some(&b',') && digits(&bytes[end + 1..]) == 3 {
        end += 4;
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
}
