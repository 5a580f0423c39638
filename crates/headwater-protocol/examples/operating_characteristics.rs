//! How often the rule for a claim is right and wrong, by simulation: prints the tables of
//! `docs/protocol.md`, "Operating characteristics".
//!
//! `cargo run -p headwater-protocol --example operating_characteristics`

use std::io::Write;

use headwater_core::{StreamRng, Streams};
use headwater_protocol::rule::{
    ClaimDesign, ClaimEvidence, ClaimVerdict, DesignPart, DesignedEffect, Evidence,
    NegativeControl, PositiveControl, Primary, judge_claim,
};
use headwater_protocol::{Direction, ProtocolError};
use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal, StudentT};

/// Seeds that are tabulated.
const SEEDS: [usize; 5] = [5, 8, 16, 24, 40];

/// Claims simulated per entry of a printed table: binomial error 0.3% at 5%, 0.5% at 90%.
const REPETITIONS: u64 = 4000;

/// What differs between a claim's primaries.
#[derive(Clone, Copy)]
struct Contrast {
    direction: Direction,
    /// True effect in units of d.
    effect: f64,
}

/// How the values of a primary scatter between seeds, with deviation 1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Normal,
    /// Exponential: skewness 2.
    Skewed,
    /// Student's t with 3 degrees of freedom: heavy tails.
    Heavy,
    /// Shares of seeds solved, both arms with this probability: censored outcomes. Has no noise of
    /// another size, and no effect.
    Shares(f64),
}

/// A truth: effects, and the noise that hides them. Margins, d and the distance between positive
/// controls and their floor are 1.
#[derive(Clone)]
struct Truth {
    primaries: Vec<Contrast>,
    shape: Shape,
    /// Deviation between seeds of the primaries.
    noise: f64,
    /// Deviation between seeds of the controls.
    control_noise: f64,
    /// Correlation of all parts over seeds, as from an arm that they share.
    correlation: f64,
    /// True value of the negative control; 1 is its margin.
    negative: f64,
    /// True value of the positive control above its floor.
    positive: f64,
}

impl Truth {
    /// `count` primaries that claim an increase, all of this effect; noise as in the records that
    /// there are (`docs/protocol.md`).
    fn increase(count: usize, effect: f64) -> Self {
        Self {
            primaries: vec![Contrast { direction: Direction::Increase, effect }; count],
            shape: Shape::Normal,
            noise: 0.8,
            control_noise: 0.5,
            correlation: 0.0,
            negative: 0.0,
            positive: 1.0,
        }
    }

    /// Whether the claim holds in truth, and so may be supported: every effect is on the claimed
    /// side of 0, or inside d, and nothing else is its cause.
    fn may_be_supported(&self) -> bool {
        let holds = |c: &Contrast| match c.direction {
            Direction::Increase => c.effect > 0.0,
            Direction::Decrease => c.effect < 0.0,
            Direction::NotBelow => c.effect > -1.0,
            Direction::Unchanged => c.effect.abs() < 1.0,
        };
        self.primaries.iter().all(holds) && self.negative.abs() < 1.0 && self.positive > 0.0
    }

    /// Whether a primary contradicts the claim in truth.
    fn may_be_contradicted(&self) -> bool {
        self.primaries.iter().any(|c| match c.direction {
            Direction::Increase => c.effect < 0.0,
            Direction::Decrease => c.effect > 0.0,
            Direction::NotBelow => c.effect < -1.0,
            Direction::Unchanged => c.effect.abs() > 1.0,
        })
    }

    fn draw(&self, n: usize, rng: &mut StreamRng) -> ClaimEvidence {
        let common: Vec<f64> = (0..n).map(|_| StandardNormal.sample(rng)).collect();
        let (shared, own) = (self.correlation.sqrt(), (1.0 - self.correlation).sqrt());
        let mut values = |shape: Shape, mean: f64, noise: f64| {
            if let Shape::Shares(solved) = shape {
                return shares(n, solved, rng);
            }
            let one = |common: &f64| mean + noise * (shared * common + own * deviate(shape, rng));
            Evidence::PerSeed(common.iter().map(one).collect())
        };
        let primary = |contrast: &Contrast| Primary {
            name: "primary".to_owned(),
            evidence: values(self.shape, contrast.effect, self.noise),
            direction: contrast.direction,
            smallest_effect: match self.shape {
                Shape::Shares(_) => SMALL_SHARE,
                _ => 1.0,
            },
            room: None,
        };
        let primaries = self.primaries.iter().map(primary).collect();
        let evidence = values(Shape::Normal, self.negative, self.control_noise);
        let negative = NegativeControl { name: "negative".to_owned(), evidence, margin: 1.0 };
        let evidence = values(Shape::Normal, self.positive, self.control_noise);
        let positive = PositiveControl { name: "positive".to_owned(), evidence, floor: 0.0 };
        ClaimEvidence {
            seeds: n,
            primaries,
            negative_controls: vec![negative],
            positive_controls: vec![positive],
        }
    }

