//! Graders against what models really write: every row of the table of forms, and every way of
//! wrapping, spacing and escaping a right answer and a wrong one.

use headwater_core::{Check, Sample, Score};
use headwater_rewards::{
    ArithmeticMatchConfig, CountdownConfig, ExactMatchConfig, ExpressionLimits, Extraction, FORMS,
    Normalisation, NumberUse, NumericMatchConfig, PercentReading, Reward, TagFormatConfig,
    parse_number,
};
use proptest::prelude::*;
use proptest::sample::select;

const RIGHT: Score = Score::Scored(1.0);
const WRONG: Score = Score::Scored(0.0);

fn numeric(extraction: Extraction, absolute: f64, relative: f64) -> impl Reward {
    NumericMatchConfig {
        extraction,
        absolute_tolerance: absolute,
        relative_tolerance: relative,
        percent: PercentReading::Hundredth,
    }
    .check()
    .expect("valid")
}

fn score(reward: &impl Reward, completion: &str, reference: &str) -> Score {
    reward.score(Sample { prompt: "", completion, reference: Some(reference) })
}

#[test]
fn every_form_is_read_as_the_table_says_in_answer_and_reference() {
    let exact = numeric(Extraction::Whole, 0.0, 0.0);
    for form in FORMS {
        let written = form.written;
        let Some(means) = form.means else {
            assert_eq!(parse_number(written, PercentReading::Hundredth), None, "{written:?}");
            assert_eq!(score(&exact, written, "5"), WRONG, "{written:?}");
            assert!(matches!(score(&exact, "5", written), Score::Failed(_)), "{written:?}");
            continue;
        };
        assert_eq!(score(&exact, written, means), RIGHT, "{written:?}");
        assert_eq!(score(&exact, means, written), RIGHT, "{written:?}");
        assert_eq!(score(&exact, written, written), RIGHT, "{written:?}");
        // No other value: not ten, a hundred or a thousand times as much, not its negative, not
        // one more or less.
        let value = parse_number(means, PercentReading::Hundredth).expect("plain");
        let others = [
            value * 10.0,
            value * 100.0,
            value / 100.0,
            value * 1000.0,
            value / 1000.0,
            -value,
            value + 1.0,
            value - 1.0,
        ];
        for other in others.into_iter().filter(|other| *other != value) {
            assert_eq!(score(&exact, written, &format!("{other}")), WRONG, "{written:?} {other}");
        }
    }
}

/// What a text of two numbers might be taken for.
#[test]
fn what_is_refused_is_right_for_no_reading() {
    let exact = numeric(Extraction::Whole, 0.0, 0.0);
    for (written, readings) in [
        ("1,5", &["1.5", "15", "1", "5"][..]),
        ("0,123", &["123", "0.123", "0"]),
        ("1 000", &["1000", "1", "0"]),
        ("5 120", &["5120", "5", "120"]),
        ("1 1/2", &["1.5", "0.5", "11/2", "1"]),
        (r"2\frac{3}{2}", &["3", "7/2", "2", "23/2"]),
        (r"\frac{1}{2}3", &["1/23", "3/2", "1/2"]),
        (r"\boxed{\text{3 or 4}}", &["3", "4", "34"]),
        (r"\overline{3}", &["3", "1/3"]),
        ("0.333...", &["0.333", "1/3"]),
        ("(5)", &["5", "-5"]),
        ("- 5", &["5", "-5"]),
        (r"3\times10", &["30", "3", "310"]),
        (r"2^10", &["1024", "210", "2"]),
        ("5%6", &["5", "0.05", "56"]),
    ] {
        for reading in readings {
            assert_eq!(score(&exact, written, reading), WRONG, "{written:?} as {reading}");
        }
    }
}

#[test]
fn percent_is_ignored_on_request_in_every_spelling() {
    for written in ["28", "28%", r"28\%", r"28~\%", "28 percent", r"$28\%$"] {
        assert_eq!(parse_number(written, PercentReading::Ignored), Some(28.0), "{written:?}");
    }
}

