//! Verifiers: what counts as right, wrong, abstained and failed.

use headwater_core::{Check, Sample, Score};
use headwater_rewards::{
    ArithmeticMatchConfig, CountdownConfig, CountdownPuzzle, ExactMatchConfig, ExpressionLimits,
    Extraction, Normalisation, NumberUse, NumericMatchConfig, PercentReading, Rational, Reward,
    RewardError, evaluate, parse_number,
};
use proptest::prelude::*;

const RIGHT: Score = Score::Scored(1.0);
const WRONG: Score = Score::Scored(0.0);

fn sample<'a>(completion: &'a str, reference: &'a str) -> Sample<'a> {
    Sample { prompt: "", completion, reference: Some(reference) }
}

fn exact(normalisation: Normalisation) -> impl Reward {
    ExactMatchConfig { extraction: Extraction::Whole, normalisation }.check().expect("valid")
}

fn numeric(absolute: f64, relative: f64, percent: PercentReading) -> impl Reward {
    NumericMatchConfig {
        extraction: Extraction::Whole,
        absolute_tolerance: absolute,
        relative_tolerance: relative,
        percent,
    }
    .check()
    .expect("valid")
}

#[test]
fn question_answering_normalisation_repairs_the_known_traps() {
    let reward = exact(Normalisation::QUESTION_ANSWERING);
    for (completion, reference, score) in [
        ("The  Eiffel tower!", "eiffel Tower", RIGHT),
        ("**Paris**", "Paris", RIGHT),
        ("Paris, France", "Paris", WRONG),
        // The original script calls these three right.
        ("-5", "5", WRONG),
        ("3.14", "314", WRONG),
        ("A", "the", WRONG),
        ("A", "A", RIGHT),
        ("(a)", "A", RIGHT),
        ("ÉCOLE", "école", RIGHT),
        ("", "x", WRONG),
    ] {
        assert_eq!(
            reward.score(sample(completion, reference)),
            score,
            "{completion:?} {reference:?}"
        );
    }
    let spaces = exact(Normalisation::SPACES);
    assert_eq!(spaces.score(sample(" a\n b ", "a b")), RIGHT);
    assert_eq!(spaces.score(sample("A b", "a b")), WRONG);
}

#[test]
fn every_verifier_abstains_without_and_fails_on_an_unreadable_reference() {
    let limits = ExpressionLimits::default();
    let extraction = Extraction::Whole;
    let verifiers: [Box<dyn Reward>; 4] = [
        Box::new(exact(Normalisation::QUESTION_ANSWERING)),
        Box::new(numeric(0.0, 0.0, PercentReading::Hundredth)),
        Box::new(ArithmeticMatchConfig { extraction: extraction.clone(), limits }.check().unwrap()),
        Box::new(
            CountdownConfig { extraction, number_use: NumberUse::Exactly, limits }.check().unwrap(),
        ),
    ];
    for verifier in verifiers {
        let missing = Sample { prompt: "", completion: "1", reference: None };
        assert!(matches!(verifier.score(missing), Score::Abstained(_)), "{}", verifier.name());
        // Unreadable for all four: no letters, digits or expression.
        assert!(
            matches!(verifier.score(sample("!", "!")), Score::Failed(_)),
            "{}",
            verifier.name()
        );
    }
}

#[test]
fn numbers_are_read_as_documented() {
    use PercentReading::{Hundredth, Ignored};
    for (text, percent, value) in [
        ("42", Hundredth, Some(42.0)),
        (" $1,234.50. ", Hundredth, Some(1234.5)),
        ("-$5", Hundredth, Some(-5.0)),
        ("−7", Hundredth, Some(-7.0)),
        ("+.5", Hundredth, Some(0.5)),
        ("**3/4**", Hundredth, Some(0.75)),
        ("-1/8", Hundredth, Some(-0.125)),
        ("5%", Hundredth, Some(0.05)),
        ("5%", Ignored, Some(5.0)),
        ("1e-3", Hundredth, Some(0.001)),
        ("1.5E+2", Hundredth, Some(150.0)),
        ("1e999", Hundredth, None),
        ("1e9999999999", Hundredth, None),
        ("1/0", Hundredth, None),
        ("0/0", Hundredth, None),
        ("1,23", Hundredth, None),
        ("1 000", Hundredth, None),
        ("42 43", Hundredth, None),
        ("42 apples", Hundredth, None),
        ("nan", Hundredth, None),
        ("inf", Hundredth, None),
        ("", Hundredth, None),
        ("-", Hundredth, None),
        ("--5", Hundredth, None),
        ("٤٢", Hundredth, None),
    ] {
        assert_eq!(parse_number(text, percent), value, "{text:?}");
    }
}

