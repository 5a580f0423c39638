//! Contrasts and controls of the finding.

use headwater_protocol::{Contrast, Control, Direction, ProtocolError, Registered, SeedRecords};

use super::dilution::LENGTHS;
use super::with_omega;

/// What is claimed.
pub(super) fn contrasts() -> Vec<Contrast> {
    let new = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
    };
    vec![
        new("Q at equal used groups: gate - R3 + rubric", Direction::Increase, 0.05, |seed| {
            at_used_groups_of_gate(seed, "quality", "additive-1")
        }),
        new("judge: R3 + rubric, end - start", Direction::Increase, 0.2, |seed| {
            let judge = seed.series("additive-1", "look/judge")?;
            Ok(seed.scalar("additive-1", "judge")? - judge[0])
        }),
        new("Q: R3 + rubric, end - peak", Direction::Decrease, 0.05, |seed| {
            after_peak(seed, "additive-1")
        }),
        new("Q: R3 alone, end - peak", Direction::Decrease, 0.05, |seed| after_peak(seed, "r3")),
        new("Q: gate, end / peak - 1", Direction::NotBelow, 0.1, |seed| {
            let peak = seed.scalar("gate", "quality at its peak")?;
            if peak <= 0.0 {
                return Err(ProtocolError::Undefined(format!("a ratio to a peak of {peak}")));
            }
            Ok(after_peak(seed, "gate")? / peak)
        }),
        new("Q at equal used groups: gate - R3 alone", Direction::Increase, 0.05, |seed| {
            at_used_groups_of_gate(seed, "quality", "r3")
        }),
        new("P(magic): R3 + rubric - gate", Direction::Increase, 0.3, |seed| {
            seed.difference("magic", "additive-1", "gate")
        }),
        new("exploitation rate: R3 + rubric - gate", Direction::Increase, 0.1, |seed| {
            Ok(exploited(seed, "additive-1")? - exploited(seed, "gate")?)
        }),
        new(
            "Q, rubric silent on the answer: gate - gate of the other rubric",
            Direction::Decrease,
            0.05,
            |seed| seed.difference("quality", "gate-silent", "gate"),
        ),
        new(
            "share of groups accepted: poor start / mediocre start - 1",
            Direction::Decrease,
            0.5,
            |seed| {
                let poor = seed.scalar("poor-gate", "share accepted")?;
                let mediocre = seed.scalar("gate", "share accepted")?;
                if mediocre <= 0.0 {
                    return Err(ProtocolError::Undefined("no group was accepted".into()));
                }
                Ok(poor / mediocre - 1.0)
            },
        ),
        new("AUC of mean probability: T = 64 - T = 4", Direction::Decrease, 0.1, |seed| {
            from_short_to_long(seed, "AUC/mean probability")
        }),
        new(
            "AUC of R3 less that of the oracle: T = 64 - T = 4",
            Direction::NotBelow,
            0.1,
            |seed| {
                let r3 = from_short_to_long(seed, "AUC/R3")?;
                Ok(r3 - from_short_to_long(seed, "AUC/oracle slots")?)
            },
        ),
        new("AUC at T = 64: R3 - mean probability", Direction::Increase, 0.1, |seed| {
            let longest = |series| -> Result<f64, ProtocolError> {
                Ok(seed.series("dilution-base", series)?[LENGTHS.len() - 1])
            };
            Ok(longest("AUC/R3")? - longest("AUC/mean probability")?)
        }),
        // The pilot had shown that these two do not hold; they are about R3, not about gates.
        Contrast {
            registered: Registered::PostHoc,
            ..new(
                "steps to 80% at T = 64: R3 - mean probability",
                Direction::Decrease,
                10.0,
                |seed| seed.difference("steps to 80%", "R3-64", "mean-probability-64"),
            )
        },
        Contrast {
            registered: Registered::PostHoc,
            ..new(
                "accuracy at T = 64: R3 at omega 8 - omega 2",
                Direction::Decrease,
                0.05,
                |seed| seed.difference("accuracy", &with_omega(8.0), "R3-64"),
            )
        },
    ]
}

/// What must vanish.
pub(super) fn controls() -> Vec<Control> {
    vec![
        Control {
            name: "a judge that magic does not fool: P(magic) by R3 + rubric, end - start",
            margin: 0.1,
            per_seed: |seed| {
                let magic = seed.series("additive-1-unfooled", "look/magic")?;
                Ok(seed.scalar("additive-1-unfooled", "magic")? - magic[0])
            },
        },
        Control {
            name: "rubric permuted over the batch: P(magic), end - start",
            margin: 0.1,
            per_seed: |seed| {
                let magic = seed.series("rubric-permuted", "look/magic")?;
                Ok(seed.scalar("rubric-permuted", "magic")? - magic[0])
            },
        },
        Control {
            name: "rubric permuted over the batch: Q, end - peak",
            margin: 0.1,
            per_seed: |seed| after_peak(seed, "rubric-permuted"),
        },
    ]
}

fn after_peak(seed: &SeedRecords<'_>, arm: &str) -> Result<f64, ProtocolError> {
    Ok(seed.scalar(arm, "quality")? - seed.scalar(arm, "quality at its peak")?)
}

fn exploited(seed: &SeedRecords<'_>, arm: &str) -> Result<f64, ProtocolError> {
    if seed.scalar(arm, "new credit")? == 0.0 {
        return Err(ProtocolError::Undefined(format!("{arm} is credited nothing new")));
    }
    seed.scalar(arm, "exploitation rate")
}

fn from_short_to_long(seed: &SeedRecords<'_>, series: &str) -> Result<f64, ProtocolError> {
    let by_length = seed.series("dilution-base", series)?;
    Ok(by_length[by_length.len() - 1] - by_length[0])
}

/// The gate's last value of a smoothed curve less another arm's at as many used groups (interpolated).
fn at_used_groups_of_gate(
    seed: &SeedRecords<'_>,
    metric: &str,
    arm: &str,
) -> Result<f64, ProtocolError> {
    const USED: &str = "smooth/used groups";
    let series = format!("smooth/{metric}");
    let (used, gate) = (seed.series("gate", USED)?, seed.series("gate", &series)?);
    let at_the_end = used[used.len() - 1];
    let other = interpolated(seed.series(arm, USED)?, seed.series(arm, &series)?, at_the_end);
    let beyond = || ProtocolError::Undefined(format!("{arm} has no look at {at_the_end} groups"));
    Ok(gate[gate.len() - 1] - other.ok_or_else(beyond)?)
}

/// y at x on the line through points of rising x, the first one's before them; none beyond them, where nothing was measured.
fn interpolated(xs: &[f64], ys: &[f64], x: f64) -> Option<f64> {
    Some(match xs.iter().position(|at| *at >= x)? {
        0 => ys[0],
        at => {
            let share = (x - xs[at - 1]) / (xs[at] - xs[at - 1]);
            ys[at - 1] + share * (ys[at] - ys[at - 1])
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_read_between_their_points() {
        let (xs, ys) = ([10.0, 20.0, 40.0], [1.0, 3.0, -1.0]);
        assert_eq!(interpolated(&xs, &ys, 5.0), Some(1.0));
        assert_eq!(interpolated(&xs, &ys, 15.0), Some(2.0));
        assert_eq!(interpolated(&xs, &ys, 20.0), Some(3.0));
        assert_eq!(interpolated(&xs, &ys, 30.0), Some(1.0));
        assert_eq!(interpolated(&xs, &ys, 40.0), Some(-1.0));
        assert_eq!(interpolated(&xs, &ys, 50.0), None);
    }
}