    /// Rates of the verdicts over `repetitions` claims of n seeds.
    fn rates(&self, n: usize, repetitions: u64) -> Result<Rates, ProtocolError> {
        let streams = Streams::new(21);
        let mut counts = [0u64; VERDICTS.len()];
        for repetition in 0..repetitions {
            let mut rng = streams.stream("operating characteristics", &[n as u64, repetition]);
            let judged = judge_claim(&self.draw(n, &mut rng))?;
            let at = VERDICTS.iter().position(|&verdict| verdict == judged.verdict);
            counts[at.expect("all verdicts are listed")] += 1;
        }
        let shares = counts.map(|count| count as f64 / repetitions as f64);
        let rate = |verdict: ClaimVerdict| {
            VERDICTS
                .iter()
                .zip(shares)
                .map(|(&v, share)| if v == verdict { share } else { 0.0 })
                .sum()
        };
        let supported = rate(ClaimVerdict::Supported);
        let contradicted = rate(ClaimVerdict::Contradicted);
        Ok(Rates {
            supported,
            contradicted,
            too_small: rate(ClaimVerdict::TooSmall),
            undecided: rate(ClaimVerdict::Undecided),
            invalid: rate(ClaimVerdict::Invalid),
            not_testable: rate(ClaimVerdict::NotTestable),
            wrong_supported: if self.may_be_supported() { 0.0 } else { supported },
            wrong_contradicted: if self.may_be_contradicted() { 0.0 } else { contradicted },
        })
    }

    /// The design whose truth this is: every increase exactly d, controls as they are.
    fn design(&self) -> ClaimDesign {
        let part = |effect, deviation| DesignPart { effect, deviation, overlap: 0.0 };
        let primary = |contrast: &Contrast| match contrast.direction {
            Direction::Increase | Direction::Decrease => DesignedEffect::Directed(1.0),
            Direction::NotBelow => DesignedEffect::NotBelow(1.0),
            Direction::Unchanged => DesignedEffect::Unchanged(1.0),
        };
        let mut parts: Vec<DesignPart> =
            self.primaries.iter().map(|c| part(primary(c), self.noise)).collect();
        parts.push(part(DesignedEffect::Unchanged(1.0), self.control_noise));
        parts.push(part(DesignedEffect::AboveFloor(self.positive), self.control_noise));
        ClaimDesign { parts }
    }
}

/// A draw of mean 0 and deviation 1.
fn deviate(shape: Shape, rng: &mut StreamRng) -> f64 {
    match shape {
        Shape::Skewed => {
            let draw: f64 = Exp1.sample(rng);
            draw - 1.0
        }
        Shape::Heavy => {
            let heavy = StudentT::new(3.0).expect("3 is above 0");
            heavy.sample(rng) / 3f64.sqrt()
        }
        Shape::Normal | Shape::Shares(_) => StandardNormal.sample(rng),
    }
}

/// Seeds solved under both arms with probability `solved`, independently.
fn shares(n: usize, solved: f64, rng: &mut StreamRng) -> Evidence {
    let mut arm = || (0..n).map(|_| (rng.random::<f64>() < solved).then_some(1.0)).collect();
    Evidence::SolvedDifference { treated: arm(), reference: arm(), budget: 1.0 }
}

const VERDICTS: [ClaimVerdict; 6] = [
    ClaimVerdict::Supported,
    ClaimVerdict::Contradicted,
    ClaimVerdict::TooSmall,
    ClaimVerdict::Undecided,
    ClaimVerdict::Invalid,
    ClaimVerdict::NotTestable,
];

/// Shares of simulated claims.
#[derive(Clone, Copy, Debug)]
struct Rates {
    supported: f64,
    contradicted: f64,
    too_small: f64,
    undecided: f64,
    invalid: f64,
    not_testable: f64,
    /// Supported though the claim does not hold.
    wrong_supported: f64,
    /// Contradicted though no primary contradicts it.
    wrong_contradicted: f64,
}

impl Rates {
    fn wrong(&self) -> f64 {
        self.wrong_supported + self.wrong_contradicted
    }
}