#[test]
fn tolerances_bound_the_difference_inclusively() {
    let absolute = numeric(0.5, 0.0, PercentReading::Hundredth);
    assert_eq!(absolute.score(sample("10.5", "10")), RIGHT);
    assert_eq!(absolute.score(sample("10.51", "10")), WRONG);
    let relative = numeric(0.0, 0.01, PercentReading::Hundredth);
    assert_eq!(relative.score(sample("0.333", "1/3")), RIGHT);
    assert_eq!(relative.score(sample("-0.333", "1/3")), WRONG);
    assert_eq!(relative.score(sample("102", "100")), WRONG);
    let config = NumericMatchConfig {
        extraction: Extraction::Whole,
        absolute_tolerance: f64::NAN,
        relative_tolerance: 0.0,
        percent: PercentReading::Ignored,
    };
    assert_eq!(config.check().unwrap_err().field, "absolute_tolerance");
}

#[test]
fn arithmetic_is_exact_and_follows_precedence() {
    for (text, value) in [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("8 / 4 / 2", "1"),
        ("8 - 4 - 2", "2"),
        ("2 - -3", "5"),
        ("-2 * -(3 + 1)", "8"),
        ("0.1 + 0.2", "3/10"),
        ("1/3 + 1/6", "1/2"),
        ("6 ÷ 4 × 2 − 1", "2"),
        ("1,000 * 1.50", "1500"),
    ] {
        let found = evaluate(text, ExpressionLimits::default());
        assert_eq!(found.map(|e| e.value.to_string()).as_deref(), Ok(value), "{text}");
    }
}

#[test]
fn arithmetic_errors_say_where_and_which_limit() {
    let limits = ExpressionLimits { bytes: 40, depth: 3, operations: 2 };
    let error = |text: &str| evaluate(text, limits).unwrap_err();
    assert_eq!(error("1 / (2 - 2)"), RewardError::DivisionByZero { position: 3 });
    assert_eq!(error("((((1))))"), RewardError::ExpressionLimit { what: "levels", limit: 3 });
    assert_eq!(error("----1"), RewardError::ExpressionLimit { what: "levels", limit: 3 });
    assert_eq!(error("1+1+1+1"), RewardError::ExpressionLimit { what: "operations", limit: 2 });
    assert_eq!(error(&"1".repeat(41)), RewardError::ExpressionLimit { what: "bytes", limit: 40 });
    assert_eq!(error(&"9".repeat(40)), RewardError::ExpressionOverflow { position: 40 });
    // Side by side is not nested.
    let flat = ExpressionLimits { depth: 1, ..limits };
    assert!(evaluate("(1) + (2) - (3)", flat).is_ok());
    for (text, at) in [("", 0), ("1 +", 3), ("(1", 2), ("1 2", 2), ("2 ** 3", 3), ("__import__", 0)]
    {
        match error(text) {
            RewardError::ExpressionSyntax { position, .. } => assert_eq!(position, at, "{text}"),
            other => panic!("{text}: {other}"),
        }
    }
}

/// A random expression with its value as an unreduced fraction; `None` where it divides by zero.
/// With at most 16 leaves below 20, no numerator comes near the end of 128 bits.
fn expression() -> impl Strategy<Value = (String, Option<(i128, i128)>)> {
    let leaf = (1_i128..20).prop_map(|n| (n.to_string(), Some((n, 1))));
    leaf.prop_recursive(4, 16, 2, |inner| {
        (inner.clone(), prop::sample::select(&["+", "-", "*", "/"][..]), inner).prop_map(
            |((left, x), operator, (right, y))| {
                let value = x.zip(y).and_then(|((a, b), (c, d))| match operator {
                    "+" => Some((a * d + c * b, b * d)),
                    "-" => Some((a * d - c * b, b * d)),
                    "*" => Some((a * c, b * d)),
                    _ => (c != 0).then_some((a * d, b * c)),
                });
                (format!("({left} {operator} {right})"), value)
            },
        )
    })
}

proptest! {
    #[test]
    fn evaluation_agrees_with_unreduced_fractions((text, value) in expression()) {
        match (evaluate(&text, ExpressionLimits::default()), value) {
            (Ok(found), Some((a, b))) => prop_assert_eq!(found.value, Rational::new(a, b)),
            (Err(RewardError::DivisionByZero { .. }), None) => {}
            (found, value) => prop_assert!(false, "{}: {:?}, wanted {:?}", text, found, value),
        }
    }

    #[test]
    fn what_is_printed_is_read_back(value in -1e12_f64..1e12) {
        let read = parse_number(&format!("{value}"), PercentReading::Hundredth);
        prop_assert_eq!(read, Some(value));
    }
}

