//! How often the rules err: where there is nothing, and where everything is exactly as claimed.

use super::*;
use headwater_core::Streams;
use rand_distr::{Distribution, StandardNormal};

/// What came out of 4000 findings of five seeds with normal noise of deviation 1.
struct Rates {
    reproduced: f64,
    not_reproduced: f64,
    invalid: f64,
    any_holds: f64,
}

const NONE: Scalar = Scalar::new("none");

/// Findings with `count` increase contrasts, d = 1, whose true effects are all `truth`, and a
/// control whose noise is small against its margin.
fn rates(count: usize, truth: f64) -> Rates {
    // Without an effect, a smallest effect of 0 is the severest test: the size of the estimate is
    // no hurdle.
    let smallest_effect = truth;
    let metric = |at: usize| Scalar::from(at.to_string());
    let contrasts: Vec<Contrast> = (0..count)
        .map(|at| Contrast::increase("c", metric(at).of("arm"), smallest_effect))
        .collect();
    let control = Control::new("none", NONE.of("arm"), 1.0);
    let streams = Streams::new(5);
    let (trials, scope) = (4000, first(5));
    let mut counts = [0u32; 4];
    for trial in 0..trials {
        let mut rng = streams.stream("noise", &[trial]);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let cells = (0..5).map(|seed| {
            let mut metrics = Metrics::new().scalar(&NONE, 0.1 * normal());
            for at in 0..count {
                metrics = metrics.scalar(&metric(at), truth + normal());
            }
            (Arm::new("arm"), seed, metrics)
        });
        let all: Vec<&Contrast> = contrasts.iter().collect();
        let judged = judge(&all, &[&control], &Records::new(cells), scope);
        let seen = [
            judged.verdict == Verdict::Reproduced,
            judged.verdict == Verdict::NotReproduced,
            judged.verdict == Verdict::Invalid,
            judged.contrasts.iter().any(|c| c.holds),
        ];
        counts.iter_mut().zip(seen).for_each(|(count, seen)| *count += u32::from(seen));
    }
    let [reproduced, not_reproduced, invalid, any_holds] =
        counts.map(|count| f64::from(count) / trials as f64);
    Rates { reproduced, not_reproduced, invalid, any_holds }
}

// The expected rate is one side of a two-sided 5% test, 2.5%, kept there by Holm's adjustment
// whatever the number of contrasts. The bounds are three binomial standard errors, 3 * 0.0025.

#[test]
fn nothing_is_rarely_taken_for_something() {
    for (count, most_reproduced) in [(2, 0.005), (7, 0.001)] {
        let found = rates(count, 0.0);
        assert!((0.0175..0.0325).contains(&found.any_holds), "{count}: {}", found.any_holds);
        assert!(found.reproduced < most_reproduced, "{count}: {}", found.reproduced);
        assert!(found.invalid < 0.005, "{count}: {}", found.invalid);
    }
}

#[test]
fn a_claim_that_is_exactly_true_is_rarely_refuted() {
    for count in [1, 2, 7] {
        let found = rates(count, 1.0);
        let rate = found.not_reproduced;
        assert!((0.0175..0.0325).contains(&rate), "{count}: {rate}");
    }
}
