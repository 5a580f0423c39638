//! Whether a log can tell the bias of a position from the relevance of what was shown there.
//!
//! An additive model of clicks, relevance + bias of the position, is identified only as far as items swap positions, or
//! features overlap between them (Hager, Zoeter and de Rijke 2025, arXiv 2506.20501). Here positions are the
//! nodes of a graph, with an edge where the same item (or feature bucket) was shown at both. Within a connected component
//! biases can be compared; across components every difference of biases can be traded for one of relevances.

use crate::error::{RecsysError, at_least, every, indices_below, same_length};
use crate::log::Log;

/// Which positions have shown the same items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionGraph {
    positions: usize,
    /// Items shown at both of two positions, positions x positions.
    shared: Vec<usize>,
}

impl PositionGraph {
    /// The graph of a log: impression i showed `buckets[i]` (an item, or a bucket of features) at `shown_at[i]`.
    ///
    /// # Errors
    /// No positions or more than 4,096, lengths that differ, or a position that is not below
    /// `positions`.
    pub fn new(shown_at: &[usize], buckets: &[u32], positions: usize) -> Result<Self, RecsysError> {
        at_least("positions", positions, 1)?;
        every("positions", [positions as f64], "at most 4096", |count| count <= 4096.0)?;
        same_length("shown_at", shown_at.len(), "buckets", buckets.len())?;
        indices_below("shown_at", shown_at, positions)?;
        let mut shown: Vec<(u32, usize)> =
            buckets.iter().copied().zip(shown_at.iter().copied()).collect();
        shown.sort_unstable();
        shown.dedup();
        let mut shared = vec![0; positions * positions];
        for bucket in shown.chunk_by(|a, b| a.0 == b.0) {
            for (_, a) in bucket {
                for (_, b) in bucket {
                    shared[a * positions + b] += 1;
                }
            }
        }
        Ok(Self { positions, shared })
    }

    /// The graph of the items in a log, with slot k on device d as position d * slots + k: whether a curve for every
    /// device is identified.
    ///
    /// # Errors
    /// A slot or a device beyond the numbers given.
    pub fn of_log(log: &Log, slots: usize, devices: usize) -> Result<Self, RecsysError> {
        let by_row: Vec<usize> = log.slots().iter().map(|&slot| usize::from(slot)).collect();
        indices_below("slots of the log", &by_row, slots)?;
        let position = |(slot, &session): (usize, &u32)| {
            usize::from(log.devices()[session as usize]) * slots + slot
        };
        let shown_at: Vec<usize> = by_row.into_iter().zip(log.sessions()).map(position).collect();
        Self::new(&shown_at, log.items(), slots.saturating_mul(devices))
    }

    /// Items shown at both of two positions; of a position with itself, those shown there.
    ///
    /// # Panics
    /// If a position is out of range.
    #[must_use]
    pub fn shared(&self, a: usize, b: usize) -> usize {
        assert!(a < self.positions && b < self.positions, "positions are those of the graph");
        self.shared[a * self.positions + b]
    }

    /// Connected components of the graph in which an edge takes `least_shared` items or more (at least 1); positions
    /// ascending within and among them. One that was never shown is a component of its own.
    #[must_use]
    pub fn components(&self, least_shared: usize) -> Vec<Vec<usize>> {
        let mut component = vec![None; self.positions];
        let mut count = 0;
        for start in 0..self.positions {
            if component[start].is_some() {
                continue;
            }
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                if component[at].is_none() {
                    component[at] = Some(count);
                    open.extend(
                        (0..self.positions)
                            .filter(|&to| self.shared(at, to) >= least_shared.max(1)),
                    );
                }
            }
            count += 1;
        }
        let members = |of| (0..self.positions).filter(|&at| component[at] == Some(of)).collect();
        (0..count).map(members).collect()
    }

    /// The most items that two positions of different components share.
    fn most_shared_across(&self, components: &[Vec<usize>]) -> usize {
        let of = |position| components.iter().position(|members| members.contains(&position));
        let pairs = (0..self.positions).flat_map(|a| (0..self.positions).map(move |b| (a, b)));
        pairs.filter(|&(a, b)| of(a) != of(b)).map(|(a, b)| self.shared(a, b)).max().unwrap_or(0)
    }
}

/// A bucket for each row of features: one bit for the sign of each of the first 32 features. For [`PositionGraph`] where
/// items are too many to come back at other positions, but their features do.
#[must_use]
pub fn sign_buckets(features: &[f32], width: usize) -> Vec<u32> {
    let bit = |(at, &x): (usize, &f32)| u32::from(x > 0.0) << at;
    let bucket = |row: &[f32]| row.iter().take(32).enumerate().map(bit).sum();
    features.chunks_exact(width.max(1)).map(bucket).collect()
}

/// A bias curve, centred log θ by position, of a log that identifies it.
#[derive(Debug, Clone, PartialEq)]
pub struct BiasCurve {
    centred: Vec<f64>,
}

