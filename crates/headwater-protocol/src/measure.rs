//! What is compared, as a value: which numbers of which arms, and how they are put together.
//!
//! A [`Measure`] is one number of one seed. The plain ones read a record ([`Scalar::of`],
//! [`Series::last`], [`Series::mean`]); `-`, `/`, [`Measure::ln`] and the like make differences,
//! ratios, log ratios and differences of differences of them. What it reads is known without
//! reading anything, so that a misspelt name is found when a run is planned.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::{Arm, ProtocolError, Scalar, SeedRecords, Series};

/// A metric of an arm.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Read {
    /// One number.
    Scalar(Scalar, Arm),
    /// A series of numbers.
    Series(Series, Arm),
    /// One number that a record may lack, e.g. a rate among none: nothing is read then.
    Rare(Scalar, Arm),
}

impl Read {
    /// The arm that is read.
    #[must_use]
    pub fn arm(&self) -> &Arm {
        match self {
            Self::Scalar(_, arm) | Self::Series(_, arm) | Self::Rare(_, arm) => arm,
        }
    }

    /// What is read at one seed: one number of a scalar, all of a series, or nothing.
    ///
    /// # Errors
    /// When the arm has no record, or its record lacks what is not rare.
    pub fn values(&self, seed: &SeedRecords<'_>) -> Result<Vec<f64>, ProtocolError> {
        match self {
            Self::Scalar(metric, arm) => Ok(vec![seed.scalar(arm, metric)?]),
            Self::Series(metric, arm) => Ok(seed.series(arm, metric)?.to_vec()),
            Self::Rare(metric, arm) => match seed.scalar(arm, metric) {
                Ok(value) => Ok(vec![value]),
                Err(ProtocolError::NoMetric { .. }) => Ok(Vec::new()),
                Err(error) => Err(error),
            },
        }
    }
}

/// A place in a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Counted from 0.
    FromStart(usize),
    /// Counted from the last, which is 0.
    FromEnd(usize),
}

/// Computes one number of the values of what is read: a slice for each, in order, which holds one
/// number where a scalar is read.
pub type Compute = fn(&[&[f64]]) -> Result<f64, ProtocolError>;

/// Two measures as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    /// The first and the second.
    Sum,
    /// The first less the second.
    Difference,
    /// The first times the second.
    Product,
    /// The first over the second.
    Ratio,
}

/// One number of one seed.
#[derive(Debug, Clone)]
pub enum Measure {
    /// A number that is the same at every seed.
    Constant(f64),
    /// A recorded number.
    Scalar(Scalar, Arm),
    /// One position of a recorded series.
    At(Series, Arm, Position),
    /// The mean of a recorded series: the area under its curve over its length.
    Area(Series, Arm),
    /// Two measures as one.
    Pair(Pair, Box<Measure>, Box<Measure>),
    /// The natural logarithm.
    Ln(Box<Measure>),
    /// The size without its sign.
    Abs(Box<Measure>),
    /// 1 where a measure reaches the bound and 0 where it does not: over seeds it is a share.
    Reaches(Box<Measure>, f64),
    /// The mean of several.
    Mean(Vec<Measure>),
    /// The largest of several.
    Largest(Vec<Measure>),
    /// What no formula above says: a function of what it declares to read.
    Computed {
        /// What it computes, in a few words.
        name: &'static str,
        /// What it is given, in this order.
        reads: Vec<Read>,
        /// The function.
        compute: Compute,
    },
}

impl Scalar {
    /// This number of `arm`.
    #[must_use]
    pub fn of(&self, arm: impl Into<Arm>) -> Measure {
        Measure::Scalar(self.clone(), arm.into())
    }

    /// This number of `arm` less that of `against`: the paired difference most contrasts are.
    #[must_use]
    pub fn difference(&self, arm: impl Into<Arm>, against: impl Into<Arm>) -> Measure {
        self.of(arm) - self.of(against)
    }

    /// This number of `arm`, to be read by a [`Measure::computed`].
    #[must_use]
    pub fn read(&self, arm: impl Into<Arm>) -> Read {
        Read::Scalar(self.clone(), arm.into())
    }

