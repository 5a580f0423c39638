//! What another policy would have earned, from a log of your own.
//!
//!     cargo run -p headwater-recsys --example off_policy -- log.csv [--clip 10] [--switch 10] [--shrink 10]
//!
//! `log.csv` has the columns `reward`, `propensity` (of the logged action under the policy that took it) and `target` (of
//! the same action under the policy in question); for the estimators with a reward model also `model_logged` and
//! `model_target`; optionally `unsupported_mass` and `session`. Others are named and ignored.

#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;
use std::fs::File;

use headwater_core::Streams;
use headwater_evaluation::intervals::Bootstrap;
use headwater_recsys::off_policy::{LoggedBandit, OffPolicyEstimator, read_bandit};

fn main() {
    if let Err(error) = run(std::env::args().skip(1)) {
        eprintln!("error: {error}");
        std::process::exit(2);
    }
}

struct Arguments {
    path: String,
    clip: f64,
    switch: f64,
    shrink: f64,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments { path: String::new(), clip: 10.0, switch: 10.0, shrink: 10.0 };
    while let Some(argument) = given.next() {
        let slot = match argument.as_str() {
            "--clip" => &mut arguments.clip,
            "--switch" => &mut arguments.switch,
            "--shrink" => &mut arguments.shrink,
            other if other.starts_with('-') => return Err(format!("unknown option {other}").into()),
            path => {
                arguments.path = path.to_owned();
                continue;
            }
        };
        let value = given.next().ok_or(format!("{argument} needs a value"))?;
        *slot = value.parse().map_err(|_| format!("{argument} {value}: allowed is a number"))?;
    }
    if arguments.path.is_empty() {
        return Err("give a file of logged decisions".into());
    }
    Ok(arguments)
}

fn run(given: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let Arguments { path, clip, switch, shrink } = arguments(given)?;
    let file = File::open(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let table = read_bandit(file, &path)?;
    if !table.ignored.is_empty() {
        println!("ignored columns: {}", table.ignored.join(", "));
    }
    let has_model = table.columns.model.is_some();
    let log = LoggedBandit::new(table.columns)?;

    let overlap = log.overlap()?;
    let weight = overlap.mean_weight;
    println!(
        "{} decisions, worth {:.0} of the target's; it shares {:.1}% of them",
        overlap.rows,
        overlap.effective_sample_size,
        100.0 * overlap.shared
    );
    println!(
        "weights: mean {:.3} [{:.3}, {:.3}], 99% at most {:.2}, largest {:.2}",
        weight.estimate, weight.low, weight.high, overlap.weight_99, overlap.largest_weight
    );
    if !weight.contains(1.0) {
        println!("the mean weight is not 1: actions that are never logged, or wrong propensities");
    }
    if let Some(mass) = overlap.unsupported_mass {
        println!("mass of the target on actions that are never logged: {mass:.3}");
    }

    let estimators = [
        OffPolicyEstimator::Ips,
        OffPolicyEstimator::ClippedIps { most: clip },
        OffPolicyEstimator::Snips,
        OffPolicyEstimator::Dm,
        OffPolicyEstimator::Dr,
        OffPolicyEstimator::Sndr,
        OffPolicyEstimator::SwitchDr { most: switch },
        OffPolicyEstimator::DrOs { lambda: shrink },
    ];
    let bootstrap = Bootstrap::default();
    let streams = Streams::new(1);
    for estimator in estimators.iter().filter(|estimator| has_model || !estimator.needs_model()) {
        let mut rng = streams.stream("bootstrap", &[]);
        let name = estimator.name();
        // One estimator without a value is no reason to keep the others from the user.
        match estimator.estimate(&log, &bootstrap, &mut rng) {
            Ok(i) => {
                println!("{name:>12}: {:.5} [{:.5}, {:.5}], n = {}", i.estimate, i.low, i.high, i.n)
            }
            Err(error) => println!("{name:>12}: {error}"),
        }
    }
    Ok(())
}
