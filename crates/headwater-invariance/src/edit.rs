//! What an edit is.

use std::fmt;
use std::sync::Arc;

use proptest::strategy::{BoxedStrategy, Strategy};

use crate::sample::OwnedSample;

type Apply = dyn Fn(&OwnedSample) -> Option<OwnedSample> + Send + Sync;

/// One concrete change, ready to be applied to any sample.
#[derive(Clone)]
pub struct Change {
    description: String,
    apply: Arc<Apply>,
}

impl Change {
    /// The edited sample; `None` when there is nothing in it to edit.
    #[must_use]
    pub fn apply(&self, sample: &OwnedSample) -> Option<OwnedSample> {
        // An edit that returns its input has not been applied either.
        (self.apply)(sample).filter(|edited| edited != sample)
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

/// A named family of changes, drawn and shrunk by a proptest strategy.
#[derive(Debug, Clone)]
pub struct Edit {
    name: String,
    changes: BoxedStrategy<Change>,
}

impl Edit {
    /// An edit that draws its parameters from `parameters` and applies them with `apply`, which
    /// returns `None` for a sample it has nothing to do on.
    ///
    /// Let the strategy shrink towards the mildest change, and keep `apply` deterministic.
    ///
    /// ```
    /// use headwater_invariance::Edit;
    /// use proptest::prelude::*;
    ///
    /// let shouting = Edit::new("exclamation marks", 1..4_usize, |&marks, sample| {
    ///     let mut edited = sample.clone();
    ///     edited.completion.push_str(&"!".repeat(marks));
    ///     Some(edited)
    /// });
    /// assert_eq!(shouting.name(), "exclamation marks");
    /// ```
    pub fn new<P>(
        name: impl Into<String>,
        parameters: P,
        apply: impl Fn(&P::Value, &OwnedSample) -> Option<OwnedSample> + Send + Sync + 'static,
    ) -> Self
    where
        P: Strategy + 'static,
        P::Value: Clone + Send + Sync + 'static,
    {
        let apply = Arc::new(apply);
        let changes = parameters.prop_map(move |value| {
            let apply = Arc::clone(&apply);
            let description = format!("{value:?}");
            Change { description, apply: Arc::new(move |sample| apply(&value, sample)) }
        });
        Self { name: name.into(), changes: changes.boxed() }
    }

    /// The name used in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The strategy of its changes.
    pub fn changes(&self) -> &BoxedStrategy<Change> {
        &self.changes
    }
}
