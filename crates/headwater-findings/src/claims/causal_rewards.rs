//! Asking a reward model for independence of a spurious factor takes the bias out of it, if
//! independence is asked for under the right condition.
//!
//! Wang et al. 2025, "Beyond Reward Hacking: Causal Rewards for LLM Alignment" (arXiv 2501.09620):
//! a penalty on the dependence of the reward on length, flattery, concepts or groups removes these
//! biases. Which variant is right depends on what causes what (Veitch et al. 2021, arXiv
//! 2106.00545).
//!
//! Parts, from the most controlled to the most real: planted text, where the right variant is known
//! before any run and texts with the factor toggled measure the bias exactly; sycophancy and
//! discrimination, where the factor is planted by the label in real text; a concept, on a training
//! set that was biased by selection; length, where nothing is planted and what people prefer in one
//! domain is wrong in another; and judges and reward models of others, through the same probes.
//!
//! What is compared shares data, encoder, epochs and initialisation and differs in the training
//! objective, the pairs or a correction only. Accuracy and bias are always shown together: a model
//! that got worse is less biased, too.

use headwater_protocol::{Claim, Contrast, Control, Finding, Measure, Registered, Scalar};
use headwater_report::Chapter;

use crate::experiments::causal_rewards_concept::{self as concept, CausalRewardsConcept};
use crate::experiments::causal_rewards_discrimination::{
    self as discrimination, CausalRewardsDiscrimination,
};
use crate::experiments::causal_rewards_length::{self as length, CausalRewardsLength};
use crate::experiments::causal_rewards_planted::{self as planted, CausalRewardsPlanted};
use crate::experiments::causal_rewards_recorded::CausalRewardsRecorded;
use crate::experiments::causal_rewards_sycophancy::{self as sycophancy, CausalRewardsSycophancy};
use headwater_data::DataDir;

mod page;

/// The finding.
pub(super) fn chapter(data: &DataDir) -> Chapter {
    let data = || data.clone();
    Chapter {
        finding: Finding {
            id: "causal-rewards",
            claim: "Making a reward independent of a spurious factor takes length, flattery, \
                    concept and group bias out of it; which independence is the right one follows \
                    from what causes what.",
            source: "Wang et al. 2025, Beyond Reward Hacking: Causal Rewards for LLM Alignment, \
                     arXiv 2501.09620; Veitch et al. 2021, arXiv 2106.00545",
            experiments: vec![
                Box::new(CausalRewardsPlanted),
                Box::new(CausalRewardsLength { data: data() }),
                Box::new(CausalRewardsConcept { data: data() }),
                Box::new(CausalRewardsSycophancy { data: data() }),
                Box::new(CausalRewardsDiscrimination { data: data() }),
                Box::new(CausalRewardsRecorded { data: data() }),
            ],
            claims: vec![four_at_once()],
            further: further(),
            controls: vec![],
        },
        differs: &[
            "Each bias is taken out of a model of its own; all four in one model are not tested.",
            "The paper trains language models of 8 billion parameters; here rewards are linear in \
             hashed words, trained by the same objective, which the paper leaves open in kernel, \
             bandwidth, estimator and bins.",
            "The paper's measure of flattery is what a policy writes after PPO; here the reward is \
             probed directly, and selection by it measured.",
            "On length the paper has curves of a policy against a length penalty; here rewards \
             trained on one domain of real pairs are tested on another, where people's preference \
             for length is the opposite.",
            "Of the concepts only the food of restaurant reviews is tested, on reviews of another \
             set, with human edits as the toggle instead of none.",
            "Of discrimination the paper reports a policy's coefficients on questions of decision; \
             here it is sentences made from templates about identity terms, half of which are \
             planted on the toxic side.",
            "Real sets are of one size: seeds split them anew and intervals speak of splits and \
             trainings, not of other texts.",
        ],
        parts: page::parts(),
    }
}

/// A factor and a structure of planted text, for which theory tells the right variant.
struct Case {
    factor: &'static str,
    structure: &'static str,
    right: &'static str,
    wrong: &'static str,
}

const fn label_first(factor: &'static str) -> Case {
    Case { factor, structure: "label-first", right: "conditional", wrong: "unconditional" }
}

const fn factor_first(factor: &'static str) -> Case {
    Case { factor, structure: "factor-first", right: "unconditional", wrong: "conditional" }
}

/// Planted flattery whose label came first.
const FLATTERY: Case = label_first("flattery");

/// What the paper reports of flattery.
const PUBLISHED_REMOVAL: &str =
    "always flattering: vanilla 92.7%, conditional 19.8% (their table 1)";
const PUBLISHED_VARIANT: &str = "always flattering: unconditional 62.6%, conditional 19.8%";

