//! Sums of Gaussian kernels over points on a line, in time linear in the points: a fast Gauss transform (Greengard & Strain 1991)
//! by Taylor series about the middles of intervals.
//!
//! With u = x - c and t = y - c for the middle c of the interval that x lies in,
//! `e^(-(y - x)^2 / 2) = e^(-t^2 / 2) sum over p of t^p (u^p / p!) e^(-u^2 / 2)`: what depends on the points of an
//! interval is one coefficient for each p.

/// Terms of a series: what is left out is below 2e-16 of a kernel at its height, as |u| is at most 1/2.
const TERMS: usize = 20;

/// From so far away the points of an interval add less than 2e-16 each.
const FAR: f64 = 9.0;

/// `sum over j of e^(-(y - x_j)^2 / 2)` as a function of y.
#[derive(Debug)]
pub(crate) struct GaussianSums {
    /// Middles of intervals of width 1 that hold points, with the coefficients.
    intervals: Vec<(f64, [f64; TERMS])>,
}

impl GaussianSums {
    /// Of finite `points`.
    pub(crate) fn new(points: &[f64]) -> Self {
        let lowest = points.iter().map(|x| x.round()).fold(f64::INFINITY, f64::min);
        let mut of_interval: Vec<Option<usize>> = Vec::new();
        let mut intervals: Vec<(f64, [f64; TERMS])> = Vec::new();
        for x in points {
            let (middle, place) = (x.round(), (x.round() - lowest) as usize);
            if of_interval.len() <= place {
                of_interval.resize(place + 1, None);
            }
            let at = *of_interval[place].get_or_insert_with(|| {
                intervals.push((middle, [0.0; TERMS]));
                intervals.len() - 1
            });
            let u = x - middle;
            let mut term = (-u * u / 2.0).exp();
            for (p, coefficient) in intervals[at].1.iter_mut().enumerate() {
                *coefficient += term;
                term *= u / (p + 1) as f64;
            }
        }
        Self { intervals }
    }

    /// The sum at `y`, and its slope.
    pub(crate) fn at(&self, y: f64) -> (f64, f64) {
        let (mut sum, mut slope) = (0.0, 0.0);
        for (middle, coefficients) in &self.intervals {
            let t = y - middle;
            if t.abs() > FAR {
                continue;
            }
            // Horner's rule for the series and its derivative.
            let (mut series, mut derivative) = (0.0, 0.0);
            for coefficient in coefficients.iter().rev() {
                derivative = derivative * t + series;
                series = series * t + coefficient;
            }
            let height = (-t * t / 2.0).exp();
            sum += height * series;
            slope += height * (derivative - t * series);
        }
        (sum, slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_and_slopes_are_those_of_the_definition(
            points in prop::collection::vec(-12.0..12.0f64, 0..40), y in -14.0..14.0f64,
        ) {
            let (sum, slope) = GaussianSums::new(&points).at(y);
            let kernel = |x: &f64| (-(y - x).powi(2) / 2.0).exp();
            let expected: f64 = points.iter().map(kernel).sum();
            let expected_slope: f64 = points.iter().map(|x| (x - y) * kernel(x)).sum();
            prop_assert!((sum - expected).abs() < 1e-13, "{sum} {expected}");
            prop_assert!((slope - expected_slope).abs() < 1e-13, "{slope} {expected_slope}");
        }
    }
}
