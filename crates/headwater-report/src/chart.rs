//! What a figure shows, in numbers; `svg.rs` draws it.

use headwater_protocol::Effect;

use crate::ReportError;
use crate::svg::marks::MOST_SERIES;

/// How the x axis of a line figure is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences, equal distances.
    Linear,
    /// Ticks at powers of 2; x above 0.
    Log2,
    /// Ticks at powers of 10; x above 0.
    Log10,
}

/// One value with its interval, if it has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Position; the category's index in a figure by category.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Lower and upper end of the interval.
    pub interval: Option<(f64, f64)>,
    /// Seeds behind it, if it is an effect over seeds.
    pub n: Option<usize>,
}

impl Point {
    /// A value without an interval.
    #[must_use]
    pub fn bare(x: f64, y: f64) -> Self {
        Self { x, y, interval: None, n: None }
    }

    /// An effect over seeds; `None` if it has no estimate.
    #[must_use]
    pub fn measured(x: f64, effect: &Effect) -> Option<Self> {
        Some(Self { x, y: effect.estimate?, interval: effect.interval, n: Some(effect.n) })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) points: Vec<Point>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reference {
    pub(crate) label: String,
    pub(crate) value: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Values over a numeric x axis.
    Lines { x_label: String, x_scale: Scale },
    /// Values beside named categories, one row each; bars start at 0.
    Categories { names: Vec<String>, bars: bool },
}

/// A figure in numbers: values with their 95% t intervals over the seeds that each point names.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    pub(crate) title: String,
    pub(crate) caption: String,
    pub(crate) value_label: String,
    pub(crate) kind: Kind,
    pub(crate) value_range: Option<(f64, f64)>,
    pub(crate) series: Vec<Series>,
    pub(crate) references: Vec<Reference>,
}

impl Chart {
    fn new(title: String, value_label: String, kind: Kind) -> Self {
        Self {
            title,
            caption: String::new(),
            value_label,
            kind,
            value_range: None,
            series: Vec::new(),
            references: Vec::new(),
        }
    }

    /// Lines with interval bands over a linear x axis.
    pub fn lines(
        title: impl Into<String>,
        x_label: impl Into<String>,
        y_label: impl Into<String>,
    ) -> Self {
        let kind = Kind::Lines { x_label: x_label.into(), x_scale: Scale::Linear };
        Self::new(title.into(), y_label.into(), kind)
    }

    /// Dots with whiskers, one row per category from top to bottom. Add values with
    /// [`Chart::by_category`].
    pub fn dots<S: Into<String>>(
        title: impl Into<String>,
        categories: impl IntoIterator<Item = S>,
        value_label: impl Into<String>,
    ) -> Self {
        let names = categories.into_iter().map(Into::into).collect();
        Self::new(title.into(), value_label.into(), Kind::Categories { names, bars: false })
    }

    /// Bars from 0 with whiskers, one row per category: for amounts, where 0 means none.
    pub fn bars<S: Into<String>>(
        title: impl Into<String>,
        categories: impl IntoIterator<Item = S>,
        value_label: impl Into<String>,
    ) -> Self {
        let names = categories.into_iter().map(Into::into).collect();
        Self::new(title.into(), value_label.into(), Kind::Categories { names, bars: true })
    }

    /// The x scale of a line figure; nothing changes in a figure by category.
    #[must_use]
    pub fn x_scale(mut self, scale: Scale) -> Self {
        if let Kind::Lines { x_scale, .. } = &mut self.kind {
            *x_scale = scale;
        }
        self
    }

    /// Fixes the range of the values, e.g. 0 to 1 for a proportion; by default it follows the data.
    #[must_use]
    pub fn value_range(mut self, low: f64, high: f64) -> Self {
        self.value_range = Some((low, high));
        self
    }

    /// One or two sentences under the figure: what to see in it.
    #[must_use]
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }

    /// Adds a named series.
    #[must_use]
    pub fn series(
        mut self,
        label: impl Into<String>,
        points: impl IntoIterator<Item = Point>,
    ) -> Self {
        let points = points.into_iter().collect();
        self.series.push(Series { label: label.into(), points });
        self
    }

    /// Adds a named series with one effect per category, in their order; one without estimate
    /// leaves a gap.
    #[must_use]
    pub fn by_category(
        self,
        label: impl Into<String>,
        effects: impl IntoIterator<Item = Effect>,
    ) -> Self {
        let effects = effects.into_iter().enumerate();
        let points: Vec<Point> =
            effects.filter_map(|(at, effect)| Point::measured(at as f64, &effect)).collect();
        self.series(label, points)
    }

    /// Adds a dashed line at a value that readers compare with, e.g. chance.
    #[must_use]
    pub fn reference(mut self, label: impl Into<String>, value: f64) -> Self {
        self.references.push(Reference { label: label.into(), value });
        self
    }

    /// The fewest and the most seeds behind a point; 0 where nothing is measured over seeds.
    pub(crate) fn seeds(&self) -> (usize, usize) {
        let points = self.series.iter().flat_map(|series| &series.points);
        let counts: Vec<usize> = points.filter_map(|point| point.n).collect();
        let few = counts.iter().copied().min().unwrap_or(0);
        (few, counts.into_iter().max().unwrap_or(0))
    }

    /// The series all of whose points have fewer seeds than the most, where others have more.
    pub(crate) fn with_fewer(&self) -> Vec<&str> {
        let (few, most) = self.seeds();
        let is_fewer = |series: &&Series| {
            let counts: Vec<usize> = series.points.iter().filter_map(|point| point.n).collect();
            few < most && !counts.is_empty() && counts.iter().all(|n| *n < most)
        };
        self.series.iter().filter(is_fewer).map(|series| series.label.as_str()).collect()
    }

    /// Checks that there is something to draw and that the scales can show it.
    pub(crate) fn check(&self) -> Result<(), ReportError> {
        let refuse =
            |reason: String| Err(ReportError::Figure { figure: self.title.clone(), reason });
        if self.series.iter().all(|series| series.points.is_empty()) {
            return refuse("it has no points".to_owned());
        }
        if self.series.len() > MOST_SERIES {
            let count = self.series.len();
            return refuse(format!(
                "{count} series: allowed are {MOST_SERIES}, which can be told apart"
            ));
        }
        for Series { label, points } in &self.series {
            for (at, point) in points.iter().enumerate() {
                let (low, high) = point.interval.unwrap_or((point.y, point.y));
                if ![point.x, point.y, low, high].iter().all(|value| value.is_finite()) {
                    return refuse(format!("point {at} of `{label}` is not finite: {point:?}"));
                }
                match &self.kind {
                    Kind::Lines { x_scale: Scale::Log2 | Scale::Log10, .. } if point.x <= 0.0 => {
                        let x = point.x;
                        return refuse(format!(
                            "point {at} of `{label}` has x = {x} on a log scale"
                        ));
                    }
                    Kind::Categories { names, .. }
                        if !(0.0..names.len() as f64).contains(&point.x) =>
                    {
                        let (x, count) = (point.x, names.len());
                        return refuse(format!(
                            "point {at} of `{label}` has index {x}, there are {count} categories"
                        ));
                    }
                    _ => {}
                }
            }
        }
        if let Some(reference) = self.references.iter().find(|r| !r.value.is_finite()) {
            return refuse(format!("reference `{}` is {}", reference.label, reference.value));
        }
        match self.value_range {
            Some((low, high)) if !(low.is_finite() && high.is_finite() && low < high) => {
                refuse(format!("value range {low} to {high}: allowed is finite, low < high"))
            }
            _ => Ok(()),
        }
    }
}
