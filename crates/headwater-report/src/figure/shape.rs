//! What is drawn under one label, and where it stands.

use std::collections::BTreeSet;

use headwater_protocol::{
    Arm, Effect, Estimate, Measure, ProtocolError, Read, Records, Scalar, Series,
};

use crate::Point;

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
pub(super) enum Shape {
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
    /// A number with its interval over items for each category.
    Estimates(Arm, Vec<Estimate>),
    /// The same without intervals.
    Bare(Box<Shape>),
    /// The same where a record has what it reads.
    Rare(Box<Shape>),
}

impl Shape {
    pub(super) fn reads(&self) -> BTreeSet<Read> {
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
            Self::Estimates(arm, values) => {
                let scalars = values.iter().map(|value| Scalar::from(value.name().to_owned()));
                scalars.map(|scalar| scalar.read(arm)).collect()
            }
            Self::Bare(shape) | Self::Rare(shape) => shape.reads(),
        }
    }

    pub(super) fn points(&self, records: &Records) -> Result<Vec<Point>, ProtocolError> {
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
            Self::Estimates(arm, values) => {
                let mut points = Vec::with_capacity(values.len());
                for (at, value) in values.iter().enumerate() {
                    let x = at as f64;
                    match records.estimate(arm, value) {
                        Ok(Effect { estimate: Some(y), interval, .. }) => {
                            points.push(Point { interval, ..Point::bare(x, y) });
                        }
                        Ok(_) => {}
                        // Recorded as a number alone, or not at all.
                        Err(_) => {
                            let scalar = Scalar::from(value.name().to_owned()).of(arm);
                            let values = records.by_seed(&scalar)?;
                            points.extend(values.first().map(|(_, y)| Point::bare(x, *y)));
                        }
                    }
                }
                Ok(points)
            }
            Self::Rare(shape) => shape.points(records),
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