#[test]
fn the_tolerance_is_met_by_what_differs_by_exactly_as_much() {
    let cent = numeric(Extraction::Whole, 0.01, 0.0);
    assert_eq!(score(&cent, "0.34", "0.33"), RIGHT);
    assert_eq!(score(&numeric(Extraction::Whole, 0.0, 0.1), "1.1", "1"), RIGHT);
    for hundredths in 0..1000 {
        let decimal = |n: i32| format!("{}.{:02}", n / 100, n % 100);
        let (low, high) = (decimal(hundredths), decimal(hundredths + 1));
        assert_eq!(score(&cent, &low, &high), RIGHT, "{low} {high}");
        assert_eq!(score(&cent, &high, &low), RIGHT, "{low} {high}");
        assert_eq!(score(&cent, &format!("{high}000000000000000001"), &low), WRONG, "{low}");
    }
    // A third of 0.03 of 1/3 is exactly a hundredth.
    let relative = numeric(Extraction::Whole, 0.0, 0.03);
    assert_eq!(score(&relative, r"\frac{103}{300}", "1/3"), RIGHT);
    assert_eq!(score(&relative, r"\frac{1031}{3000}", "1/3"), WRONG);
    assert_eq!(score(&relative, "-97/300", r"-\frac13"), RIGHT);
    // Across zero the distances add up.
    assert_eq!(score(&cent, "-0.004", "0.006"), RIGHT);
    assert_eq!(score(&cent, "-0.005", "0.006"), WRONG);
    let (smallest, largest) = (f64::from_bits(1), f64::MAX);
    assert_eq!(score(&numeric(Extraction::Whole, smallest, 0.0), "1e-323", "0"), WRONG);
    assert_eq!(score(&numeric(Extraction::Whole, largest, 0.0), "-1e308", "0"), RIGHT);
}

#[test]
fn whole_numbers_beyond_doubles_are_compared_exactly() {
    let exact = numeric(Extraction::Whole, 0.0, 0.0);
    let one = numeric(Extraction::Whole, 1.0, 0.0);
    let two = numeric(Extraction::Whole, 1.0 - f64::EPSILON, 0.0);
    let (a, b) = ("123456789012345678", "123456789012345679");
    assert_eq!(score(&exact, a, b), WRONG);
    assert_eq!(score(&exact, "123,456,789,012,345,679", b), RIGHT);
    assert_eq!((score(&one, a, b), score(&two, a, b)), (RIGHT, WRONG));
    let long = "9".repeat(120);
    assert_eq!(score(&exact, &long, &long), RIGHT);
    assert_eq!(score(&exact, &long, &format!("{}8", &long[1..])), WRONG);
    assert_eq!(score(&exact, "1e-400", "0"), WRONG);
}

#[test]
fn a_zero_is_never_negative() {
    for written in ["-0", "-0.0", "−0%", r"-\frac{0}{3}"] {
        let value = parse_number(written, PercentReading::Hundredth).expect("a number");
        assert_eq!(value.to_bits(), 0, "{written:?}");
    }
}

#[test]
fn a_doubled_closing_tag_is_text_after_the_block() {
    let tags = ["reasoning", "answer"].map(String::from).to_vec();
    let format = TagFormatConfig { tags, first_opening_required: true }.check().unwrap();
    let reward = numeric(Extraction::LastTag("answer".into()), 0.0, 0.0);
    for text in [
        "<reasoning>so</reasoning><answer>333</answer></answer>",
        "<reasoning>so</reasoning>\n<answer>333 \n</answer>\n</answer>",
        "<reasoning>so</reasoning><answer>333</answer> I am sure. </answer>",
    ] {
        assert_eq!(score(&format, text, "333"), WRONG, "{text}");
        assert_eq!(score(&reward, text, "333"), RIGHT, "{text}");
    }
    let after = "<answer>333</answer> I hope this helps.";
    assert_eq!(score(&reward, after, "333"), RIGHT);
}

#[test]
fn boxes_are_read_as_models_write_them() {
    let reward = numeric(Extraction::LastBoxed, 0.0, 0.0);
    for text in [
        r"\boxed 2",
        r"\boxed {2}",
        r"$\boxed{2}$",
        r"so \boxed{\text{2}}. I hope this helps.",
        r"\[\boxed{2.}\]",
        r"\boxed{\frac{4}{2}}",
        r"first \boxed{3}, then \boxed{ 2 }",
        r"first \boxed{3}, then \boxed 2",
        r"It is \boxed{2}. I put it in \boxed as asked.",
        r"\boxed{2} (in `\boxed`)",
        r"It is \boxed{2}, see \fbox",
    ] {
        assert_eq!(score(&reward, text, "2"), RIGHT, "{text}");
    }
    for text in [
        r"\boxed 2 or 3",
        r"\boxed{2} \boxed{3}",
        r"\boxed{2} \boxed 3",
        r"\boxed{2} \boxed{",
        r"\boxed{2, 3}",
    ] {
        assert_eq!(score(&reward, text, "2"), WRONG, "{text}");
    }
    let normalisation = Normalisation::QUESTION_ANSWERING;
    let option =
        ExactMatchConfig { extraction: Extraction::LastBoxed, normalisation }.check().unwrap();
    assert_eq!(score(&option, r"\boxed{\text{(B)}}", "B"), RIGHT);
    assert_eq!(score(&option, r"\boxed{\textbf{(A) }}", r"\text{(A)}"), RIGHT);
    assert_eq!(score(&option, r"\boxed{\text{(A)}}", "B"), WRONG);
    assert_eq!(score(&option, "\\boxed{−5}", "-5"), RIGHT);
    assert_eq!(score(&option, "\\boxed{−5}", "5"), WRONG);
}

