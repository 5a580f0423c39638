//! Weighted training against ex-post weighting on a CSV of one's own.
//!
//!     cargo run -p headwater-decisions --example compare_csv -- ROWS.csv POSITIVE_WEIGHT [SEEDS]
//!
//! The first line names the columns, the last column is the label (0 or 1), all others are numbers.
//! POSITIVE_WEIGHT is what a missed positive costs in units of a false alarm. Without arguments it shows itself on rows
//! that it makes up.

#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;
use std::fs::File;
use std::io::Read;

use csv::{ReaderBuilder, StringRecord};
use headwater_core::{Check, Streams};
use headwater_decisions::{Arm, ComparisonConfig, Examples, compare};
use headwater_evaluation::Interval;
use rand::RngExt;

fn main() {
    if let Err(error) = run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        eprintln!("error: {error}");
        std::process::exit(2);
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let (examples, positive_weight) = match arguments {
        [] => (made_up()?, 9.0),
        [path, weight, ..] => {
            let file = File::open(path).map_err(|error| format!("cannot read {path}: {error}"))?;
            let refuse =
                |_| format!("POSITIVE_WEIGHT {weight}: allowed is a finite number above 0");
            (read(path, file)?, weight.parse().map_err(refuse)?)
        }
        _ => return Err("arguments: ROWS.csv POSITIVE_WEIGHT [SEEDS]".into()),
    };
    let seeds = arguments.get(2).map_or(Ok(10), |seeds| seeds.parse());
    let seeds = seeds.map_err(|_| "SEEDS: allowed is a whole number of at least 2")?;
    let config = ComparisonConfig { positive_weight, seeds, ..ComparisonConfig::default() };
    let report = compare(&examples, &config.check()?, &Streams::new(0))?;

    let (rows, percent) = (examples.rows(), 100.0 * examples.prevalence());
    println!(
        "{rows} rows of {} features, {percent:.1}% positive, {seeds} splits",
        examples.width()
    );
    println!("weighted training - ex-post weighting, mean [95% interval over splits]:");
    for (what, interval) in [
        ("weighted log loss", report.loss),
        ("  of it learning", report.learning),
        ("  of it choosing", report.choosing),
        ("cost per decision", report.cost),
        ("AUC", report.auc),
    ] {
        let Interval { estimate, low, high, .. } = interval;
        println!("{what:18} {estimate:+.5} [{low:+.5}, {high:+.5}]");
    }
    let name = |arm| match arm {
        Arm::WeightedTraining => "weighted training",
        Arm::ExPostWeighting => "ex-post weighting",
    };
    println!(
        "E[rho(q)]          {:.2}: the reward to learning under the weights",
        report.incentive
    );
    println!("better:            {}", report.winner.map_or("neither: the interval holds 0", name));
    Ok(())
}

/// Features and labels of a CSV; what is wrong with a field is told with its line and column.
fn read(path: &str, mut text: impl Read) -> Result<Examples, Box<dyn Error>> {
    let mut bytes = Vec::new();
    text.read_to_end(&mut bytes).map_err(|error| format!("cannot read {path}: {error}"))?;
    if let Err(error) = std::str::from_utf8(&bytes) {
        let line = line_after(&bytes[..error.valid_up_to()]);
        return Err(format!("{path}, line {line}: not UTF-8: save it in that encoding").into());
    }
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(bytes.as_slice());
    let header: StringRecord =
        reader.headers().map_err(|error| format!("{path}, line 1: {error}"))?.clone();
    let columns = header.len();
    if columns < 2 {
        return Err(format!(
            "{path}, line 1: {columns} columns: allowed is 2 or more, the label last"
        )
        .into());
    }
    let (mut features, mut positive) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(|error| format!("{path}: {error}"))?;
        // The parser's own number is that of the empty lines it skipped before.
        let start = record.position().map_or(0, |at| at.byte() as usize).min(bytes.len());
        let skipped = bytes[start..].iter().take_while(|byte| b"\r\n".contains(byte)).count();
        let line = line_after(&bytes[..start + skipped]);
        if record.len() != columns {
            let found = record.len();
            return Err(format!("{path}, line {line}: {found} fields: allowed is {columns}").into());
        }
        for (at, field) in record.iter().enumerate() {
            let refuse = |allowed: &str| {
                let (column, name, field) = (at + 1, shown(&header[at]), shown(field));
                format!(
                    "{path}, line {line}, column {column} ({name}): {field}: allowed is {allowed}"
                )
            };
            let field = field.trim();
            if at + 1 == columns {
                positive.push(match field {
                    "0" => false,
                    "1" => true,
                    _ => return Err(refuse("0 or 1").into()),
                });
            } else {
                let value: Option<f32> = field.parse().ok();
                let finite = value.filter(|value| value.is_finite());
                features.push(finite.ok_or_else(|| refuse("a finite number"))?);
            }
        }
    }
    if positive.is_empty() {
        return Err(format!("{path}: no row under the header").into());
    }
    Ok(Examples::new(features, columns - 1, positive)?)
}

