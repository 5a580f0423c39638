//! Examination probabilities estimated from items that a log shows at several places.
//!
//! If item i is clicked at place k with probability θ_k r_i, its click rates at two places are to each other as their θ
//! are, whatever r_i is. That is how swaps that happened by themselves stand in for an experiment (intervention
//! harvesting, Agarwal et al. 2019). Here all pairs are used at once, by the Poisson pseudo-likelihood of clicks c_ik
//! among n_ik impressions, which is consistent for any such product and solved by turns in closed form:
//!
//! ```text
//! θ_k = sum_i c_ik / sum_i n_ik r_i        r_i = sum_k c_ik / sum_k n_ik θ_k
//! ```
//!
//! It errs where r is not the item's alone: a personal ranker shows an item further up to those who like it, and
//! that passes for examination.

use crate::error::{RecsysError, at_least, indices_below, same_length};

/// Rounds of turns; they close in on the solution geometrically.
const TURNS: usize = 200;

/// Estimated P(examined) by place, in (0, 1], the largest 1: only their ratios are identified, and these only among places
/// that share items ([`crate::PositionGraph`]).
///
/// Impression i showed item `items[i]` at place `shown_at[i]` and was clicked or not, 1 or 0. To keep logarithms finite
/// each place has half a click and half an expected click more than were seen, each item one expected impression more at
/// the mean click rate.
///
/// # Errors
/// No impressions, lengths that differ, or a place that is not below `places`.
pub fn swap_propensities(
    items: &[u32],
    shown_at: &[usize],
    clicks: &[f32],
    places: usize,
) -> Result<Vec<f64>, RecsysError> {
    at_least("items", items.len(), 1)?;
    same_length("items", items.len(), "shown_at", shown_at.len())?;
    same_length("items", items.len(), "clicks", clicks.len())?;
    indices_below("shown_at", shown_at, places)?;
    let count = items.iter().max().map_or(0, |&most| most as usize + 1);
    // Impressions and clicks, items x places.
    let mut cells = vec![(0.0, 0.0); count * places];
    for ((&item, &place), &click) in items.iter().zip(shown_at).zip(clicks) {
        let (shown, clicked) = &mut cells[item as usize * places + place];
        *shown += 1.0;
        *clicked += f64::from(click);
    }
    let clicked: f64 = clicks.iter().map(|&click| f64::from(click)).sum();
    let rate = clicked.max(0.5) / items.len() as f64;

    let mut theta = vec![1.0; places];
    let mut attraction = vec![rate; count];
    for _ in 0..TURNS {
        for (row, attraction) in cells.chunks_exact(places).zip(&mut attraction) {
            let (mut clicks, mut expected) = (rate, 1.0);
            for ((shown, clicked), theta) in row.iter().zip(&theta) {
                clicks += clicked;
                expected += shown * theta;
            }
            *attraction = clicks / expected;
        }
        let mut sums = vec![(0.5, 0.5); places];
        for (row, attraction) in cells.chunks_exact(places).zip(&attraction) {
            for ((shown, clicked), (clicks, expected)) in row.iter().zip(&mut sums) {
                *clicks += clicked;
                *expected += shown * attraction;
            }
        }
        let most = sums.iter().map(|(clicks, expected)| clicks / expected).fold(0.0, f64::max);
        theta.iter_mut().zip(&sums).for_each(|(theta, (clicks, expected))| {
            *theta = clicks / expected / most;
        });
    }
    Ok(theta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    /// Item i is shown n times at each of its places, of which it is clicked n θ_k r_i times.
    fn log(placed: &[(u32, f64, &[usize])], theta: &[f64]) -> (Vec<u32>, Vec<usize>, Vec<f32>) {
        let (mut items, mut shown_at, mut clicks) = (Vec::new(), Vec::new(), Vec::new());
        for &(item, attraction, places) in placed {
            for &place in places {
                let clicked = (4000.0 * theta[place] * attraction).round() as usize;
                for shown in 0..4000 {
                    items.push(item);
                    shown_at.push(place);
                    clicks.push(f32::from(shown < clicked));
                }
            }
        }
        (items, shown_at, clicks)
    }

    #[test]
    fn swaps_tell_examination_from_attraction() {
        let theta = [1.0, 0.5, 0.2];
        // Good items higher up: click rates by place alone would say 0.8, 0.375, 0.05.
        let placed: [(u32, f64, &[usize]); 3] =
            [(0, 0.8, &[0, 1]), (2, 0.5, &[1, 2]), (3, 0.1, &[2])];
        let (items, shown_at, clicks) = log(&placed, &theta);
        let found = swap_propensities(&items, &shown_at, &clicks, 3).unwrap();
        for (found, theta) in found.iter().zip(theta) {
            assert_relative_eq!(*found, theta, max_relative = 0.01);
        }
    }

    #[test]
    fn nothing_clicked_is_still_a_probability_and_errors_name_the_argument() {
        let found = swap_propensities(&[0, 0], &[0, 1], &[0.0, 0.0], 2).unwrap();
        assert!(found.iter().all(|theta| *theta > 0.0 && *theta <= 1.0), "{found:?}");
        let text = |shown_at: &[usize], clicks: &[f32]| {
            swap_propensities(&[0, 0], shown_at, clicks, 2).unwrap_err().to_string()
        };
        assert!(text(&[0, 2], &[0.0, 0.0]).contains("shown_at[1]"));
        assert!(text(&[0, 1], &[0.0]).contains("clicks"));
        assert!(swap_propensities(&[], &[], &[], 1).is_err());
    }
}
