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

use std::ops::Range;

use crate::error::{RecsysError, at_least, every, indices_below, same_length};

/// Fewest turns. They close in on the solution geometrically, and where items swap places some tens
/// suffice.
const FEWEST_TURNS: usize = 200;
/// Most turns: where hardly an item swaps places a step leaves all but a part in the impressions of
/// it.
const MOST_TURNS: usize = 100_000;
/// Largest change of a logarithm in the last turn.
const TOLERANCE: f64 = 1e-13;

/// Estimated P(examined) by place, in (0, 1], the largest 1: only their ratios are identified, and these only among places
/// that share items ([`crate::PositionGraph`]).
///
/// Impression i showed item `items[i]` at place `shown_at[i]` and was clicked or not, 1 or 0. To keep logarithms finite
/// each place has half a click and half an expected click more than were seen, each item one expected impression more at
/// the mean click rate.
///
/// Where no items swap places the estimate is the priors' and says nothing.
///
/// # Errors
/// No impressions, lengths that differ, a place that is not below `places`, a click that is not 0
/// or 1, or [`RecsysError::NotConverged`]: places share so few items for so many impressions that
/// the log does not identify their ratios.
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
    let is_click = |click: f64| click == 0.0 || click == 1.0;
    every("clicks", clicks.iter().map(|&click| f64::from(click)), "0 or 1", is_click)?;
    // A run of cells for each item, a cell for each of its places: whatever numbers the items have,
    // and however many places there are, no more than impressions.
    let mut impressions: Vec<(u32, usize, f32)> =
        items.iter().zip(shown_at).zip(clicks).map(|((&i, &at), &click)| (i, at, click)).collect();
    impressions.sort_unstable_by_key(|&(item, place, _)| (item, place));
    let mut cells = Vec::new();
    let mut runs: Vec<Range<usize>> = Vec::new();
    for of_item in impressions.chunk_by(|a, b| a.0 == b.0) {
        let start = cells.len();
        for of_cell in of_item.chunk_by(|a, b| a.1 == b.1) {
            let clicked = of_cell.iter().map(|&(.., click)| f64::from(click)).sum();
            cells.push(Cell { place: of_cell[0].1, shown: of_cell.len() as f64, clicked });
        }
        runs.push(start..cells.len());
    }
    let clicked: f64 = clicks.iter().map(|&click| f64::from(click)).sum();
    let rate = clicked.max(0.5) / items.len() as f64;

    let mut theta = vec![1.0; places];
    let mut change = f64::INFINITY;
    for turn in 1..=MOST_TURNS {
        let mut sums = vec![(0.5, 0.5); places];
        for run in &runs {
            let (mut clicks, mut expected) = (rate, 1.0);
            for cell in &cells[run.clone()] {
                clicks += cell.clicked;
                expected += cell.shown * theta[cell.place];
            }
            let attraction = clicks / expected;
            for cell in &cells[run.clone()] {
                let (clicks, expected) = &mut sums[cell.place];
                *clicks += cell.clicked;
                *expected += cell.shown * attraction;
            }
        }
        let most = sums.iter().map(|(clicks, expected)| clicks / expected).fold(0.0, f64::max);
        change = 0.0;
        theta.iter_mut().zip(&sums).for_each(|(theta, (clicks, expected))| {
            let next = clicks / expected / most;
            change = f64::max(change, (next / *theta).ln().abs());
            *theta = next;
        });
        if turn >= FEWEST_TURNS && change <= TOLERANCE {
            return Ok(theta);
        }
    }
    Err(RecsysError::NotConverged { turns: MOST_TURNS, change })
}

/// Impressions of one item at one place.
struct Cell {
    place: usize,
    shown: f64,
    clicked: f64,
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
    fn a_log_of_few_swaps_comes_to_rest_at_the_solution() {
        // Every item at one place but for one impression in a hundred: after 200 turns the curve is
        // off by half a percent.
        let (mut items, mut shown_at, mut clicks) = (Vec::new(), Vec::new(), Vec::new());
        let theta = [1.0, 0.5, 0.25];
        let mut show = |item: u32, place: usize, times: usize| {
            let clicked = (times as f64 * theta[place] * 0.4).round() as usize;
            for shown in 0..times {
                items.push(item);
                shown_at.push(place);
                clicks.push(f32::from(shown < clicked));
            }
        };
        for item in 0..3 {
            show(item, item as usize, 2000);
            show(item, (item as usize + 1) % 3, 20);
        }
        let found = swap_propensities(&items, &shown_at, &clicks, 3).unwrap();
        // The equations at the top of this file, with the priors, hold.
        let rate = clicks.iter().sum::<f32>() as f64 / items.len() as f64;
        let sum = |held: &dyn Fn(usize) -> bool, value: &dyn Fn(usize) -> f64| -> f64 {
            (0..items.len()).filter(|&row| held(row)).map(value).sum()
        };
        let clicked = |row: usize| f64::from(clicks[row]);
        let attraction: Vec<f64> = (0..3)
            .map(|item| {
                let own = |row: usize| items[row] == item;
                let expected = sum(&own, &|row| found[shown_at[row]]);
                (rate + sum(&own, &clicked)) / (1.0 + expected)
            })
            .collect();
        let solved: Vec<f64> = (0..3)
            .map(|place| {
                let own = |row: usize| shown_at[row] == place;
                let expected = sum(&own, &|row| attraction[items[row] as usize]);
                (0.5 + sum(&own, &clicked)) / (0.5 + expected)
            })
            .collect();
        let most = solved.iter().copied().fold(0.0, f64::max);
        for (found, solved) in found.iter().zip(&solved) {
            assert_relative_eq!(*found, solved / most, max_relative = 1e-10);
        }
    }

    #[test]
    fn a_log_without_swaps_is_refused_or_left_to_the_priors() {
        // One item at each place: nothing is identified, and nothing comes to rest.
        let rows = 400_000;
        let items: Vec<u32> = (0..rows).map(|row| row % 2).collect();
        let shown_at: Vec<usize> = items.iter().map(|&item| item as usize).collect();
        let clicks: Vec<f32> = (0..rows).map(|row| f32::from(row % 8 < 3)).collect();
        let error = swap_propensities(&items, &shown_at, &clicks, 2).unwrap_err();
        assert!(error.to_string().contains("have not converged after"), "{error}");
    }

    #[test]
    fn the_numbers_of_items_cost_nothing() {
        let (shown_at, clicks) = ([0, 1, 0, 1], [1.0, 0.0, 1.0, 1.0]);
        let small = swap_propensities(&[0, 0, 1, 1], &shown_at, &clicks, 2).unwrap();
        let large = swap_propensities(&[7, 7, u32::MAX, u32::MAX], &shown_at, &clicks, 2).unwrap();
        assert_eq!(small, large);
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
        assert!(text(&[0, 1], &[0.0, f32::NAN]).contains("`clicks[1]` = NaN: allowed is 0 or 1"));
        assert!(swap_propensities(&[], &[], &[], 1).is_err());
    }
}
