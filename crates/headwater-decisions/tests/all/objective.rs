//! Objectives: golden values, slopes by finite differences, minima.

use headwater_decisions::Objective;
use headwater_evaluation::decision::{ClassWeights, logit};
use proptest::prelude::*;

#[test]
fn values_by_hand() {
    let at = |objective: Objective, p: f64, positive: bool| {
        objective.value_and_slope(logit(p).unwrap(), positive).0
    };
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
    let weights = ClassWeights::new(0.2, 1.8).unwrap();
    close(at(Objective::Weighted(weights), 0.25, true), 1.8 * 4f64.ln());
    close(at(Objective::Weighted(weights), 0.25, false), 0.2 * (4.0f64 / 3.0).ln());
    // The logit less ln 9: odds 1 become odds 1/9.
    close(at(Objective::LogitAdjusted(weights), 0.5, true), 10f64.ln());
    let focal = Objective::Focal { focusing: 2.0, share: 0.25 };
    close(at(focal, 0.9, true), 0.25 * 0.01 * (10.0f64 / 9.0).ln());
    close(at(focal, 0.9, false), 0.75 * 0.81 * 10f64.ln());
}

fn objectives() -> impl Strategy<Value = Objective> {
    let weights = || {
        (0.1..4.0f64, 0.1..4.0f64)
            .prop_map(|(n, p)| ClassWeights::new(n, p).expect("positive weights"))
    };
    prop_oneof![
        weights().prop_map(Objective::Weighted),
        weights().prop_map(Objective::LogitAdjusted),
        (0.0..4.0f64, 0.05..0.95f64)
            .prop_map(|(focusing, share)| Objective::Focal { focusing, share }),
    ]
}

proptest! {
    #[test]
    fn slopes_are_those_of_differences(
        objective in objectives(), z in -8.0..8.0f64, positive: bool,
    ) {
        let value = |z: f64| objective.value_and_slope(z, positive).0;
        let numeric = (value(z + 1e-5) - value(z - 1e-5)) / 2e-5;
        let slope = objective.value_and_slope(z, positive).1;
        prop_assert!((slope - numeric).abs() < 1e-7 * (1.0 + slope.abs()), "{slope} {numeric}");
        let far = [-500.0, 500.0].map(|z| objective.value_and_slope(z, positive));
        prop_assert!(far.iter().all(|(value, slope)| value.is_finite() && slope.is_finite()));
    }

    #[test]
    fn weighted_and_logit_adjusted_losses_are_lowest_at_the_same_logit(
        n in 0.1..4.0f64, p in 0.1..4.0f64, q in 0.02..0.98f64,
    ) {
        let weights = ClassWeights::new(n, p).unwrap();
        let best = logit(q).unwrap() + weights.shift();
        for objective in [Objective::Weighted(weights), Objective::LogitAdjusted(weights)] {
            let slope = |z: f64| {
                let [right, wrong] = [true, false].map(|y| objective.value_and_slope(z, y).1);
                q * right + (1.0 - q) * wrong
            };
            prop_assert!((objective.best_constant(q) - best).abs() < 1e-9);
            prop_assert!(slope(best).abs() < 1e-10);
            prop_assert!(slope(best + 0.1) > 0.0 && slope(best - 0.1) < 0.0);
        }
    }

    #[test]
    fn focal_loss_without_focus_is_half_the_log_loss(z in -8.0..8.0f64, positive: bool) {
        let focal = Objective::Focal { focusing: 0.0, share: 0.5 }.value_and_slope(z, positive);
        let plain = Objective::plain().value_and_slope(z, positive);
        prop_assert!((2.0 * focal.0 - plain.0).abs() < 1e-12);
        prop_assert!((2.0 * focal.1 - plain.1).abs() < 1e-12);
    }
}
