//! Self-training of a table: with a verifier that stays as it is, each round multiplies the probability of an answer by its
//! weight, `p_t(y) ∝ p_0(y) w(y)^t`, the replicator dynamics.
//!
//! A table has infinite capacity and shares nothing among prompts: what collapses here collapses by selection alone, and what
//! does not may still collapse through shared weights.

use headwater_evaluation::EvaluationError;

use crate::gap::Gap;

/// One round: the distribution of the answers that are kept, in proportion to `weight`.
///
/// # Errors
/// As [`Gap::of`]; no answer with any weight.
pub fn replicate(probability: &[f64], weight: &[f64]) -> Result<Vec<f64>, EvaluationError> {
    let nothing = EvaluationError::Argument {
        argument: "mean weight",
        value: 0.0,
        allowed: "above 0: an answer that occurs has to be kept",
    };
    Gap::of(probability, &vec![0.0; probability.len()], weight)?.ok_or(nothing)?;
    let mass: f64 = probability.iter().zip(weight).map(|(p, w)| p * w).sum();
    Ok(probability.iter().zip(weight).map(|(p, w)| p * w / mass).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;
    use rand::RngExt;

    #[test]
    fn after_t_rounds_the_weight_has_the_power_t() {
        let mut stream = Streams::new(1).stream("answers", &[]);
        let raw: Vec<f64> = (0..30).map(|_| stream.random_range(0.1..1.0)).collect();
        let weight: Vec<f64> = (0..30).map(|_| stream.random_range(0.5..1.5)).collect();
        let total: f64 = raw.iter().sum();
        let start: Vec<f64> = raw.iter().map(|p| p / total).collect();
        let mut now = start.clone();
        for round in 1..=12 {
            now = replicate(&now, &weight).unwrap();
            let powers: Vec<f64> =
                start.iter().zip(&weight).map(|(p, w)| p * w.powi(round)).collect();
            let mass: f64 = powers.iter().sum();
            assert!(now.iter().zip(&powers).all(|(p, power)| (p - power / mass).abs() < 1e-12));
        }
        assert!(replicate(&[1.0, 0.0], &[0.0, 1.0]).is_err());
    }

    /// Accuracy, pass@128 and gap of tables under a rule for the weights.
    fn rounds(
        tables: &[(Vec<f64>, Vec<f64>)],
        rounds: usize,
        weigh: impl Fn(&[f64], &[f64], usize) -> Vec<f64>,
    ) -> Vec<[f64; 3]> {
        let mut tables: Vec<(Vec<f64>, Vec<f64>)> = tables.to_vec();
        let mut found = Vec::new();
        for _ in 0..=rounds {
            let mut sums = [0.0; 3];
            for (at, (p, u)) in tables.iter_mut().enumerate() {
                let weight = weigh(p, u, at);
                let gap = Gap::of(p, u, &weight).unwrap().unwrap();
                sums[0] += gap.before;
                sums[1] += 1.0 - (1.0 - gap.before).powi(128);
                sums[2] += gap.absolute();
                *p = replicate(p, &weight).unwrap();
            }
            found.push(sums.map(|sum| sum / tables.len() as f64));
        }
        found
    }

    #[test]
    fn self_consistency_closes_its_gap_and_loses_coverage_where_a_fixed_verifier_gains_it() {
        // Answers drawn by a prior of wide spread, of which one is right whatever its share.
        let mut stream = Streams::new(2).stream("tables", &[]);
        let tables: Vec<(Vec<f64>, Vec<f64>)> = (0..500)
            .map(|_| {
                let raw: Vec<f64> =
                    (0..40).map(|_| stream.random_range(-2.5..2.5f64).exp()).collect();
                let total: f64 = raw.iter().sum();
                let p: Vec<f64> = raw.iter().map(|p| p / total).collect();
                // In proportion to the root of its share: the likelier the answer the likelier it is right.
                let roots: f64 = p.iter().map(|p| p.sqrt()).sum();
                let mut at = stream.random::<f64>() * roots;
                let right = p.iter().position(|p| {
                    at -= p.sqrt();
                    at <= 0.0
                });
                let right = right.unwrap_or(39);
                (p, (0..40).map(|y| f64::from(y == right)).collect())
            })
            .collect();
        let own = rounds(&tables, 8, |p, _, _| p.to_vec());
        assert!(own[0][2] > 0.005 && own[8][2] < own[0][2] / 20.0, "the gap is spent: {own:?}");
        assert!(own[8][1] < own[0][1] - 0.3, "and coverage with it: {own:?}");
        let gold = rounds(&tables, 2, |_, u, _| u.to_vec());
        assert!((gold[1][0] - 1.0).abs() < 1e-12 && gold[1][2].abs() < 1e-12);
        let fixed = rounds(&tables, 8, |_, u, at| {
            // Systematic errors: some wrong answers of a prompt are always liked.
            u.iter()
                .enumerate()
                .map(|(y, u)| if *u > 0.0 || (y * 7 + at) % 10 == 0 { 1.5 } else { 1.0 })
                .collect()
        });
        assert!(fixed[8][0] > fixed[0][0] + 0.05, "{fixed:?}");
    }
}