#[test]
fn expressions_are_read_from_formulas() {
    let (extraction, limits) = (Extraction::LastBoxed, ExpressionLimits::default());
    let arithmetic = ArithmeticMatchConfig { extraction: extraction.clone(), limits };
    let arithmetic = arithmetic.check().unwrap();
    for (text, reference) in [
        (r"\boxed{3 \times 7 + 25}", "46"),
        (r"\boxed{$3\cdot7+25$}", "46"),
        (r"\boxed{\left( 1 + 2 \right) \div 4}", "3/4"),
        (r"\boxed{\frac{1 + 2}{4}}", r"\(\frac34\)"),
        (r"\boxed{1{,}000 \times \dfrac{1}{2}}", "500"),
        (r"\boxed{2\,\times\,3}", "6"),
    ] {
        assert_eq!(score(&arithmetic, text, reference), RIGHT, "{text}");
    }
    for text in [r"\boxed{2\frac{1}{2}}", r"\boxed{\frac{1}{0}}", r"\boxed{\frac{1}}", "\u{1}12"] {
        assert_eq!(score(&arithmetic, text, "1"), WRONG, "{text}");
    }
    let number_use = NumberUse::Exactly;
    let countdown = CountdownConfig { extraction, number_use, limits }.check().unwrap();
    assert_eq!(score(&countdown, r"\boxed{3 \times 7 + 25}", "3 7 25 = 46"), RIGHT);
    assert_eq!(score(&countdown, r"\boxed{\frac{25}{5} - 3}", "3 5 25 = 2"), RIGHT);
    assert_eq!(score(&countdown, r"\boxed{\frac{25}{5}}", "3 5 25 = 5"), WRONG);
}

/// What may be put around a number without changing it.
const WRAPPINGS: [(&str, &str); 22] = [
    ("", ""),
    (" ", "\n"),
    ("**", "**"),
    ("_", "_"),
    ("`", "`"),
    ("$", "$"),
    ("$$", "$$"),
    (r"\(", r"\)"),
    (r"\[ ", r" \]"),
    ("{", "}"),
    (r"\text{", "}"),
    (r"\mathbf{ ", " }"),
    (r"\boxed{", "}"),
    (r"\displaystyle ", ""),
    (r"\,", r"\,"),
    (r"\quad ", r"\ "),
    ("", r"\!"),
    ("", "~"),
    ("$", ""),
    (r"\$", ""),
    ("", " €"),
    ("\u{2009}", "\u{a0}"),
];

/// `digits` in groups of three.
fn grouped(digits: &str, separator: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push_str(separator);
        }
        text.push(digit);
    }
    text
}

/// The spellings of `whole`, a point and `decimals`, with a sign.
fn spellings(negative: bool, whole: u32, decimals: &str) -> Vec<String> {
    let digits = whole.to_string();
    let point = if decimals.is_empty() { String::new() } else { format!(".{decimals}") };
    let plain = format!("{digits}{point}");
    let mut magnitudes = vec![
        format!("0{plain}"),
        format!(r"\frac{{{plain}}}{{1}}"),
        format!("{plain}/1"),
        format!("{plain}e0"),
        format!(r"{plain} \times 10^{{0}}"),
        format!("{digits}.{decimals}00"),
    ];
    for separator in ["", ",", "{,}", r",\!", r"\,", "\u{2009}", "\u{202f}"] {
        magnitudes.push(grouped(&digits, separator) + &point);
    }
    let signs: &[&str] = if negative { &["-", "−"] } else { &["", "+"] };
    signs.iter().flat_map(|sign| magnitudes.iter().map(move |m| format!("{sign}{m}"))).collect()
}

fn wrapped(mut text: String, around: &[(&str, &str)], stop: bool) -> String {
    for (before, after) in around {
        text = format!("{before}{text}{after}");
    }
    if stop { text + "." } else { text }
}

fn wrappings() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    prop::collection::vec(select(&WRAPPINGS[..]), 0..4)
}

