//! What is claimed: sentences of a source, and the comparisons that test them.

use serde::{Deserialize, Serialize};

use crate::Measure;

/// One sentence that a source makes, and what it is tested by.
///
/// Its contrasts and controls are constants of the code, and each contrast states when it was fixed
/// ([`Registered`]).
#[derive(Debug, Clone)]
pub struct Claim {
    /// Stable name on the command line: the finding's id, a slash, and the claim's own.
    pub id: &'static str,
    /// The sentence.
    pub sentence: &'static str,
    /// The comparisons that the sentence is about.
    pub contrasts: Vec<Contrast>,
    /// The comparisons in which the cause is removed and the effect must vanish.
    pub controls: Vec<Control>,
}

/// Where the claim puts the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The paired difference is at least the smallest effect that matters.
    Increase,
    /// The paired difference is at most minus the smallest effect that matters.
    Decrease,
    /// The paired difference is above minus the smallest effect (non-inferiority).
    NotBelow,
    /// The paired difference lies within plus or minus the smallest effect (equivalence).
    Unchanged,
}

impl Direction {
    /// The word in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Increase => "increase",
            Self::Decrease => "decrease",
            Self::NotBelow => "not below",
            Self::Unchanged => "unchanged",
        }
    }
}

/// When a contrast, its direction and its smallest effect were fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registered {
    /// Before any run.
    Before,
    /// Direction or smallest effect were set after a pilot, and before the runs that are reported.
    AfterPilot,
    /// After results were seen: it is shown and judged, and the verdict does not rest on it.
    PostHoc,
}

impl Registered {
    /// The words in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before any run",
            Self::AfterPilot => "after a pilot",
            Self::PostHoc => "post hoc",
        }
    }

    /// True if the verdict may rest on it.
    #[must_use]
    pub fn counts(self) -> bool {
        self != Self::PostHoc
    }
}

/// A comparison that the claim is about.
#[derive(Debug, Clone)]
pub struct Contrast {
    /// What is compared, e.g. `ECE: binary - with Brier`.
    pub name: String,
    /// The difference for one seed.
    pub measure: Measure,
    /// Where the claim puts the difference.
    pub direction: Direction,
    /// The smallest difference of interest, a finite number >= 0, in the metric's own unit. It is
    /// this project's choice, not the paper's: what the paper found is `published`.
    pub smallest_effect: f64,
    /// When direction and smallest effect were fixed.
    pub registered: Registered,
    /// The effect that the source reports, in words and with its setting, where it reports one.
    pub published: Option<&'static str>,
    /// The largest effect that the reference arm leaves room for, as a size whatever the direction
    /// (e.g. `1 - accuracy` for a rise in accuracy), for one seed. Where its mean lies below
    /// `smallest_effect` the contrast is undecided: no outcome could have shown the effect.
    pub room: Option<Measure>,
}

impl Contrast {
    /// A contrast fixed after a pilot, of which nothing is published and whose room is not limited.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        measure: Measure,
        direction: Direction,
        smallest_effect: f64,
    ) -> Self {
        Self {
            name: name.into(),
            measure,
            direction,
            smallest_effect,
            registered: Registered::AfterPilot,
            published: None,
            room: None,
        }
    }

    /// The claim is that the measure is at least `smallest_effect`.
    #[must_use]
    pub fn increase(name: impl Into<String>, measure: Measure, smallest_effect: f64) -> Self {
        Self::new(name, measure, Direction::Increase, smallest_effect)
    }

    /// The claim is that the measure is at most minus `smallest_effect`.
    #[must_use]
    pub fn decrease(name: impl Into<String>, measure: Measure, smallest_effect: f64) -> Self {
        Self::new(name, measure, Direction::Decrease, smallest_effect)
    }

    /// The claim is that the measure is above minus `smallest_effect`.
    #[must_use]
    pub fn not_below(name: impl Into<String>, measure: Measure, smallest_effect: f64) -> Self {
        Self::new(name, measure, Direction::NotBelow, smallest_effect)
    }

    /// The claim is that the measure lies within plus or minus `smallest_effect`.
    #[must_use]
    pub fn unchanged(name: impl Into<String>, measure: Measure, smallest_effect: f64) -> Self {
        Self::new(name, measure, Direction::Unchanged, smallest_effect)
    }

    /// The same, fixed at another time.
    #[must_use]
    pub fn registered(mut self, registered: Registered) -> Self {
        self.registered = registered;
        self
    }

    /// The same with the effect that the source reports.
    #[must_use]
    pub fn published(mut self, published: &'static str) -> Self {
        self.published = Some(published);
        self
    }

    /// The same with the largest effect that the reference arm leaves room for.
    #[must_use]
    pub fn room(mut self, room: Measure) -> Self {
        self.room = Some(room);
        self
    }
}

/// A comparison from which the cause is removed, so that its difference must vanish.
#[derive(Debug, Clone)]
pub struct Control {
    /// What is compared.
    pub name: String,
    /// The difference for one seed.
    pub measure: Measure,
    /// How far from 0 still counts as vanished, a finite number >= 0, in the metric's own unit.
    pub margin: f64,
}

impl Control {
    /// The measure must lie within plus or minus `margin`.
    #[must_use]
    pub fn new(name: impl Into<String>, measure: Measure, margin: f64) -> Self {
        Self { name: name.into(), measure, margin }
    }
}
