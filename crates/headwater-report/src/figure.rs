//! Figures as data: which measures of which arms, in which shape. [`Figure::chart`] fills in the
//! numbers.

use std::collections::BTreeSet;

use headwater_protocol::{Arm, Effect, Measure, ProtocolError, Read, Records, Series};

use crate::{Chart, Labelled, Point, ReportError, Scale};

/// Computes a series of numbers of the values of what is read: a slice for each, in order, which
/// holds one number where a scalar is read.
pub type ComputeSeries = fn(&[&[f64]]) -> Result<Vec<f64>, ProtocolError>;

/// What the values of a series are drawn over.
#[derive(Debug, Clone, PartialEq)]
pub enum Along {
    /// These, in order; where there are fewer values than places, the first ones.
    Places(Vec<f64>),
    /// Their position counted from 0, times `step`, from `first` on.
    Index {
        /// Where the first value stands.
        first: f64,
        /// The distance between two values.
        step: f64,
    },
    /// Another series of the same arm, by its means over seeds. Where it is longer than the values,
    /// the last ones: what is counted between two looks stands at the later one.
    Series(Series),
    /// The same in units of that many, e.g. 1000 for thousands.
    SeriesIn(Series, f64),
}

impl Along {
    /// Places given as numbers of any kind.
    pub fn places<N: Into<f64>>(places: impl IntoIterator<Item = N>) -> Self {
        Self::Places(places.into_iter().map(Into::into).collect())
    }

    /// Places given as counts.
    pub fn counts(places: impl IntoIterator<Item = usize>) -> Self {
        Self::Places(places.into_iter().map(|place| place as f64).collect())
    }

    /// 0, 1, 2 and so on.
    #[must_use]
    pub fn steps() -> Self {
        Self::Index { first: 0.0, step: 1.0 }
    }

    fn series(&self) -> Option<&Series> {
        match self {
            Self::Series(series) | Self::SeriesIn(series, _) => Some(series),
            Self::Places(_) | Self::Index { .. } => None,
        }
    }
}

/// Something to draw under one label.
#[derive(Debug, Clone)]
enum Shape {
    /// A recorded series.
    Curve { arm: Arm, values: Series, along: Along, every: usize },
    /// What a function makes of what it reads, seed by seed.
    Computed { reads: Vec<Read>, along: Along, compute: ComputeSeries },
    /// One measure over another.
    Points { points: Vec<(Measure, Measure)>, place: fn(f64) -> f64 },
    /// One measure for each category.
    ByCategory(Vec<Measure>),
    /// One measure for each category, a point for every seed.
    Seeds(Vec<Measure>),
    /// The same without intervals.
    Bare(Box<Shape>),
}

impl Shape {
    fn reads(&self) -> BTreeSet<Read> {
        match self {
            Self::Curve { arm, values, along, .. } => {
                let over = along.series().map(|series| series.read(arm));
                over.into_iter().chain([values.read(arm)]).collect()
            }
            Self::Computed { reads, along, .. } => {
                let over = along.series().zip(reads.first());
                let over = over.map(|(series, first)| series.read(first.arm()));
                reads.iter().cloned().chain(over).collect()
            }
            Self::Points { points, .. } => {
                points.iter().flat_map(|(x, y)| [x.reads(), y.reads()]).flatten().collect()
            }
            Self::ByCategory(measures) | Self::Seeds(measures) => {
                measures.iter().flat_map(Measure::reads).collect()
            }
            Self::Bare(shape) => shape.reads(),
        }
    }