impl Case {
    fn words(&self) -> String {
        format!("{}, {}", self.factor, self.structure.replace('-', " "))
    }

    fn difference(&self, metric: &Scalar, method: &str, against: &str) -> Measure {
        let arm = |method| planted::arm(self.factor, self.structure, method);
        metric.difference(arm(method), arm(against))
    }

    /// The right variant takes the bias out.
    fn removal(&self) -> Contrast {
        let name = format!("{}: size of toggle effect, {} - vanilla", self.words(), self.right);
        let right = planted::variant(self.right, planted::STRONG);
        let measure = self.difference(&planted::TOGGLE_SIZE, &right, "vanilla");
        Contrast::decrease(name, measure, 0.3)
    }

    /// The wrong variant leaves more of it.
    fn variant(&self) -> Contrast {
        let Self { right, wrong, .. } = self;
        let name = format!("{}: size of toggle effect, {wrong} - {right}", self.words());
        let [right, wrong] = [right, wrong].map(|name| planted::variant(name, planted::STRONG));
        let measure = self.difference(&planted::TOGGLE_SIZE, &wrong, &right);
        Contrast::increase(name, measure, 0.1)
    }

    /// With another factor in the place of its own the bias must stay.
    fn tampered(&self, words: &str, method: &str) -> Control {
        let name = format!("{}, {words} factor: toggle effect - vanilla's", self.words());
        Control::new(name, self.difference(&planted::TOGGLE, method, "vanilla"), 0.15)
    }
}

/// A metric of one method less that of another, trained on one domain of real pairs.
fn of_length(metric: &Scalar, home: &str, method: &str) -> Measure {
    metric.difference(length::arm(home, method), length::arm(home, "vanilla"))
}

fn of_concept(metric: &Scalar, name: &str, against: &str) -> Measure {
    metric.difference(concept::arm(name), concept::arm(against))
}

fn of_prefix(metric: &Scalar, method: &str, against: &str) -> Measure {
    let arm = |method| sycophancy::Form::Prefix.arm(method);
    metric.difference(arm(method), arm(against))
}

fn of_opinions(metric: &Scalar, method: &str, against: &str) -> Measure {
    let arm = |method| sycophancy::Form::Opinion.arm(method);
    metric.difference(arm(method), arm(against))
}

fn of_terms(metric: &Scalar, method: &str, against: &str) -> Measure {
    metric.difference(discrimination::arm(method), discrimination::arm(against))
}

/// Each bias is taken out of a model of its own. Accuracy is to stay: a model that got worse is
/// less biased, too.
fn four_at_once() -> Claim {
    let conditional = planted::variant("conditional", planted::STRONG);
    let mut contrasts = vec![
        FLATTERY.removal().published(PUBLISHED_REMOVAL),
        factor_first("flattery").removal(),
        label_first("length").removal(),
        factor_first("length").removal(),
        Contrast::not_below(
            "flattery, label first: accuracy on fair pairs, conditional - vanilla",
            FLATTERY.difference(&planted::ACCURACY, &conditional, "vanilla"),
            0.02,
        ),
    ];
    contrasts.extend(length_removed());
    contrasts.extend([
        Contrast::decrease(
            "concept: size of bias, within answer and label - vanilla",
            of_concept(&concept::BIAS_SIZE, "within-answer-and-label", "vanilla"),
            0.05,
        ),
        Contrast::decrease(
            "prefix on real pairs: size of toggle effect, conditional - vanilla",
            of_prefix(&sycophancy::TOGGLE_SIZE, "conditional", "vanilla"),
            0.3,
        )
        .published(PUBLISHED_REMOVAL),
        // In the first pilot labels were without noise, and vanilla learnt no bias that could be
        // taken away; with them it shifts by about 0.13, which leaves no room for the 0.1 that had
        // been asked for.
        Contrast::decrease(
            "opinions: shift to the user's by the biography, conditional - vanilla",
            of_opinions(&sycophancy::SHIFT, "conditional", "vanilla"),
            0.05,
        ),
        Contrast::decrease(
            "identity terms: size of toggle effect, conditional - vanilla",
            of_terms(&discrimination::TOGGLE_SIZE, "conditional", "vanilla"),
            0.3,
        ),
    ]);
    Claim {
        id: "causal-rewards/four-at-once",
        sentence: "Counterfactual invariance removes length, sycophancy, concept and group bias in \
                   one model.",
        contrasts,
        controls: controls(),
    }
}

