//! Which tokens feedback holds to account: the share of advantage that falls on the slot that is
//! wrong.

use headwater_nn::Decoder;
use headwater_optimizers::directive::{HybridConfig, Signal};
use headwater_optimizers::distillation::{Divergence, gaps};
use headwater_optimizers::{Objective, TwoContexts};
use headwater_protocol::{CellError, Metrics, Scalar};

use crate::experiments::directive::{Interaction, scalar_advantages};
use headwater_tasks::house_style::{Hint, RESPONSE_TOKENS, SLOT_AT};

/// Shares over the interactions with a hint, all tokens of all of them together, for votes, gaps at
/// the sampled tokens and the reverse KL over the vocabulary.
pub const SHARES: [Scalar; 3] = [
    Scalar::labelled("credit/votes", "votes: share on the wrong slot"),
    Scalar::labelled("credit/sampled", "sampled token: share"),
    Scalar::labelled("credit/full", "full vocabulary: share"),
];
/// What the latter two say about the wrong token and the wanted one.
pub const SIGNALS: [Scalar; 3] = [
    Scalar::labelled("signal/sampled at the wrong token", "sampled: at the wrong token"),
    Scalar::labelled("signal/full at the wrong token", "full: at the wrong token"),
    Scalar::labelled("signal/full at the wanted token", "full: at the wanted token"),
];

/// Records [`SHARES`] and [`SIGNALS`].
pub(super) fn credit(
    metrics: Metrics,
    policy: &Decoder,
    interactions: &[(Interaction, Option<Hint>)],
) -> Result<Metrics, CellError> {
    // A response that ended early has no slot where the hint says.
    let hinted = interactions.iter().filter_map(|(interaction, hint)| {
        let whole = interaction.response.len() == RESPONSE_TOKENS;
        Some((interaction.clone(), (*hint)?, interaction.informed.clone()?)).filter(|_| whole)
    });
    let hinted: Vec<(Interaction, Hint, Vec<u32>)> = hinted.collect();
    let rows: Vec<Interaction> = hinted.iter().map(|(row, _, _)| row.clone()).collect();
    let culprits: Vec<usize> = hinted.iter().map(|(_, hint, _)| SLOT_AT[hint.slot]).collect();
    let contexts = TwoContexts::new(
        hinted.iter().map(|(row, _, informed)| (&row.prompt[..], &informed[..], &row.response[..])),
        policy.shape(),
    )?;
    let temperature = HybridConfig::new(Signal::SampledGap { limit: None }).temperature;

    let votes = scalar_advantages(&Objective::binary_rl(), &rows, 1)?;
    let (student, teacher) = contexts.log_probs(policy, policy, temperature);
    let sampled = gaps(&teacher, &student, None)?;
    let signals = Divergence::ReverseKl.signals(
        contexts.student(policy, temperature).detach(),
        contexts.teacher(policy, temperature),
    );
    let [_, width, vocabulary] = signals.dims();
    let signals = signals.inner().try_into_vec_as::<f32>().expect("every float tensor is f32");
    let at = |row: usize, token: usize| {
        let start = (row * width + token) * vocabulary;
        &signals[start..start + vocabulary]
    };
    let mass = |row: usize, token: usize| at(row, token).iter().map(|s| f64::from(s.abs())).sum();
    let full: Vec<Vec<f64>> = (0..rows.len())
        .map(|row| (0..rows[row].response.len()).map(|token| mass(row, token)).collect())
        .collect();

    let n = rows.len() as f64;
    let (mut gap, mut wrong, mut wanted) = (0.0, 0.0, 0.0);
    for (row, (interaction, hint, _)) in hinted.iter().enumerate() {
        let culprit = culprits[row];
        gap += sampled[row][culprit] / n;
        wrong += f64::from(at(row, culprit)[interaction.response[culprit] as usize]) / n;
        wanted += f64::from(at(row, culprit)[hint.token() as usize]) / n;
    }
    let shares = [&votes, &sampled, &full].map(|rows| share(rows, &culprits));
    let recorded =
        SHARES.into_iter().zip(shares).chain(SIGNALS.into_iter().zip([gap, wrong, wanted]));
    Ok(recorded.fold(metrics, |metrics, (metric, value)| metrics.scalar(&metric, value)))
}

/// Share of the absolute advantage of all rows that stands at each row's culprit.
fn share(rows: &[Vec<f64>], culprits: &[usize]) -> f64 {
    let total: f64 = rows.iter().flatten().map(|a| a.abs()).sum();
    let on: f64 = rows.iter().zip(culprits).map(|(row, culprit)| row[*culprit].abs()).sum();
    if total == 0.0 { 0.0 } else { on / total }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_advantage_gives_a_culprit_its_share_of_the_tokens() {
        let rows = vec![vec![-1.0; 8], vec![1.0; 8]];
        assert_eq!(share(&rows, &[0, 6]), 0.125);
        assert_eq!(share(&[vec![0.5, -1.5], vec![2.0, 0.0]], &[1, 0]), 0.875);
        assert_eq!(share(&[vec![0.0; 2]], &[0]), 0.0);
    }
}