    fn points(&self, records: &Records) -> Result<Vec<Point>, ProtocolError> {
        match self {
            Self::Curve { arm, values, along, every } => {
                let effects = records.series_effect(arm, values)?;
                let places = places(along, arm, effects.len(), records)?;
                Ok(placed(&places, &effects, *every))
            }
            Self::Computed { reads, along, compute } => {
                let effects = computed(records, reads, *compute)?;
                let arm = reads.first().map_or(Arm::new(""), |read| read.arm().clone());
                let places = places(along, &arm, effects.len(), records)?;
                Ok(placed(&places, &effects, 1))
            }
            Self::Points { points: measures, place } => {
                let mut points = Vec::with_capacity(measures.len());
                for (x, y) in measures {
                    let point = point(x, y, records)?;
                    points.extend(point.map(|point| Point { x: place(point.x), ..point }));
                }
                points.sort_by(|a, b| a.x.total_cmp(&b.x));
                Ok(points)
            }
            Self::ByCategory(measures) => {
                let mut points = Vec::with_capacity(measures.len());
                for (at, measure) in measures.iter().enumerate() {
                    points.extend(point(&Measure::from(at as f64), measure, records)?);
                }
                Ok(points)
            }
            Self::Seeds(measures) => {
                let mut points = Vec::new();
                for (at, measure) in measures.iter().enumerate() {
                    let values = records.by_seed(measure)?;
                    let n = Some(values.len());
                    let point = |y| Point { n, ..Point::bare(at as f64, y) };
                    points.extend(values.into_iter().map(|(_, y)| point(y)));
                }
                Ok(points)
            }
            Self::Bare(shape) => {
                let points = shape.points(records)?;
                Ok(points.iter().map(|point| Point::bare(point.x, point.y)).collect())
            }
        }
    }
}

fn point(x: &Measure, y: &Measure, records: &Records) -> Result<Option<Point>, ProtocolError> {
    let x = match x {
        Measure::Constant(x) => Some(*x),
        x => records.effect(x)?.estimate,
    };
    let Some(x) = x else { return Ok(None) };
    match y {
        Measure::Constant(y) => Ok(Some(Point::bare(x, *y))),
        y => Ok(Point::measured(x, &records.effect(y)?)),
    }
}

fn places(
    along: &Along,
    arm: &Arm,
    count: usize,
    records: &Records,
) -> Result<Vec<f64>, ProtocolError> {
    let means = |series: &Series, unit: f64| -> Result<Vec<f64>, ProtocolError> {
        let effects = records.series_effect(arm, series)?;
        let surplus = effects.len().saturating_sub(count);
        let means = effects[surplus..].iter().filter_map(|effect| effect.estimate);
        Ok(means.map(|mean| mean / unit).collect())
    };
    Ok(match along {
        Along::Places(places) => places.clone(),
        Along::Index { first, step } => (0..count).map(|at| first + step * at as f64).collect(),
        Along::Series(series) => means(series, 1.0)?,
        Along::SeriesIn(series, unit) => means(series, *unit)?,
    })
}

fn placed(places: &[f64], effects: &[Effect], every: usize) -> Vec<Point> {
    let pairs = places.iter().zip(effects).step_by(every.max(1));
    pairs.filter_map(|(x, effect)| Point::measured(*x, effect)).collect()
}

/// The effects of a computed series, over the seeds that have everything it reads, as far as all of
/// them reach.
fn computed(
    records: &Records,
    reads: &[Read],
    compute: ComputeSeries,
) -> Result<Vec<Effect>, ProtocolError> {
    let mut all: Vec<Vec<f64>> = Vec::new();
    let mut missing = None;
    for seed in records.seeds() {
        let seed = records.seed(seed);
        let values = reads.iter().map(|read| read.values(&seed));
        let computed = values.collect::<Result<Vec<Vec<f64>>, _>>().and_then(|values| {
            let slices: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
            compute(&slices)
        });
        match computed {
            Ok(values) => all.push(values),
            Err(error) => missing = missing.or(Some(error)),
        }
    }
    if let (Some(error), true) = (missing, all.is_empty()) {
        return Err(error);
    }
    let length = all.iter().map(Vec::len).min().unwrap_or(0);
    (0..length)
        .map(|at| Effect::over_seeds(&all.iter().map(|values| values[at]).collect::<Vec<_>>()))
        .collect()
}

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
    pub fn curves<A: Into<Labelled>>(
        mut self,
        values: &Series,
        along: &Along,
        arms: impl IntoIterator<Item = A>,
    ) -> Self {
        for Labelled { label, arm } in arms.into_iter().map(Into::into) {
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
        let mut missing = None;
        for (label, shape) in &self.shapes {
            match shape.points(records) {
                Ok(points) => chart = chart.series(label, points),
                Err(error @ ProtocolError::NoRecord { .. }) => {
                    without.push(label.as_str());
                    missing.get_or_insert(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(error) = missing {
            if without.len() == self.shapes.len() {
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