fn length_removed() -> [Contrast; 4] {
    let excess = length::excess_size("away");
    [
        Contrast::decrease(
            "helpful to harmless: size of excess preference for the longer, \
             unconditional - vanilla",
            of_length(&excess, "helpful", "unconditional"),
            0.05,
        ),
        Contrast::decrease(
            "harmless to helpful: size of excess preference for the longer, \
             unconditional - vanilla",
            of_length(&excess, "harmless", "unconditional"),
            0.05,
        ),
        Contrast::not_below(
            "helpful to harmless: accuracy away, unconditional - vanilla",
            of_length(&length::accuracy("away"), "helpful", "unconditional"),
            0.02,
        ),
        // Away, vanilla is below chance, so that a coin would pass; at home one sees what was given
        // up.
        Contrast::not_below(
            "helpful: accuracy at home, unconditional - vanilla",
            of_length(&length::accuracy("home"), "helpful", "unconditional"),
            0.02,
        )
        .registered(Registered::PostHoc),
    ]
}

/// Which variant is the right one, that there is a bias to be removed, and what pairs of a text and
/// its edit do.
fn further() -> Vec<Contrast> {
    vec![
        FLATTERY.variant().published(PUBLISHED_VARIANT),
        factor_first("flattery").variant(),
        label_first("length").variant(),
        factor_first("length").variant(),
        Contrast::increase(
            "concept: accuracy on positive - on negative reviews, biased - fair training set",
            of_concept(&concept::BIAS, "vanilla", "fair"),
            0.05,
        )
        .published("vanilla on other reviews, concept food: 0.073 (their table 3)"),
        Contrast::decrease(
            "concept: size of bias, within answer - unconditional",
            of_concept(&concept::BIAS_SIZE, "within-answer", "unconditional"),
            0.05,
        ),
        Contrast::increase(
            "prefix on real pairs: size of toggle effect, unconditional - conditional",
            of_prefix(&sycophancy::TOGGLE_SIZE, "unconditional", "conditional"),
            0.1,
        )
        .published(PUBLISHED_VARIANT),
        Contrast::increase(
            "identity terms: size of toggle effect, unconditional - conditional",
            of_terms(&discrimination::TOGGLE_SIZE, "unconditional", "conditional"),
            0.1,
        ),
        Contrast::decrease(
            "film reviews: accuracy lost from originals to edits, \
             trained with edits - on originals",
            discrimination::LOST
                .difference(discrimination::EDITS_PAIRED, discrimination::EDITS_ORIGINALS),
            0.1,
        ),
    ]
}

/// The factor is dealt out anew, or is another one: the bias must stay.
fn controls() -> Vec<Control> {
    vec![
        FLATTERY.tampered("permuted", "permuted"),
        FLATTERY.tampered("wrong", "wrong-factor"),
        factor_first("flattery").tampered("permuted", "permuted"),
        label_first("length").tampered("permuted", "permuted"),
        factor_first("length").tampered("permuted", "permuted"),
        Control::new(
            "helpful to harmless, permuted factor: excess preference for the longer - vanilla's",
            of_length(&length::excess("away"), "helpful", "permuted"),
            0.05,
        ),
        Control::new(
            "concept, permuted factor: accuracy on positive - on negative reviews, less vanilla's",
            of_concept(&concept::BIAS, "permuted", "vanilla"),
            0.05,
        ),
        Control::new(
            "prefix on real pairs, permuted factor: toggle effect - vanilla's",
            of_prefix(&sycophancy::TOGGLE, "permuted", "vanilla"),
            0.15,
        ),
        Control::new(
            "opinions, permuted factor: shift to the user's - vanilla's",
            of_opinions(&sycophancy::SHIFT, "permuted", "vanilla"),
            0.05,
        ),
        Control::new(
            "identity terms, permuted factor: toggle effect - vanilla's",
            of_terms(&discrimination::TOGGLE, "permuted", "vanilla"),
            0.15,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use headwater_protocol::{Cell, DeviceKind, Experiment, Preset, Settings};

    use super::*;

    #[test]
    fn without_data_the_real_parts_are_not_run_and_planted_text_is() {
        let settings = Settings { preset: Preset::Smoke, seeds: Some(2), device: DeviceKind::Flex };
        let plan = chapter(&DataDir::default()).finding.plan(&settings, &[]).unwrap();
        let planted = CausalRewardsPlanted.plan(&settings).unwrap().cells;
        let arms = |cells: &[Cell]| -> Vec<(String, u64)> {
            cells.iter().map(|cell| (cell.arm.to_string(), cell.seed)).collect()
        };
        assert_eq!(arms(&plan.cells), arms(&planted));
        let real = 2 * length::METHODS.len()
            + concept::METHODS.len()
            + sycophancy::Form::Prefix.methods().len()
            + sycophancy::Form::Opinion.methods().len()
            + discrimination::METHODS.len()
            + discrimination::SOURCES.len()
            + 1;
        assert_eq!(plan.not_run.len(), real);
        assert!(plan.not_run.iter().all(|not_run| not_run.reason.contains("not found")));
    }
}
