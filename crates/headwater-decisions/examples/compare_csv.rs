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
fn read(path: &str, text: impl Read) -> Result<Examples, Box<dyn Error>> {
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(text);
    let header: StringRecord = reader.headers()?.clone();
    let columns = header.len();
    if columns < 2 {
        return Err(format!(
            "{path}, line 1: {columns} columns: allowed is 2 or more, the label last"
        )
        .into());
    }
    let (mut features, mut positive) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != columns {
            let found = record.len();
            return Err(format!("{path}, line {line}: {found} fields: allowed is {columns}").into());
        }
        for (at, field) in record.iter().enumerate() {
            let refuse = |allowed: &str| {
                let (column, name) = (at + 1, &header[at]);
                format!(
                    "{path}, line {line}, column {column} (`{name}`): `{field}`: allowed is {allowed}"
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
    fn the_made_up_rows_have_both_classes() {
        let prevalence = made_up().unwrap().prevalence();
        assert!((0.05..0.2).contains(&prevalence), "{prevalence}");
    }
}