/// Truths at which a wrong verdict is likeliest, with a name.
fn least_favourable() -> Vec<(&'static str, Truth)> {
    let one = |direction, effect| Contrast { direction, effect };
    let of = |primaries: Vec<Contrast>| Truth { primaries, ..Truth::increase(1, 0.0) };
    let (increase, decrease) = (Direction::Increase, Direction::Decrease);
    let true_claim = Truth::increase(1, 2.0);
    vec![
        ("one of two effects is 0, the other 2d", of(vec![one(increase, 0.0), one(increase, 2.0)])),
        (
            "one of three effects is 0, the others 2d",
            of(vec![one(increase, 0.0), one(increase, 2.0), one(decrease, -2.0)]),
        ),
        ("*not below*, truth at −d", of(vec![one(Direction::NotBelow, -1.0)])),
        ("*unchanged*, truth at d", of(vec![one(Direction::Unchanged, 1.0)])),
        (
            "effect 2d, negative control at its margin",
            Truth { negative: 1.0, ..true_claim.clone() },
        ),
        (
            "effect 2d, negative control at twice its margin",
            Truth { negative: 2.0, ..true_claim.clone() },
        ),
        ("effect 2d, positive control at its floor", Truth { positive: 0.0, ..true_claim }),
        ("effect 0, σ = 4 d", of_shape(Shape::Normal)),
        ("effect 0, σ = 4 d, heavy tails (t, 3 degrees of freedom)", of_shape(Shape::Heavy)),
        ("shares solved, both 10%, d = 0.05", of_shape(Shape::Shares(0.1))),
        ("shares solved, both 50%, d = 0.05", of_shape(Shape::Shares(0.5))),
    ]
}

/// No effect, and noise so large that it is hardly ever found to be too small.
fn of_shape(shape: Shape) -> Truth {
    Truth { shape, noise: 4.0, ..Truth::increase(1, 0.0) }
}

/// d of shares.
const SMALL_SHARE: f64 = 0.05;

/// Where the t interval does not keep its level: noise of skewness 2.
fn skewed() -> (&'static str, Truth) {
    ("**effect 0, σ = 4 d, skewed (exponential)**", of_shape(Shape::Skewed))
}

fn percent(rate: f64) -> String {
    if (0.0005..0.0995).contains(&rate) {
        format!("{:.1}", 100.0 * rate)
    } else {
        format!("{:.0}", 100.0 * rate)
    }
}

const EFFECTS: [(&str, f64); 4] = [("0", 0.0), ("d/2", 0.5), ("d", 1.0), ("2d", 2.0)];

fn print(out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let ns = SEEDS.map(|n| format!(" n = {n} |")).concat();
    writeln!(out, "| primaries | every effect |{ns} contradicted | invalid | wrong |")?;
    writeln!(out, "|---|---|{}---|---|---|", "---|".repeat(SEEDS.len()))?;
    for count in 1..=3 {
        for (name, effect) in EFFECTS {
            let truth = Truth::increase(count, effect);
            let mut row = format!("| {count} | {name} |");
            let mut most = [0.0f64; 3];
            for n in SEEDS {
                let rates = truth.rates(n, REPETITIONS)?;
                let cell = [rates.supported, rates.too_small, rates.undecided].map(percent);
                row += &format!(" {} |", cell.join(" / "));
                let of = [rates.contradicted, rates.invalid + rates.not_testable, rates.wrong()];
                most.iter_mut().zip(of).for_each(|(most, rate)| *most = most.max(rate));
            }
            writeln!(out, "{row} {} |", most.map(percent).join(" | "))?;
        }
    }

    writeln!(out, "\n| truth |{ns}")?;
    writeln!(out, "|---|{}", "---|".repeat(SEEDS.len()))?;
    for (name, truth) in least_favourable().into_iter().chain([skewed()]) {
        let mut row = format!("| {name} |");
        for n in SEEDS {
            row += &format!(" {} |", percent(truth.rates(n, REPETITIONS)?.wrong()));
        }
        writeln!(out, "{row}")?;
    }
    writeln!(
        out,
        "\n| σ/d | controls' σ/margin | primaries | n | supported | too small | undecided |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for (noise, control_noise) in DESIGNS {
        for count in 1..=3 {
            let truth = Truth { noise, control_noise, ..Truth::increase(count, 1.0) };
            let n = truth.design().seeds(0.9)?;
            let rates = truth.rates(n, REPETITIONS)?;
            let [supported, too_small, undecided] =
                [rates.supported, rates.too_small, rates.undecided].map(percent);
            writeln!(
                out,
                "| {noise} | {control_noise} | {count} | {n} | {supported} | {too_small} | \
                 {undecided} |"
            )?;
        }
    }
    Ok(())
}

