//! Figures as data: which measures of which arms, in which shape. [`Figure::chart`] fills in the
//! numbers.

use std::collections::BTreeSet;

use headwater_protocol::{Arm, Estimate, Measure, ProtocolError, Read, Records, Series};

use crate::{Chart, LabelledArm, ReportError, Scale};

mod shape;

use shape::Shape;
pub use shape::{Along, ComputeSeries};

/// A figure before its numbers.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Everything but series and references.
    frame: Chart,
    shapes: Vec<(String, Shape)>,
    references: Vec<(String, Measure)>,
}

impl Figure {
    fn framed(frame: Chart) -> Self {
        Self { frame, shapes: Vec::new(), references: Vec::new() }
    }

    /// Lines with interval bands.
    pub fn lines(
        title: impl Into<String>,
        x_label: impl Into<String>,
        y_label: impl Into<String>,
    ) -> Self {
        Self::framed(Chart::lines(title, x_label, y_label))
    }

    /// Dots with whiskers, one row per category from top to bottom.
    pub fn dots<S: Into<String>>(
        title: impl Into<String>,
        categories: impl IntoIterator<Item = S>,
        value_label: impl Into<String>,
    ) -> Self {
        Self::framed(Chart::dots(title, categories, value_label))
    }

    /// Bars from 0 with whiskers, one row per category: for amounts, where 0 means none.
    pub fn bars<S: Into<String>>(
        title: impl Into<String>,
        categories: impl IntoIterator<Item = S>,
        value_label: impl Into<String>,
    ) -> Self {
        Self::framed(Chart::bars(title, categories, value_label))
    }

    /// The x scale of a line figure; nothing changes in a figure by category.
    #[must_use]
    pub fn x_scale(mut self, scale: Scale) -> Self {
        self.frame = self.frame.x_scale(scale);
        self
    }

    /// Fixes the range of the values, e.g. 0 to 1 for a proportion; by default it follows the data.
    #[must_use]
    pub fn value_range(mut self, low: f64, high: f64) -> Self {
        self.frame = self.frame.value_range(low, high);
        self
    }