/// The line that follows on these bytes.
fn line_after(bytes: &[u8]) -> usize {
    1 + bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// A text in backquotes, a long one cut short.
fn shown(text: &str) -> String {
    match text.char_indices().nth(40) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}...`", &text[..end]),
    }
}

/// 4,000 rows of four features, of which two tell something and 8% are positive.
fn made_up() -> Result<Examples, Box<dyn Error>> {
    let mut rng = Streams::new(0).stream("made-up rows", &[]);
    let features: Vec<f32> = (0..16_000).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect();
    let rows = features.chunks(4);
    let positive =
        rows.map(|x| rng.random::<f32>() < 0.16 * (1.0 + x[0]) * (0.5 + 0.5 * x[1] * x[1]));
    let positive = positive.collect();
    Ok(Examples::new(features, 4, positive)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        read("rows.csv", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_malformed_field_is_named_with_line_and_column() {
        let good = "age,income,label\n30,1.5,0\n40,-2e3,1\n";
        let examples = read("rows.csv", good.as_bytes()).unwrap();
        assert_eq!((examples.rows(), examples.width()), (2, 2));
        assert_eq!(examples.features(), [30.0, 1.5, 40.0, -2000.0]);
        assert_eq!(examples.positive(), [false, true]);
        assert_eq!(
            error(&format!("{good}50,many,0\n")),
            "rows.csv, line 4, column 2 (`income`): `many`: allowed is a finite number"
        );
        assert_eq!(
            error(&format!("{good}50,1,yes\n")),
            "rows.csv, line 4, column 3 (`label`): `yes`: allowed is 0 or 1"
        );
        assert!(error(&format!("{good}50,inf,1\n")).contains("line 4, column 2 (`income`): `inf`"));
        assert_eq!(error(&format!("{good}50,0\n")), "rows.csv, line 4: 2 fields: allowed is 3");
        assert_eq!(error("age,label\n"), "rows.csv: no row under the header");
        assert!(error("label\n1\n").starts_with("rows.csv, line 1: 1 columns"));
    }

    #[test]
    fn lines_are_those_of_an_editor() {
        let bad = "rows.csv, line 5, column 1 (`age`): `x`: allowed is a finite number";
        assert_eq!(error("age,label\n30,0\n\n\nx,1\n"), bad);
        assert_eq!(error("age,label\r\n30,0\r\n\r\n40,1\r\nx,1\r\n"), bad);
        // A field that goes over a line break, and a row of too many fields.
        assert_eq!(error("age,label\n\"30\n\",0\n\nx,1\n"), bad);
        assert!(error("age,label\n\n30,0,0\n").starts_with("rows.csv, line 3: 3 fields"));
        let latin = read("rows.csv", &b"age,label\n\n30,0\n\n\xe9,1\n"[..]).unwrap_err();
        assert!(latin.to_string().starts_with("rows.csv, line 5: not UTF-8"), "{latin}");
    }

    #[test]
    fn a_long_field_is_cut_short() {
        let text = error(&format!("{},label\n{},0\n", "n".repeat(3000), "x".repeat(3000)));
        let (name, field) = ("n".repeat(40), "x".repeat(40));
        assert!(text.contains(&format!("(`{name}...`): `{field}...`: allowed")), "{text}");
    }

    #[test]
    fn the_made_up_rows_have_both_classes() {
        let prevalence = made_up().unwrap().prevalence();
        assert!((0.05..0.2).contains(&prevalence), "{prevalence}");
    }
}