/// Noise of primaries and controls at which designs are checked.
const DESIGNS: [(f64, f64); 4] = [(0.4, 0.3), (0.8, 0.5), (0.8, 0.8), (1.6, 0.8)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    print(&mut std::io::stdout().lock())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIALS: u64 = 2000;

    /// `rate` and three binomial standard errors: several truths lie exactly on the bounds below,
    /// and 2000 claims may show that much more, 1.0% at 2.5% and 2.0% at 90%.
    fn allowing_for_chance(rate: f64) -> f64 {
        rate + 3.0 * (rate * (1.0 - rate) / TRIALS as f64).sqrt()
    }

    /// One side of a 95% interval each: 2.5% supported, 2.5% contradicted, so 5% either way.
    fn assert_rarely_wrong(name: &str, truth: &Truth, n: usize) {
        let rates = truth.rates(n, TRIALS).unwrap();
        let side = allowing_for_chance(0.025);
        assert!(rates.wrong_supported <= side, "{name}, n = {n}: {rates:?}");
        assert!(rates.wrong_contradicted <= side, "{name}, n = {n}: {rates:?}");
        assert!(rates.wrong() <= allowing_for_chance(0.05), "{name}, n = {n}: {rates:?}");
        if truth.primaries.iter().all(|c| c.effect.abs() >= 1.0) {
            assert!(rates.too_small <= side, "{name}, n = {n}: {rates:?}");
        }
    }

    #[test]
    fn no_truth_gets_a_wrong_verdict_in_more_than_one_of_twenty() {
        for n in [5, 16, 40] {
            for count in 1..=3 {
                for (name, effect) in EFFECTS {
                    for correlation in [0.0, 0.8] {
                        let truth = Truth { correlation, ..Truth::increase(count, effect) };
                        assert_rarely_wrong(name, &truth, n);
                    }
                }
            }
            for (name, truth) in least_favourable() {
                assert_rarely_wrong(name, &truth, n);
            }
        }
    }

    #[test]
    fn an_effect_of_d_is_supported_in_nine_of_ten_at_the_designed_seeds() {
        // The complement of 90% has the same binomial error.
        let least = 1.0 - allowing_for_chance(0.1);
        for (noise, control_noise) in DESIGNS {
            for count in 1..=3 {
                for correlation in [0.0, 0.8] {
                    let truth =
                        Truth { noise, control_noise, correlation, ..Truth::increase(count, 1.0) };
                    let n = truth.design().seeds(0.9).unwrap();
                    let rates = truth.rates(n, TRIALS).unwrap();
                    assert!(rates.supported >= least, "{noise}, {count}, n = {n}: {rates:?}");
                }
            }
        }
        // With the other directions, whose design is no effect.
        for direction in [Direction::NotBelow, Direction::Unchanged] {
            let mut truth = Truth::increase(1, 1.0);
            truth.primaries.push(Contrast { direction, effect: 0.0 });
            let n = truth.design().seeds(0.9).unwrap();
            let rates = truth.rates(n, TRIALS).unwrap();
            assert!(rates.supported >= least, "{direction:?}, n = {n}: {rates:?}");
        }
    }

    #[test]
    fn the_designed_seeds_are_not_far_too_many() {
        // The bound adds up what the parts lose; a fifth fewer seeds are too few.
        for (noise, control_noise) in [(0.8, 0.8), (1.6, 0.8)] {
            let truth = Truth { noise, control_noise, ..Truth::increase(2, 1.0) };
            let n = truth.design().seeds(0.9).unwrap() * 8 / 10;
            let rates = truth.rates(n, TRIALS).unwrap();
            assert!(rates.supported < 0.9, "{noise}, n = {n}: {rates:?}");
        }
    }

    #[test]
    fn controls_that_fail_are_seen() {
        let broken = Truth { negative: 2.0, ..Truth::increase(1, 2.0) };
        let rates = broken.rates(16, TRIALS).unwrap();
        assert!(rates.invalid > 0.99 && rates.supported == 0.0, "{rates:?}");
        let not_learnt = Truth { positive: -1.0, ..Truth::increase(1, 2.0) };
        let rates = not_learnt.rates(16, TRIALS).unwrap();
        assert!(rates.not_testable > 0.99 && rates.supported == 0.0, "{rates:?}");
    }
}
