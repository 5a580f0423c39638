//! Names of arms and of what cells record: constants that an experiment provides and everybody else
//! uses.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An arm of an experiment; its name is part of file names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Arm(Cow<'static, str>);

impl Arm {
    /// An arm whose name is written in the code; [`Arm::from`] a `String` makes one of a family.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl From<String> for Arm {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl From<&str> for Arm {
    fn from(name: &str) -> Self {
        Self(Cow::Owned(name.to_owned()))
    }
}

impl From<&Arm> for Arm {
    fn from(arm: &Arm) -> Self {
        arm.clone()
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! metric {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type {
            name: Cow<'static, str>,
            label: Cow<'static, str>,
        }

        impl $type {
            /// Recorded and shown under one name.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self::labelled(name, name)
            }

            /// Recorded as `name`, and shown as `label` at the head of a column or beside an axis.
            #[must_use]
            pub const fn labelled(name: &'static str, label: &'static str) -> Self {
                Self { name: Cow::Borrowed(name), label: Cow::Borrowed(label) }
            }

            /// The name in records.
            #[must_use]
            pub fn name(&self) -> &str {
                &self.name
            }

            /// What tables and figures call it.
            #[must_use]
            pub fn label(&self) -> &str {
                &self.label
            }

            /// The same metric under another label.
            #[must_use]
            pub fn shown_as(mut self, label: impl Into<Cow<'static, str>>) -> Self {
                self.label = label.into();
                self
            }
        }

        impl From<String> for $type {
            fn from(name: String) -> Self {
                let name: Cow<'static, str> = Cow::Owned(name);
                Self { label: name.clone(), name }
            }
        }

        impl From<&$type> for $type {
            fn from(metric: &$type) -> Self {
                metric.clone()
            }
        }

        impl From<$type> for Metric {
            fn from(metric: $type) -> Self {
                Self::$type(metric)
            }
        }
    };
}

metric! {
    /// One number that a cell records.
    Scalar
}

metric! {
    /// A series of numbers that a cell records, e.g. one per step or per k.
    Series
}

metric! {
    /// A number with an interval of its own, over items that were recorded once: not over seeds.
    Estimate
}

impl Estimate {
    /// The scalars it is recorded as: estimate, lower and upper end, number of items.
    pub(crate) fn parts(&self) -> [Scalar; 4] {
        let name = &self.name;
        ["", ", low", ", high", ", items"].map(|part| Scalar::from(format!("{name}{part}")))
    }
}

/// Something that cells record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Metric {
    /// One number.
    Scalar(Scalar),
    /// A series of numbers.
    Series(Series),
    /// A number with an interval over items.
    Estimate(Estimate),
}

/// The metrics named, as a list of [`Metric`]s.
///
/// ```
/// use headwater_protocol::{Scalar, Series, metrics};
/// const ECE: Scalar = Scalar::labelled("ece", "expected calibration error");
/// const LOSS: Series = Series::new("loss");
/// assert_eq!(metrics![ECE, LOSS].len(), 2);
/// ```
#[macro_export]
macro_rules! metrics {
    ($($metric:expr),* $(,)?) => { vec![$($crate::Metric::from($metric)),*] };
}