    /// The same of a number that a record may lack: an empty slice then.
    #[must_use]
    pub fn read_rare(&self, arm: impl Into<Arm>) -> Read {
        Read::Rare(self.clone(), arm.into())
    }
}

impl Series {
    /// The value at a position counted from 0.
    #[must_use]
    pub fn at(&self, position: usize, arm: impl Into<Arm>) -> Measure {
        Measure::At(self.clone(), arm.into(), Position::FromStart(position))
    }

    /// The first value.
    #[must_use]
    pub fn first(&self, arm: impl Into<Arm>) -> Measure {
        self.at(0, arm)
    }

    /// The last value.
    #[must_use]
    pub fn last(&self, arm: impl Into<Arm>) -> Measure {
        self.from_end(0, arm)
    }

    /// The value at a position counted from the last, which is 0.
    #[must_use]
    pub fn from_end(&self, position: usize, arm: impl Into<Arm>) -> Measure {
        Measure::At(self.clone(), arm.into(), Position::FromEnd(position))
    }

    /// The last value less the first.
    #[must_use]
    pub fn change(&self, arm: impl Into<Arm>) -> Measure {
        let arm = arm.into();
        self.last(&arm) - self.first(&arm)
    }

    /// The mean of all values: the area under the curve over its length.
    #[must_use]
    pub fn mean(&self, arm: impl Into<Arm>) -> Measure {
        Measure::Area(self.clone(), arm.into())
    }

    /// The whole series, to be read by a [`Measure::computed`].
    #[must_use]
    pub fn read(&self, arm: impl Into<Arm>) -> Read {
        Read::Series(self.clone(), arm.into())
    }
}

impl Measure {
    /// A function of what it declares to read.
    #[must_use]
    pub fn computed(
        name: &'static str,
        reads: impl IntoIterator<Item = Read>,
        compute: Compute,
    ) -> Self {
        Self::Computed { name, reads: reads.into_iter().collect(), compute }
    }

    /// The mean of several measures.
    #[must_use]
    pub fn mean(of: impl IntoIterator<Item = Self>) -> Self {
        Self::Mean(of.into_iter().collect())
    }

    /// The largest of several measures.
    #[must_use]
    pub fn largest(of: impl IntoIterator<Item = Self>) -> Self {
        Self::Largest(of.into_iter().collect())
    }

    /// The natural logarithm.
    #[must_use]
    pub fn ln(self) -> Self {
        Self::Ln(Box::new(self))
    }

    /// The size without its sign.
    #[must_use]
    pub fn abs(self) -> Self {
        Self::Abs(Box::new(self))
    }

    /// 1 where it is `bound` or more, else 0.
    #[must_use]
    pub fn reaches(self, bound: f64) -> Self {
        Self::Reaches(Box::new(self), bound)
    }

    /// Everything it reads, each once.
    #[must_use]
    pub fn reads(&self) -> BTreeSet<Read> {
        let mut reads = BTreeSet::new();
        self.gather(&mut reads);
        reads
    }

    fn gather(&self, reads: &mut BTreeSet<Read>) {
        match self {
            Self::Constant(_) => {}
            Self::Scalar(metric, arm) => _ = reads.insert(metric.read(arm)),
            Self::At(series, arm, _) | Self::Area(series, arm) => {
                _ = reads.insert(series.read(arm));
            }
            Self::Pair(_, first, second) => {
                first.gather(reads);
                second.gather(reads);
            }
            Self::Ln(of) | Self::Abs(of) | Self::Reaches(of, _) => of.gather(reads),
            Self::Mean(all) | Self::Largest(all) => all.iter().for_each(|one| one.gather(reads)),
            Self::Computed { reads: declared, .. } => reads.extend(declared.iter().cloned()),
        }
    }