proptest! {
    #[test]
    fn no_spelling_of_a_right_answer_is_wrong_nor_of_a_wrong_one_right(
        negative in prop::bool::ANY, whole in prop_oneof![0_u32..100, any::<u32>()],
        decimals in "|[0-9]{1,3}", other in prop_oneof![0_u32..100, any::<u32>()],
        which in any::<prop::sample::Index>(), around in wrappings(), stop in prop::bool::ANY,
        of_reference in wrappings(),
    ) {
        let spellings = spellings(negative, whole, &decimals);
        let answer = wrapped(spellings[which.index(spellings.len())].clone(), &around, stop);
        let sign = if negative { "-" } else { "" };
        let point = if decimals.is_empty() { "" } else { "." };
        let of = |whole: u32| format!("{sign}{whole}{point}{decimals}");
        let reference = wrapped(of(whole), &of_reference, false);
        let exact = numeric(Extraction::Whole, 0.0, 0.0);
        prop_assert_eq!(score(&exact, &answer, &reference), RIGHT, "{} {}", answer, reference);
        if other != whole {
            prop_assert_eq!(score(&exact, &answer, &of(other)), WRONG, "{} {}", answer, other);
        }
        // A digit more, a digit further up, a hundredth.
        let plain = of(whole);
        let value = |text: &str| parse_number(text, PercentReading::Hundredth).expect("a number");
        for wrong in [format!("{plain}{}1", if point.is_empty() { ".0" } else { "" }),
            format!("{plain}e1"), format!("{plain}%")]
        {
            if value(&wrong) != value(&plain) {
                prop_assert_eq!(score(&exact, &answer, &wrong), WRONG, "{} {}", answer, wrong);
                prop_assert_eq!(score(&exact, &wrong, &reference), WRONG, "{} {}", wrong, plain);
            }
        }
        // The same behind a marker, in tags and in a box.
        let line = answer.replace('\n', " ");
        for (text, extraction) in [
            (format!("thus\n#### {line}\n"), Extraction::LastMarker("####".into())),
            (format!("<answer>{answer}</answer> bye"), Extraction::LastTag("answer".into())),
            (format!(r"so \boxed {{{answer}}}, bye"), Extraction::LastBoxed),
        ] {
            let reward = numeric(extraction, 0.0, 0.0);
            prop_assert_eq!(score(&reward, &text, &reference), RIGHT, "{}", text);
        }
    }

    /// Fractions keep their value in every spelling.
    #[test]
    fn fractions_keep_their_value(
        n in 0_u32..1000, d in 1_u32..1000, other in 0_u32..1000, around in wrappings(),
    ) {
        let exact = numeric(Extraction::Whole, 0.0, 0.0);
        let mut forms = vec![
            format!("{n}/{d}"),
            format!("{n} / {d}"),
            format!(r"\frac{{{n}}}{{{d}}}"),
            format!(r"\dfrac {{ {n} }} {{\text{{{d}}}}}"),
        ];
        if n > d && n % d > 0 {
            forms.push(format!(r"{}\frac{{{}}}{{{d}}}", n / d, n % d));
        }
        if n < 10 && d < 10 {
            forms.push(format!(r"\tfrac{n}{d}"));
        }
        for form in forms {
            let answer = wrapped(form, &around, false);
            prop_assert_eq!(score(&exact, &answer, &format!("{n}/{d}")), RIGHT, "{}", answer);
            let wrong = format!("{other}/{d}");
            let expected = if other == n { RIGHT } else { WRONG };
            prop_assert_eq!(score(&exact, &answer, &wrong), expected, "{} {}", answer, wrong);
        }
    }

    /// Texts of the pieces the grammars are made of: nothing panics, and what is read is finite.
    #[test]
    fn any_text_is_read_or_refused(text in any_text()) {
        for percent in [PercentReading::Hundredth, PercentReading::Ignored] {
            let read = parse_number(&text, percent);
            prop_assert!(read.is_none_or(f64::is_finite), "{} {:?}", text, read);
        }
        for extraction in [Extraction::LastBoxed, Extraction::LastTag("answer".into())] {
            let reward = numeric(extraction, 0.0, 0.0);
            prop_assert!(matches!(score(&reward, &text, "5"), Score::Scored(_)));
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    const PIECES: [&str; 40] = [
        "1",
        "0",
        "25",
        "000",
        ".",
        ",",
        "{,}",
        "{",
        "}",
        "\\",
        "$",
        "%",
        "\\%",
        "\\$",
        "\\,",
        "\\!",
        "\\ ",
        "~",
        " ",
        "\n",
        "-",
        "−",
        "+",
        "/",
        "e",
        "\\frac",
        "\\text{",
        "\\boxed",
        "\\times",
        "10^",
        "^",
        "⁻",
        "⁴",
        "×",
        "*",
        "_",
        "°",
        "é",
        "<answer>",
        "</answer>",
    ];
    prop_oneof![
        ".{0,40}",
        prop::collection::vec(select(&PIECES[..]), 0..24).prop_map(|p| p.concat())
    ]
}