    /// One or two sentences under the figure: what to see in it. How many seeds there are, and
    /// which series have fewer, is said by itself.
    #[must_use]
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.frame = self.frame.caption(caption);
        self
    }

    /// A dashed line at a value that readers compare with: a number, or the mean of a measure.
    #[must_use]
    pub fn reference(mut self, label: impl Into<String>, value: impl Into<Measure>) -> Self {
        self.references.push((label.into(), value.into()));
        self
    }

    /// One curve for each arm: a recorded series, over `along`.
    #[must_use]
    pub fn curves<A: Into<LabelledArm>>(
        mut self,
        values: &Series,
        along: &Along,
        arms: impl IntoIterator<Item = A>,
    ) -> Self {
        for LabelledArm { label, arm } in arms.into_iter().map(Into::into) {
            self = self.curve(label, values, along, arm);
        }
        self
    }

    /// One curve: a recorded series of an arm, over `along`.
    #[must_use]
    pub fn curve(
        self,
        label: impl Into<String>,
        values: &Series,
        along: &Along,
        arm: impl Into<Arm>,
    ) -> Self {
        self.thinned_curve(label, values, along, arm, 1)
    }

    /// The same with every so many values only.
    #[must_use]
    pub fn thinned_curve(
        mut self,
        label: impl Into<String>,
        values: &Series,
        along: &Along,
        arm: impl Into<Arm>,
        every: usize,
    ) -> Self {
        let (values, along) = (values.clone(), along.clone());
        self.shapes.push((label.into(), Shape::Curve { arm: arm.into(), values, along, every }));
        self
    }

    /// One curve that a function makes of what it reads, seed by seed. `along` a series is that of
    /// the first arm that is read.
    #[must_use]
    pub fn computed_curve(
        mut self,
        label: impl Into<String>,
        along: &Along,
        reads: impl IntoIterator<Item = Read>,
        compute: ComputeSeries,
    ) -> Self {
        let (reads, along) = (reads.into_iter().collect(), along.clone());
        self.shapes.push((label.into(), Shape::Computed { reads, along, compute }));
        self
    }

    /// Points, joined in the order of x: a dose and its response, or one measure over another. A
    /// constant stands without an interval.
    #[must_use]
    pub fn points<X: Into<Measure>, Y: Into<Measure>>(
        self,
        label: impl Into<String>,
        points: impl IntoIterator<Item = (X, Y)>,
    ) -> Self {
        self.placed_points(label, points, |x| x)
    }

    /// The same with each x, after its mean over seeds is taken, put through a function, e.g.
    /// [`f64::exp`] for a geometric mean.
    #[must_use]
    pub fn placed_points<X: Into<Measure>, Y: Into<Measure>>(
        mut self,
        label: impl Into<String>,
        points: impl IntoIterator<Item = (X, Y)>,
        place: fn(f64) -> f64,
    ) -> Self {
        let points = points.into_iter().map(|(x, y)| (x.into(), y.into())).collect();
        self.shapes.push((label.into(), Shape::Points { points, place }));
        self
    }

    /// One value for each category, in their order.
    #[must_use]
    pub fn by_category<M: Into<Measure>>(
        mut self,
        label: impl Into<String>,
        values: impl IntoIterator<Item = M>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.shapes.push((label.into(), Shape::ByCategory(values)));
        self
    }

    /// The series added last is drawn without intervals, e.g. a fit beside what it fits.
    #[must_use]
    pub fn without_intervals(mut self) -> Self {
        if let Some((label, shape)) = self.shapes.pop() {
            self.shapes.push((label, Shape::Bare(Box::new(shape))));
        }
        self
    }

    /// The series added last is left out where no record has what it reads.
    #[must_use]
    pub fn if_recorded(mut self) -> Self {
        if let Some((label, shape)) = self.shapes.pop() {
            self.shapes.push((label, Shape::Rare(Box::new(shape))));
        }
        self
    }

    /// One number with its interval over items for each category, in their order; without an
    /// interval where only the number was recorded.
    #[must_use]
    pub fn by_estimate(
        mut self,
        label: impl Into<String>,
        arm: &Arm,
        values: impl IntoIterator<Item = Estimate>,
    ) -> Self {
        let values = values.into_iter().collect();
        self.shapes.push((label.into(), Shape::Estimates(arm.clone(), values)));
        self
    }

    /// The distribution over seeds for each category, in their order: a point for every seed,
    /// without intervals.
    #[must_use]
    pub fn by_seed<M: Into<Measure>>(
        mut self,
        label: impl Into<String>,
        values: impl IntoIterator<Item = M>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.shapes.push((label.into(), Shape::Seeds(values)));
        self
    }

    /// What it is called.
    pub(crate) fn title(&self) -> &str {
        &self.frame.title
    }

    /// Everything it reads.
    pub(crate) fn reads(&self) -> BTreeSet<Read> {
        let references = self.references.iter().flat_map(|(_, measure)| measure.reads());
        self.shapes.iter().flat_map(|(_, shape)| shape.reads()).chain(references).collect()
    }

    /// The figure with its numbers. A series that reads an arm without records is left out and
    /// named.
    ///
    /// # Errors
    /// When no series is left, or a record lacks what is read.
    pub fn chart(&self, records: &Records) -> Result<Chart, ReportError> {
        let (mut chart, mut without) = (self.frame.clone(), Vec::new());
        let (mut missing, mut measured) = (None, false);
        for (label, shape) in &self.shapes {
            match shape.points(records) {
                Ok(points) => {
                    // A line of constants alone shows nothing.
                    measured |= !shape.reads().is_empty();
                    chart = chart.series(label, points);
                }
                Err(error @ ProtocolError::NoRecord { .. }) => {
                    without.push(label.as_str());
                    missing.get_or_insert(error);
                }
                Err(ProtocolError::NoMetric { .. }) if matches!(shape, Shape::Rare(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(error) = missing {
            if !measured {
                return Err(error.into());
            }
            let caption = format!("{} Not run: {}.", chart.caption, without.join(", "));
            chart = chart.caption(caption.trim_start());
        }
        for (label, measure) in &self.references {
            let value = match measure {
                Measure::Constant(value) => Some(*value),
                measure => match records.effect(measure) {
                    Ok(effect) => effect.estimate,
                    Err(ProtocolError::NoRecord { .. }) => None,
                    Err(error) => return Err(error.into()),
                },
            };
            if let Some(value) = value {
                chart = chart.reference(label, value);
            }
        }
        Ok(chart)
    }
}

#[cfg(test)]
mod tests;