    /// Its value at one seed.
    ///
    /// # Errors
    /// [`ProtocolError::NoRecord`] or [`ProtocolError::NoMetric`] when something it reads is not
    /// there, [`ProtocolError::Undefined`] when it has no value, e.g. the mean of nothing.
    pub fn at_seed(&self, seed: &SeedRecords<'_>) -> Result<f64, ProtocolError> {
        let undefined = |why: &str| ProtocolError::Undefined(format!("{self}: {why}"));
        let all = |measures: &[Self]| -> Result<Vec<f64>, ProtocolError> {
            let values: Vec<f64> =
                measures.iter().map(|one| one.at_seed(seed)).collect::<Result<_, _>>()?;
            if values.is_empty() { Err(undefined("there is nothing")) } else { Ok(values) }
        };
        match self {
            Self::Constant(value) => Ok(*value),
            Self::Scalar(metric, arm) => seed.scalar(arm, metric),
            Self::At(series, arm, position) => {
                let values = seed.series(arm, series)?;
                let at = match position {
                    Position::FromStart(at) => Some(*at),
                    Position::FromEnd(back) => values.len().checked_sub(back + 1),
                };
                let value = at.and_then(|at| values.get(at)).copied();
                value.ok_or_else(|| seed.lacks(arm, "value", &format!("{self}")))
            }
            Self::Area(series, arm) => match seed.series(arm, series)? {
                [] => Err(undefined("the series is empty")),
                values => Ok(values.iter().sum::<f64>() / values.len() as f64),
            },
            Self::Pair(pair, first, second) => {
                let (first, second) = (first.at_seed(seed)?, second.at_seed(seed)?);
                Ok(match pair {
                    Pair::Sum => first + second,
                    Pair::Difference => first - second,
                    Pair::Product => first * second,
                    Pair::Ratio => first / second,
                })
            }
            Self::Ln(of) => Ok(of.at_seed(seed)?.ln()),
            Self::Abs(of) => Ok(of.at_seed(seed)?.abs()),
            Self::Reaches(of, bound) => Ok(f64::from(of.at_seed(seed)? >= *bound)),
            Self::Mean(measures) => {
                let values = all(measures)?;
                Ok(values.iter().sum::<f64>() / values.len() as f64)
            }
            Self::Largest(measures) => {
                Ok(all(measures)?.into_iter().fold(f64::NEG_INFINITY, f64::max))
            }
            Self::Computed { reads, compute, .. } => {
                let values: Vec<Vec<f64>> =
                    reads.iter().map(|read| read.values(seed)).collect::<Result<_, _>>()?;
                let slices: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
                compute(&slices)
            }
        }
    }

    fn pair(self, pair: Pair, other: Self) -> Self {
        Self::Pair(pair, Box::new(self), Box::new(other))
    }
}

impl From<f64> for Measure {
    fn from(value: f64) -> Self {
        Self::Constant(value)
    }
}

macro_rules! operators {
    ($($trait:ident, $method:ident, $pair:ident;)*) => { $(
        impl<M: Into<Measure>> $trait<M> for Measure {
            type Output = Measure;

            fn $method(self, other: M) -> Measure {
                self.pair(Pair::$pair, other.into())
            }
        }

        impl $trait<Measure> for f64 {
            type Output = Measure;

            fn $method(self, other: Measure) -> Measure {
                Measure::from(self).pair(Pair::$pair, other)
            }
        }
    )* };
}

operators! {
    Add, add, Sum;
    Sub, sub, Difference;
    Mul, mul, Product;
    Div, div, Ratio;
}

impl Neg for Measure {
    type Output = Measure;

    fn neg(self) -> Measure {
        -1.0 * self
    }
}

