//! The forms in which a number may be written, as data: the documentation and the tests of
//! [`parse_number`](crate::parse_number) are drawn from it.

/// One way to write a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// What stands where the answer is looked for.
    pub written: &'static str,
    /// The number it is read as, as a plain decimal or a fraction; `None` when it is refused.
    pub means: Option<&'static str>,
    /// Which form it is, or why it is refused.
    pub note: &'static str,
}

/// Makes the constant and the table of its documentation from the same rows.
macro_rules! forms {
    (
        read { $($written:literal = $means:literal, $note:literal;)* }
        refused { $($refused:literal, $why:literal;)* }
    ) => {
        /// How numbers are written, and what [`parse_number`](crate::parse_number) makes of each
        /// form. A percent sign is read as a hundredth here.
        ///
        /// Refused is what could make a wrong answer right: where a text may mean two numbers, or
        /// a number of something else.
        ///
        /// | written | is | form |
        /// |---|---|---|
        $(#[doc = concat!("| `` ", $written, " `` | ", $means, " | ", $note, " |")])*
        $(#[doc = concat!("| `` ", $refused, " `` | refused | ", $why, " |")])*
        pub const FORMS: &[Form] = &[
            $(Form { written: $written, means: Some($means), note: $note },)*
            $(Form { written: $refused, means: None, note: $why },)*
        ];
    };
}

forms! {
    read {
        "42" = "42", "plain";
        "1,234.50" = "1234.5", "commas in threes";
        ".5" = "0.5", "no whole part";
        "007" = "7", "leading zeros";
        "123456789012345678" = "123456789012345678", "beyond 2^53, compared exactly";
        "+5" = "5", "a plus";
        "-5" = "-5", "a minus";
        "−5" = "-5", "the typographic minus";
        "-0" = "0", "a zero has no sign";
        "42." = "42", "a final full stop";
        "**42**" = "42", "marks of Markdown around it";
        "`42`" = "42", "as code";
        "$42$" = "42", "a formula";
        "$$42$$." = "42", "a displayed formula, full stop behind";
        r"\(42\)" = "42", "a formula in LaTeX's brackets";
        r"\[ 42 \]" = "42", "a displayed formula in LaTeX's brackets";
        r"\displaystyle 42" = "42", "a switch of style";
        r"\,42\;" = "42", "spacing commands around it";
        r"\!42\ " = "42", "spacing commands around it";
        "42~" = "42", "a tie behind it";
        "{42}" = "42", "braces";
        r"\text{42}" = "42", "a command of type";
        r"\mathrm{ 42 }" = "42", "a command of type";
        r"$\boldsymbol{\mathbf{42}}$" = "42", "several";
        r"\boxed{42}" = "42", "a box, also behind a marker and in references";
        "1{,}000" = "1000", "a comma in braces";
        r"1,\!000" = "1000", "a comma pulled back";
        r"1\,234\,567" = "1234567", "thin spaces in threes";
        "1\u{2009}234" = "1234", "a thin space as a character (U+2009, U+202F)";
        "$1,234" = "1234", "a sign of money";
        r"\$5" = "5", "a sign of money, escaped";
        "-$5" = "-5", "a sign of money behind the minus";
        "5 €" = "5", "a sign of money behind it";
        r"\$\,1{,}000" = "1000", "both";
        "28%" = "28/100", "percent";
        r"28\%" = "28/100", "percent, escaped";
        "28 %" = "28/100", "percent, with the space of the standard";
        r"28~\%" = "28/100", "percent behind a tie";
        "28 percent" = "28/100", "percent as a word";
        r"28\text{ percent}" = "28/100", "percent as a word in a formula";
        r"$28$\%" = "28/100", "percent outside of the formula";
        r"90^\circ" = "90", "degrees";
        r"90^{\circ}" = "90", "degrees";
        "90°" = "90", "degrees";
        "90 degrees" = "90", "degrees as a word";
        "1e4" = "10000", "an exponent";
        "1.5E-3" = "0.0015", "an exponent";
        r"3\times10^{4}" = "30000", "a power of ten";
        r"3 \cdot 10^4" = "30000", "a power of ten";
        "3 × 10⁻⁴" = "0.0003", "a power of ten in raised characters";
        "3*10^-4" = "0.0003", "a power of ten in plain text";
        "**3*10^4.**" = "30000", "the same with marks of Markdown around it";
        r"-2.5 \times 10^{-3}" = "-0.0025", "a power of ten";
        r"10^{6}" = "1000000", "a power of ten alone";
        "1/2" = "1/2", "a fraction";
        "-1 / 8" = "-1/8", "a fraction with spaces";
        r"\frac{1}{2}" = "1/2", "a fraction";
        r"\dfrac{3}{4}" = "3/4", "a displayed fraction";
        r"\tfrac{3}{4}" = "3/4", "a small fraction";
        r"\frac12" = "1/2", "a fraction of single digits without braces";
        r"\frac 1{12}" = "1/12", "a fraction, one of two in braces";
        r"-\frac{1}{2}" = "-1/2", "a minus before the fraction";
        r"\frac{-1}{2}" = "-1/2", "a minus inside";
        r"\frac{1{,}000}{3}" = "1000/3", "grouped inside";
        r"1\frac{1}{2}" = "3/2", "a mixed number with a proper fraction";
        r"2\,\tfrac34" = "11/4", "a mixed number with a thin space";
    }
    refused {
        "", "nothing";
        "forty-two", "words";
        "1,5", "a decimal comma, or two numbers";
        "0,123", "a decimal comma: no group begins with 0";
        "1{,}5", "a decimal comma";
        "1.234.567", "full stops as grouping, or a version";
        "1,234 567", "groups parted in two ways";
        "5 120", "grouped, or two numbers";
        "5~120", "grouped, or two numbers";
        "1_000", "a number of a program";
        "1'000", "an apostrophe as grouping";
        "٤٢", "digits other than ASCII";
        "0.333...", "digits left out";
        "~5", "about 5";
        r"\approx 5", "about 5";
        r"\pm 5", "two numbers";
        "--5", "two signs";
        "- 5", "a minus, or an item of a list";
        "(5)", "an item, or -5 in accounts";
        "5, 6", "a list: listing candidates never pays";
        "5 or 6", "two numbers";
        "42 apples", "a unit";
        r"5\text{ cm}", "a unit: another one would be wrong";
        r"90^\circ C", "a unit";
        "50¢", "hundredths of a unit";
        "5k", "a letter that multiplies";
        "x = 5", "an equation: another letter would be wrong";
        "2+3", "an expression";
        r"3\times4", "an expression";
        "2^{10}", "an expression";
        "3x10^4", "a letter";
        "*2* 10^4", "two numbers, one of them marked";
        "101_2", "a number to another base";
        "~~5~~", "struck out";
        r"\sqrt{4}", "an expression";
        r"\overline{3}", "a digit that repeats";
        r"\frac{1}{0}", "a division by zero";
        r"\frac{1}{2}3", "a product, or digits astray";
        r"\frac{\pi}{2}", "a name";
        "1/2/3", "two divisions";
        "1 1/2", "a mixed number, or two numbers";
        r"2\frac{3}{2}", "no mixed number, so a product";
        r"2\frac{-1}{2}", "no mixed number, so a difference";
        "nan", "no number";
        "∞", "no number";
        "1e999", "beyond the largest `f64`";
        r"\boxed{5", "a brace that never closes";
        r"28\%\%", "two signs";
    }
}