impl BiasCurve {
    /// The curve, less its mean: the level is not identified by clicks.
    ///
    /// `log_theta` holds one finite number per position: a learned additive bias, or the logarithm of estimated
    /// examination probabilities.
    ///
    /// # Errors
    /// [`RecsysError::Unidentified`] where the positions are not one component of edges of `least_shared` items or
    /// more; another number of biases than of positions, or one that is NaN or infinite.
    pub fn new(
        log_theta: &[f64],
        graph: &PositionGraph,
        least_shared: usize,
    ) -> Result<Self, RecsysError> {
        same_length("log_theta", log_theta.len(), "positions", graph.positions)?;
        let centred = centred("log_theta", log_theta)?;
        let components = graph.components(least_shared);
        if components.len() > 1 {
            let shared = graph.most_shared_across(&components);
            return Err(RecsysError::Unidentified { components, shared });
        }
        Ok(Self { centred })
    }

    /// Centred log θ by position.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.centred
    }

    /// Root mean squared error against the true log θ, both centred.
    ///
    /// # Errors
    /// Another number of positions, NaN or infinity.
    pub fn rmse(&self, true_log_theta: &[f64]) -> Result<f64, RecsysError> {
        same_length("true_log_theta", true_log_theta.len(), "log_theta", self.centred.len())?;
        let truth = centred("true_log_theta", true_log_theta)?;
        let squares = self.centred.iter().zip(&truth).map(|(own, truth)| (own - truth).powi(2));
        Ok((squares.sum::<f64>() / truth.len() as f64).sqrt())
    }
}

fn centred(argument: &'static str, values: &[f64]) -> Result<Vec<f64>, RecsysError> {
    every(argument, values.iter().copied(), "a finite number", f64::is_finite)?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    Ok(values.iter().map(|value| value - mean).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    #[test]
    fn items_with_one_fixed_position_identify_nothing() {
        let graph = PositionGraph::new(&[0, 1, 2, 0, 1, 2], &[5, 6, 7, 5, 6, 7], 3).unwrap();
        let error = BiasCurve::new(&[0.0, -1.0, -2.0], &graph, 1).unwrap_err();
        let components = vec![vec![0], vec![1], vec![2]];
        assert_eq!(error, RecsysError::Unidentified { components, shared: 0 });
        assert!(error.to_string().contains("[[0], [1], [2]]"), "{error}");
    }

    #[test]
    fn a_chain_of_swaps_identifies_all() {
        // Item 1 at positions 0 and 1, items 2 and 3 at 1 and 2; position 3 shares item 4 with none.
        let shown_at = [0, 1, 1, 2, 1, 2, 3];
        let buckets = [1, 1, 2, 2, 3, 3, 4];
        let graph = PositionGraph::new(&shown_at, &buckets, 4).unwrap();
        assert_eq!(graph.components(1), [vec![0, 1, 2], vec![3]]);
        // Two common items are asked for: the single one of 0 and 1 is not enough.
        assert_eq!(graph.components(2), [vec![0], vec![1, 2], vec![3]]);
        assert_eq!((graph.shared(1, 2), graph.shared(2, 1), graph.shared(1, 1)), (2, 2, 3));
        let three = PositionGraph::new(&shown_at[..6], &buckets[..6], 3).unwrap();
        let curve = BiasCurve::new(&[1.0, 0.0, -1.0], &three, 1).unwrap();
        assert_relative_eq!(curve.rmse(&[5.0, 4.0, 3.0]).unwrap(), 0.0);
        // Centred: (1, 0, -1) against (2, 0, -2).
        assert_relative_eq!(curve.rmse(&[2.0, 0.0, -2.0]).unwrap(), (2.0_f64 / 3.0).sqrt());
        let error = BiasCurve::new(&[1.0, 0.0, -1.0], &three, 2).unwrap_err();
        assert!(matches!(error, RecsysError::Unidentified { shared: 1, .. }), "{error}");
    }

    #[test]
    fn buckets_of_features_connect_what_items_do_not() {
        let features = [1.0, -1.0, 0.5, -2.0, -1.0, 1.0];
        assert_eq!(sign_buckets(&features, 2), [1, 1, 2]);
        let by_item = PositionGraph::new(&[0, 1], &[0, 1], 2).unwrap();
        let by_bucket = PositionGraph::new(&[0, 1], &sign_buckets(&features[..4], 2), 2).unwrap();
        assert_eq!((by_item.components(1).len(), by_bucket.components(1).len()), (2, 1));
    }

    #[test]
    fn errors_name_the_argument() {
        let graph = PositionGraph::new(&[0, 1], &[0, 0], 2).unwrap();
        let text =
            |log_theta: &[f64]| BiasCurve::new(log_theta, &graph, 1).unwrap_err().to_string();
        assert!(text(&[0.0]).contains("`log_theta` has 1"));
        assert!(text(&[0.0, f64::NEG_INFINITY]).contains("log_theta[1]"));
        // It keeps a number for every pair of positions.
        let error = PositionGraph::new(&[0], &[0], 1 << 40).unwrap_err().to_string();
        assert!(error.contains("at most 4096"), "{error}");
        assert!(PositionGraph::new(&[2], &[0], 2).unwrap_err().to_string().contains("shown_at[0]"));
    }

    proptest! {
        #[test]
        fn components_are_a_partition_and_no_edge_leaves_them(
            rows in prop::collection::vec((0usize..6, 0u32..8), 0..12),
        ) {
            let (shown_at, buckets): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let graph = PositionGraph::new(&shown_at, &buckets, 6).unwrap();
            let components = graph.components(1);
            let mut all: Vec<usize> = components.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..6).collect::<Vec<_>>());
            prop_assert_eq!(graph.most_shared_across(&components), 0);
        }
    }
}