/// The formula, e.g. `pass@256 of nsr - pass@256 of psr`.
impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, name: &str, all: &[Self]| {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            write!(f, "{name}({})", all.join(", "))
        };
        // What an operator stands in is put in brackets, so that a formula reads one way only.
        let inner = |of: &Self| match of {
            Self::Pair(..) => format!("({of})"),
            _ => of.to_string(),
        };
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::Scalar(metric, arm) => write!(f, "{} of {arm}", metric.name()),
            Self::At(series, arm, Position::FromStart(at)) => {
                write!(f, "{}[{at}] of {arm}", series.name())
            }
            Self::At(series, arm, Position::FromEnd(0)) => {
                write!(f, "last {} of {arm}", series.name())
            }
            Self::At(series, arm, Position::FromEnd(back)) => {
                write!(f, "{}[last - {back}] of {arm}", series.name())
            }
            Self::Area(series, arm) => write!(f, "mean {} of {arm}", series.name()),
            Self::Pair(pair, first, second) => {
                let sign = match pair {
                    Pair::Sum => "+",
                    Pair::Difference => "-",
                    Pair::Product => "x",
                    Pair::Ratio => "/",
                };
                write!(f, "{} {sign} {}", inner(first), inner(second))
            }
            Self::Ln(of) => write!(f, "ln({of})"),
            Self::Abs(of) => write!(f, "|{of}|"),
            Self::Reaches(of, bound) => write!(f, "[{of} >= {bound}]"),
            Self::Mean(all) => list(f, "mean", all),
            Self::Largest(all) => list(f, "largest", all),
            Self::Computed { name, .. } => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Metrics, Records};

    const SCORE: Scalar = Scalar::new("score");
    const CURVE: Series = Series::new("curve");
    const A: Arm = Arm::new("a");
    const B: Arm = Arm::new("b");

    fn records() -> Records {
        let metrics =
            |score, curve: [f64; 3]| Metrics::new().scalar(&SCORE, score).series(&CURVE, curve);
        Records::new([(A, 0, metrics(3.0, [1.0, 2.0, 6.0])), (B, 0, metrics(2.0, [0.0, 1.0, 1.0]))])
    }

    fn value(measure: &Measure) -> Result<f64, ProtocolError> {
        measure.at_seed(&records().seed(0))
    }

    #[test]
    fn measures_are_what_their_formulas_say() {
        let largest = Measure::largest([SCORE.of(A), SCORE.of(B)]);
        for (measure, formula, expected) in [
            (SCORE.difference(A, B), "score of a - score of b", 1.0),
            (SCORE.of(A) / SCORE.of(B) - 1.0, "(score of a / score of b) - 1", 0.5),
            ((SCORE.of(A) / SCORE.of(B)).ln(), "ln(score of a / score of b)", 1.5f64.ln()),
            (1.0 - SCORE.of(A), "1 - score of a", -2.0),
            (-CURVE.first(A), "-1 x curve[0] of a", -1.0),
            (CURVE.change(A), "last curve of a - curve[0] of a", 5.0),
            (CURVE.from_end(1, A), "curve[last - 1] of a", 2.0),
            (CURVE.mean(A) - CURVE.mean(B), "mean curve of a - mean curve of b", 3.0 - 2.0 / 3.0),
            (SCORE.difference(B, A).abs(), "|score of b - score of a|", 1.0),
            (SCORE.of(A).reaches(3.0), "[score of a >= 3]", 1.0),
            (SCORE.of(B).reaches(3.0), "[score of b >= 3]", 0.0),
            (Measure::mean([SCORE.of(A), SCORE.of(B)]), "mean(score of a, score of b)", 2.5),
            (largest + 1.0, "largest(score of a, score of b) + 1", 4.0),
        ] {
            assert_eq!(measure.to_string(), formula);
            assert_eq!(value(&measure).unwrap(), expected, "{formula}");
        }
    }

    #[test]
    fn a_function_is_given_what_it_declares_and_nothing_else() {
        let weighted = Measure::computed("weighted", [SCORE.read(A), CURVE.read(B)], |read| {
            assert_eq!(read.len(), 2);
            Ok(read[0][0] * read[1].iter().sum::<f64>())
        });
        assert_eq!(value(&weighted).unwrap(), 6.0);
        let rare = [Scalar::new("rate").read_rare(A), SCORE.read_rare(B)];
        let counted = Measure::computed("counted", rare, |read| {
            Ok((10 * read[0].len() + read[1].len()) as f64)
        });
        assert_eq!(value(&counted).unwrap(), 1.0);
        let both = (weighted - SCORE.of(A)).reads();
        assert_eq!(both.into_iter().collect::<Vec<_>>(), [SCORE.read(A), CURVE.read(B)]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let message = |measure: Measure| value(&measure).unwrap_err().to_string();
        assert_eq!(message(SCORE.of("c")), "arm `c` has no record at seed 0");
        assert!(message(Scalar::new("ece").of(A)).contains("has no scalar `ece`; it has: score"));
        assert!(message(CURVE.at(3, A)).contains("has no value `curve[3] of a`"));
        assert!(message(CURVE.from_end(3, A)).contains("`curve[last - 3] of a`"));
        assert!(message(Measure::mean([])).contains("there is nothing"));
    }
}