/// All targets reachable from `values` using every one, by brute force over pairs and operations.
fn reachable(values: &[(f64, String)], out: &mut Vec<(f64, String)>) {
    if let [(value, text)] = values {
        out.push((*value, text.clone()));
        return;
    }
    for i in 0..values.len() {
        for j in 0..values.len() {
            if i == j {
                continue;
            }
            let ((a, s), (b, t)) = (&values[i], &values[j]);
            let rest: Vec<_> = (0..values.len())
                .filter(|k| *k != i && *k != j)
                .map(|k| values[k].clone())
                .collect();
            for (operator, value) in [("+", a + b), ("-", a - b), ("*", a * b), ("/", a / b)] {
                if operator == "/" && *b == 0.0 {
                    continue;
                }
                let mut next = rest.clone();
                next.push((value, format!("({s} {operator} {t})")));
                reachable(&next, out);
            }
        }
    }
}

#[test]
fn countdown_accepts_exactly_the_expressions_that_reach_the_target() {
    let numbers = [3_i64, 5, 7];
    let start: Vec<_> = numbers.iter().map(|n| (*n as f64, n.to_string())).collect();
    let mut all = Vec::new();
    reachable(&start, &mut all);
    let target = 26;
    let puzzle = CountdownPuzzle::new(numbers.to_vec(), target).unwrap();
    let mut solutions = 0;
    for (value, text) in &all {
        let right = (value - target as f64).abs() < 1e-9;
        solutions += usize::from(right);
        let solved =
            puzzle.is_solved_by(text, NumberUse::Exactly, ExpressionLimits::default()).unwrap();
        assert_eq!(solved, right, "{text}");
    }
    // 3 * 7 + 5 in its spellings, among hundreds of others.
    assert!(solutions > 0 && all.len() > 100 * solutions / 10);
}

#[test]
fn countdown_holds_to_the_numbers_given() {
    let limits = ExpressionLimits::default();
    let puzzle = CountdownPuzzle::parse("3 3 7 25 = 46").unwrap();
    let solved =
        |text: &str, number_use| puzzle.is_solved_by(text, number_use, limits).unwrap_or(false);
    assert!(!solved("3 * 7 + 25 * (3 / 3)", NumberUse::AtMost), "a third three");
    assert!(solved("3 * 7 + 25", NumberUse::AtMost));
    assert!(!solved("3 * 7 + 25", NumberUse::Exactly), "one three is left");
    assert!(!solved("46", NumberUse::AtMost));
    assert!(!solved("37 + 3 * 3", NumberUse::AtMost), "digits do not join");
    assert!(!solved("25 + 7 * 3 = 46", NumberUse::AtMost));
    let exactly = CountdownPuzzle::parse("3 3 7 25 = 38").unwrap();
    assert!(exactly.is_solved_by("3 + 3 + 7 + 25", NumberUse::Exactly, limits).unwrap());
    let long = format!("{}= 1", "1 ".repeat(65));
    // A negative number could never be used: an expression's numbers are read without signs.
    for malformed in ["", "3 7", "3 x = 4", "= 4", "3 7 = ", "-3 7 = 4", &long] {
        assert!(CountdownPuzzle::parse(malformed).is_err(), "{malformed:?}");
    }
    assert!(CountdownPuzzle::parse("3 7 = -4").is_ok());
}

#[test]
fn reasons_show_the_start_of_a_long_reference() {
    let limits = ExpressionLimits::default();
    let extraction = Extraction::Whole;
    let long = "é!".repeat(3000);
    let puzzle =
        CountdownConfig { extraction: extraction.clone(), number_use: NumberUse::Exactly, limits };
    let verifiers: [Box<dyn Reward>; 3] = [
        Box::new(numeric(0.0, 0.0, PercentReading::Hundredth)),
        Box::new(ArithmeticMatchConfig { extraction, limits }.check().unwrap()),
        Box::new(puzzle.check().unwrap()),
    ];
    for verifier in verifiers {
        let Score::Failed(reason) = verifier.score(sample("1", &long)) else {
            panic!("{}", verifier.name())
        };
        assert!(reason.contains("é!é!") && reason.contains('…'), "{reason}");
        assert!(reason.chars().count() < 220, "{reason}");
    }
    let marks = "!".repeat(3000);
    let reason = exact(Normalisation::QUESTION_ANSWERING).score(sample("1", &marks));
    assert!(matches!(reason, Score::Failed(r) if r.len() < 120));
    let beyond = CountdownPuzzle::parse("3 99999999999999999999 = 1").unwrap_err().to_string();
    assert!(beyond.contains("from 0 to 2^63 - 1"), "{beyond}");
}

#[test]
fn configs_refuse_unknown_fields() {
    let json = r#"{"extraction": {"last_tag": "answer"}, "number_use": "exactly", "limit": {}}"#;
    assert!(serde_json::from_str::<CountdownConfig>(json).is_err());
    let json = r#"{"extraction": {"last_tag": "answer"}, "number_use": "exactly"}"#;
    let config: CountdownConfig = serde_json::from_str(json).unwrap();
    assert_eq!(config.limits, ExpressionLimits::default());
    let bad =
        CountdownConfig { limits: ExpressionLimits { depth: 257, ..config.limits }, ..config };
    assert_eq!(bad.check().unwrap_err().field, "limits.depth");
}
