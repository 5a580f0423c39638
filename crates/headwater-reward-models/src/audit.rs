//! Scores of preferences in the form that the bias probes of `headwater-evaluation` take.

use std::collections::HashMap;

use headwater_evaluation::bias::{Answer, ScoredPair};

use crate::Preference;

/// The preferences that are no ties, scored by `scores`: the better response by the label first, pairs of one
/// prompt under one number.
///
/// `scores` gets (prompt, response) texts and gives their scores in order, like
/// [`crate::RewardModel::scores`].
///
/// # Errors
/// What `scores` returns.
pub fn scored_pairs<E>(
    preferences: &[Preference],
    mut scores: impl FnMut(&[(&str, &str)]) -> Result<Vec<f64>, E>,
) -> Result<Vec<ScoredPair>, E> {
    let ordered: Vec<_> = preferences
        .iter()
        .filter(|preference| !preference.is_tie())
        .map(|preference| {
            let (chosen, rejected) = (&preference.chosen, &preference.rejected);
            let swapped = preference.label < 0.5;
            let (better, worse) = if swapped { (rejected, chosen) } else { (chosen, rejected) };
            (preference.prompt.as_str(), better, worse)
        })
        .collect();
    let better: Vec<(&str, &str)> = ordered.iter().map(|(p, b, _)| (*p, b.text.as_str())).collect();
    let worse: Vec<(&str, &str)> = ordered.iter().map(|(p, _, w)| (*p, w.text.as_str())).collect();
    let (better, worse) = (scores(&better)?, scores(&worse)?);
    let mut prompts: HashMap<&str, usize> = HashMap::new();
    let pairs = ordered.iter().zip(better.into_iter().zip(worse));
    Ok(pairs
        .map(|((prompt, better, worse), (of_better, of_worse))| {
            let next = prompts.len();
            ScoredPair {
                prompt: *prompts.entry(prompt).or_insert(next),
                chosen: Answer { score: of_better, factor: better.factor },
                rejected: Answer { score: of_worse, factor: worse.factor },
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Response;

    #[test]
    fn the_side_the_label_prefers_comes_first_and_ties_are_left_out() {
        let pair = |label: f64| {
            let side = |text: &str, factor: f64| Response::new(text).factor(factor);
            Preference { label, ..Preference::new("p", side("aa", 1.0), side("b", 2.0)) }
        };
        let preferences = [pair(1.0), pair(0.5), pair(0.0)];
        let length = |texts: &[(&str, &str)]| -> Result<Vec<f64>, ()> {
            Ok(texts.iter().map(|(_, text)| text.len() as f64).collect())
        };
        let pairs = scored_pairs(&preferences, length).unwrap();
        assert_eq!(pairs.len(), 2);
        assert_eq!((pairs[0].chosen.score, pairs[0].chosen.factor), (2.0, 1.0));
        assert_eq!((pairs[1].chosen.score, pairs[1].chosen.factor), (1.0, 2.0));
        assert_eq!(pairs[0].prompt, pairs[1].prompt);
    }
}
