//! A weighted sum of rewards whose parts are held to their declared ranges.

use headwater_core::{Sample, Score};

use crate::error::RewardError;
use crate::reward::{checked_score, shared_invariances};
use crate::{Invariance, Range, Reward, WhenAbstained};

/// One part of a [`Mixture`].
pub struct Component {
    reward: Box<dyn Reward>,
    weight: f64,
    when_abstained: WhenAbstained,
}

impl Component {
    /// A part with this weight (finite, not 0; negative for a penalty) that makes the mixture
    /// abstain when it does.
    #[must_use]
    pub fn new(weight: f64, reward: impl Reward + 'static) -> Self {
        Self { reward: Box::new(reward), weight, when_abstained: WhenAbstained::Abstain }
    }

    /// The same part, counted as `value` when it abstains.
    #[must_use]
    pub fn or_when_abstained(self, value: f64) -> Self {
        Self { when_abstained: WhenAbstained::Substitute(value), ..self }
    }

    /// The part's score after its abstention rule: checked against its range, failures named.
    fn resolve(&self, sample: Sample<'_>) -> Score {
        resolve(&*self.reward, self.when_abstained, sample)
    }
}

/// A checked score, with an abstention replaced as the composite's author decided and every reason
/// naming its part.
pub(crate) fn resolve(
    reward: &dyn Reward,
    when_abstained: WhenAbstained,
    sample: Sample<'_>,
) -> Score {
    let named = |reason: String| format!("`{}`: {reason}", reward.name());
    match (checked_score(reward, sample), when_abstained) {
        (Score::Abstained(_), WhenAbstained::Substitute(value)) => Score::Scored(value),
        (Score::Abstained(reason), WhenAbstained::Abstain) => Score::Abstained(named(reason)),
        (Score::Failed(reason), _) => Score::Failed(named(reason)),
        (scored, _) => scored,
    }
}

/// Refuses a substitute outside the part's declared range.
pub(crate) fn require_substitute(
    composite: &'static str,
    index: usize,
    reward: &dyn Reward,
    when_abstained: WhenAbstained,
) -> Result<(), RewardError> {
    match when_abstained {
        WhenAbstained::Substitute(value) if !reward.range().contains(value) => {
            Err(RewardError::Part {
                composite,
                index,
                part: reward.name().to_owned(),
                field: "value when abstained",
                value: value.to_string(),
                allowed: "a finite value in the part's declared range",
            })
        }
        _ => Ok(()),
    }
}

/// `sum of weight * score`, in the sum of the weighted ranges.
///
/// A failed part fails the mixture; otherwise a part that abstains makes it abstain, unless it has
/// a substitute value. Every reason names the part. Nothing is normalised: weights mean what the
/// declared ranges make them mean. Beware of normalising the *sum* by its spread within a group
/// afterwards: the part that varies most then sets the scale, however small its weight;
/// [`Mixture::breakdown`] gives the parts to look at.
pub struct Mixture {
    name: String,
    components: Vec<Component>,
    range: Range,
    invariances: Vec<Invariance>,
}

impl Mixture {
    /// A mixture of at least one component.
    ///
    /// # Errors
    /// No components, a weight that is 0, not finite or so large that the range of the sum is no
    /// longer finite where the part's is, or a substitute outside its part's range.
    pub fn new(name: impl Into<String>, components: Vec<Component>) -> Result<Self, RewardError> {
        if components.is_empty() {
            return Err(RewardError::NoParts { composite: "Mixture" });
        }
        let mut range = Range::spanning(0.0, 0.0);
        for (index, component) in components.iter().enumerate() {
            let weight = |allowed| RewardError::Part {
                composite: "Mixture",
                index,
                part: component.reward.name().to_owned(),
                field: "weight",
                value: component.weight.to_string(),
                allowed,
            };
            if !component.weight.is_finite() || component.weight == 0.0 {
                return Err(weight("a finite number other than 0"));
            }
            require_substitute("Mixture", index, &*component.reward, component.when_abstained)?;
            let part = component.reward.range().scaled(component.weight);
            range = part
                .and_then(|part| range.plus(part))
                .ok_or_else(|| weight("a number with which the range of the sum stays finite"))?;
        }
        let invariances = shared_invariances(components.iter().map(|part| &*part.reward));
        Ok(Self { name: name.into(), components, range, invariances })
    }

    /// The score of each part, unweighted, in order: name and score after its abstention rule.
    #[must_use]
    pub fn breakdown(&self, sample: Sample<'_>) -> Vec<(&str, Score)> {
        self.components.iter().map(|part| (part.reward.name(), part.resolve(sample))).collect()
    }
}

impl Reward for Mixture {
    fn name(&self) -> &str {
        &self.name
    }

    fn range(&self) -> Range {
        self.range
    }

    fn invariances(&self) -> &[Invariance] {
        &self.invariances
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let mut sum = 0.0;
        let mut abstained = None;
        for component in &self.components {
            match component.resolve(sample) {
                Score::Scored(value) => sum += component.weight * value,
                // A later failure outranks it: something is broken, which is worse than not
                // applying.
                Score::Abstained(reason) => abstained = abstained.or(Some(reason)),
                Score::Failed(reason) => return Score::Failed(reason),
            }
        }
        abstained.map_or_else(|| Score::finite(sum), Score::Abstained)
    }
}
