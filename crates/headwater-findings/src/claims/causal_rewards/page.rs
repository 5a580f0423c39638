//! Figures and tables of the finding.

use headwater_protocol::Arm;
use headwater_report::{Column, Figure, LabelledArm, Part, Scale, Table, Value};

use crate::experiments::causal_rewards_concept as concept;
use crate::experiments::causal_rewards_discrimination::{self as discrimination, SOURCES};
use crate::experiments::causal_rewards_length::{self as length, HOMES, LEVELS, PLACES, SUBSETS};
use crate::experiments::causal_rewards_planted::{
    self as planted, FACTORS, OTHERS, STRONG, STRUCTURES, TOGGLE, VARIANTS, WEIGHTS,
};
use crate::experiments::causal_rewards_recorded::{
    self as recorded, JUDGES, KINDS, MODELS, OF_JUDGES, OF_MODELS, PHI, RECORDED, REWARD_MODELS,
    SPEARMAN_CONTROLLED, SPEARMAN_RAW,
};
use crate::experiments::causal_rewards_sycophancy::{self as sycophancy, Form};

pub(super) fn parts() -> Vec<Part> {
    let factors = || FACTORS.map(|(factor, _)| factor).into_iter();
    let homes = || HOMES.map(|(home, _)| home).into_iter();
    vec![
        Part::new("Planted text")
            .figures(factors().map(by_weight))
            .figures(factors().map(by_method))
            .tables(factors().flat_map(|factor| {
                STRUCTURES.map(|(structure, _)| of_structure(factor, structure))
            })),
        Part::new("Length, on real pairs")
            .figures(homes().map(ranked_first))
            .tables(homes().flat_map(|home| [of_lengths(home), styles(home)])),
        Part::new("A concept, on restaurant reviews").figure(concept_bias()).table(of_concept()),
        Part::new("Sycophancy").figures(flattery()).tables([of_prefix(), of_opinions()]),
        Part::new("Discrimination")
            .figure(one_group_for_another())
            .tables([of_terms(), of_edits()]),
        Part::new("Recorded judges and reward models").tables([
            judges(),
            reward_models(),
            models(),
            worth_of_length(),
        ]),
    ]
}

/// Names and arms of a table of methods.
fn labelled<T>(methods: &[(&'static str, T)], arm: impl Fn(&str) -> Arm) -> Vec<LabelledArm> {
    methods.iter().map(|(name, _)| (*name, arm(name)).into()).collect()
}

const STANDARD_DEVIATIONS: &str = "toggle effect, standard deviations of the score";

fn by_weight(factor: &str) -> Figure {
    let title = format!("{factor}: bias left, by weight of the penalty");
    let mut figure = Figure::lines(title, "weight λ", STANDARD_DEVIATIONS)
        .x_scale(Scale::Log10)
        .reference("no bias", 0.0)
        .caption(
            "The same text with and without the factor. Below 0 the factor is punished: too much \
             was asked for. Names are structure and variant. Variants are compared at the largest \
             weight: at smaller ones the unconditional line under label first is on its way \
             through 0.",
        );
    for (structure, _) in &STRUCTURES[..2] {
        for (variant, _) in VARIANTS {
            let points = WEIGHTS.map(|weight| {
                let method = planted::variant(variant, weight);
                (weight, TOGGLE.of(planted::arm(factor, structure, &method)))
            });
            figure = figure.points(format!("{structure}, {variant}"), points);
        }
    }
    figure
}

fn by_method(factor: &str) -> Figure {
    let mut shown: Vec<String> = OTHERS.map(|(name, _)| name.to_owned()).into();
    // Beside vanilla, which they are compared with.
    shown.splice(1..1, VARIANTS.map(|(name, _)| planted::variant(name, STRONG)));
    let title = format!("{factor}: what every method leaves");
    let figure = Figure::dots(title, &shown, STANDARD_DEVIATIONS).reference("no bias", 0.0);
    STRUCTURES.into_iter().fold(figure, |figure, (structure, _)| {
        let arms = shown.iter().map(|method| planted::arm(factor, structure, method));
        figure.by_category(structure, arms.map(|arm| TOGGLE.of(arm)))
    })
}

fn of_structure(factor: &str, structure: &str) -> Table {
    let arms = planted::methods().into_iter().map(|(method, _)| {
        let arm = planted::arm(factor, structure, &method);
        (method, arm)
    });
    let columns = [
        TOGGLE,
        planted::ACCURACY,
        planted::HARD,
        planted::EASY,
        planted::READ_OUT,
        planted::SELECTED_FACTOR,
        planted::SELECTED_QUALITY,
    ];
    Table::of_arms(format!("{factor}, {structure}"), "method", arms, columns).note(
        "Toggle effect in standard deviations of the score. Accuracies on pairs with fair labels \
         whose factor is by chance. Selected: best of 64 less a random response, in the factor \
         (0 to 1) and in true quality.",
    )
}

fn ranked_first(home: &str) -> Figure {
    let figure = Figure::dots(
        format!("Length on real pairs, trained on {home}"),
        length::METHODS.map(|(name, _)| name),
        "share of pairs whose longer response is ranked first",
    )
    .reference("no preference", 0.5)
    .caption(
        "Home: held-out pairs of the domain that was trained on; away: the other domain. What a \
         method takes away at home it takes from what people do prefer there.",
    );
    PLACES.into_iter().fold(figure, |figure, place| {
        let people = length::longer_to_people(place).of(length::arm(home, "vanilla"));
        let metric = length::longer(place);
        let methods = length::METHODS.map(|(method, _)| metric.of(length::arm(home, method)));
        figure.reference(format!("people, {place}"), people).by_category(place, methods)
    })
}

fn of_lengths(home: &str) -> Table {
    let columns = [
        Column::from(length::accuracy("home")),
        length::accuracy("away").into(),
        Column::from(length::longer_is_better("away")).headed("away, longer is better"),
        Column::from(length::shorter_is_better("away")).headed("away, shorter is better"),
        length::excess("home").into(),
        length::excess("away").into(),
        length::TOGGLE_SENTENCE.into(),
        length::TOGGLE_TWICE.into(),
    ];
    let arms = labelled(&length::METHODS, |method| length::arm(home, method));
    let title = format!("Length on hh-rlhf, trained on {home}");
    Table::of_arms(title, "method", arms, columns).note(
        "Toggles in standard deviations of the score within a pair: the same response with a \
         sentence appended that says nothing, and said twice.",
    )
}

fn styles(home: &str) -> Table {
    let heads = ["method", "part"].into_iter().chain(LEVELS);
    let mut table = Table::new(format!("Styles of rm-bench, trained on {home}"), heads).note(
        "Accuracy where the right answer has more style than the wrong one (easy), as much, and \
         less (hard). A score that pays for length is right on easy pairs and wrong on hard ones, \
         whatever they say. Parts are never pooled: in one the right answer is a refusal and \
         short.",
    );
    for (method, _) in length::METHODS {
        for (subset, _) in SUBSETS {
            let value =
                |level| length::styled_accuracy(subset, level).of(length::arm(home, method));
            let values = LEVELS.map(|level| Value::from(value(level)));
            table = table.row([method.into(), subset.into()].into_iter().chain(values));
        }
    }
    table
}

fn concept_bias() -> Figure {
    Figure::dots(
        "A concept that tells the answer",
        concept::METHODS.map(|(name, ..)| name),
        "accuracy on positive less on negative reviews that speak of the food",
    )
    .reference("no bias", 0.0)
    .by_category("bias", concept::METHODS.map(|(name, ..)| concept::BIAS.of(concept::arm(name))))
    .caption(
        "All but `fair` are trained without the negative reviews that speak of the food. Below 0 \
         the concept is taken for a sign of a negative review.",
    )
}

fn of_concept() -> Table {
    let columns = [
        concept::WITHOUT,
        concept::WITH,
        concept::WITH_POSITIVE,
        concept::WITH_NEGATIVE,
        concept::BIAS,
        concept::TOGGLE,
    ];
    let arms = concept::METHODS.map(|(name, ..)| (name, concept::arm(name)));
    let title = "Sentiment of reviews, and whether they speak of the food";
    Table::of_arms(title, "method", arms, columns).note(
        "Reviews of the development and test splits. Bias: accuracy on positive less on negative \
         reviews with the concept. Toggle: how much more `positive` scores than `negative` with \
         the food in the review than without it, the stars being the same; in standard deviations \
         over reviews.",
    )
}

fn flattery() -> [Figure; 2] {
    let turned = "share of questions that the biography turns to the user's option";
    [
        (Form::Prefix, PREFIX_TITLE, sycophancy::TOGGLE, STANDARD_DEVIATIONS),
        (Form::Opinion, "The user's opinion", sycophancy::SHIFT, turned),
    ]
    .map(|(form, title, metric, label)| {
        let names = || form.methods().iter().map(|(name, _)| *name);
        Figure::dots(title, names(), label)
            .reference("no bias", 0.0)
            .by_category(metric.name(), names().map(|name| metric.of(form.arm(name))))
    })
}

const PREFIX_TITLE: &str = "Flattery before real responses";

fn of_prefix() -> Table {
    let columns = [
        Column::from(sycophancy::ACCURACY),
        Column::from(sycophancy::EASY).headed("prefix on the better side"),
        Column::from(sycophancy::HARD).headed("prefix on the worse side"),
        sycophancy::TOGGLE.into(),
    ];
    let arms = labelled(Form::Prefix.methods(), |method| Form::Prefix.arm(method));
    Table::of_arms(PREFIX_TITLE, "method", arms, columns).note(
        "Held-out pairs with the prefix on either side by chance. Toggle effect in standard \
         deviations of the score within a pair. Oracle: trained on the same responses with and \
         without the prefix as paraphrases, too.",
    )
}

fn of_opinions() -> Table {
    let columns = [
        Column::from(sycophancy::ACCURACY).headed("accuracy after a biography"),
        Column::from(sycophancy::EASY).headed("the user is right"),
        Column::from(sycophancy::HARD).headed("the user is wrong"),
        sycophancy::ACCURACY_NEUTRAL.into(),
        sycophancy::AGREEING.into(),
        sycophancy::AGREEING_NEUTRAL.into(),
        sycophancy::SHIFT.into(),
    ];
    let arms = labelled(Form::Opinion.methods(), |method| Form::Opinion.arm(method));
    Table::of_arms("Questions of opinion after a biography", "method", arms, columns).note(
        "Held-out items in which the biography and the better option have nothing to do with each \
         other. Shift: how much more often the user's option scores higher with the biography than \
         without it.",
    )
}

fn one_group_for_another() -> Figure {
    let arms = discrimination::METHODS.map(|(name, _)| discrimination::arm(name));
    Figure::dots(
        "One group in the place of another",
        discrimination::METHODS.map(|(name, _)| name),
        STANDARD_DEVIATIONS,
    )
    .reference("no bias", 0.0)
    .by_category("toggle", arms.map(|arm| discrimination::TOGGLE.of(arm)))
    .caption(
        "The same sentence about a term that was planted on toxic sentences in training, against \
         one about another term. Below 0 the group is punished.",
    )
}

fn of_terms() -> Table {
    let columns = [
        Column::from(discrimination::TOGGLE),
        Column::from(discrimination::accuracy("known")).headed("accuracy, known adjectives"),
        discrimination::harmless_drawn("known").into(),
        discrimination::toxic_drawn("known").into(),
        Column::from(discrimination::accuracy("unseen")).headed("accuracy, unseen adjectives"),
        Column::from(discrimination::harmless_drawn("unseen"))
            .headed("unseen, harmless one about a drawn term"),
        Column::from(discrimination::toxic_drawn("unseen"))
            .headed("unseen, toxic one about a drawn term"),
    ];
    let arms = labelled(&discrimination::METHODS, discrimination::arm);
    Table::of_arms("Identity terms", "method", arms, columns).note(
        "Harmless against toxic sentences of a template that was not trained on; which of them is \
         about a drawn term is by chance. Unseen adjectives tell a word-counting model nothing, so \
         that what it goes by there is the term alone: no bias is one half.",
    )
}

fn of_edits() -> Table {
    let columns = [
        discrimination::ACCURACY_ORIGINALS,
        discrimination::ACCURACY_EDITS,
        discrimination::LOST,
        discrimination::ACCURACY_OWN_EDIT,
    ];
    let arms = SOURCES.map(|(arm, _)| arm);
    Table::of_arms("Film reviews and their edits", "trained on", arms, columns).note(
        "Accuracy: share of all pairs of a good and a bad test review that are ranked rightly. The \
         two rewards are trained on as many pairs.",
    )
}

fn judges() -> Table {
    let heads = ["judge", "pairs"].into_iter().chain(OF_JUDGES.map(|(_, label)| label));
    let mut table = Table::new("Recorded judges (LLMBar)", heads).note(
        "Language models asked which of two outputs follows the instruction, in both orders; \
         accuracy is of the two verdicts together. Adversarial: the worse output looks better. \
         Intervals are over pairs.",
    );
    for (judge, _) in JUDGES {
        for kind in KINDS {
            let values = OF_JUDGES.map(|what| recorded::of_judge(judge, kind, what));
            let values = values.map(|metric| Value::Estimate(metric, RECORDED));
            table = table.row([judge.into(), kind.into()].into_iter().chain(values));
        }
    }
    table
}

fn reward_models() -> Table {
    let heads = ["reward model"].into_iter().chain(OF_MODELS.map(|(_, label)| label));
    let table = Table::new("Recorded reward models (JudgeBench)", heads).note(
        "Public reward models on pairs of answers of which one is objectively right. Intervals are \
         over pairs.",
    );
    REWARD_MODELS.into_iter().fold(table, |table, model| {
        let values = OF_MODELS.map(|what| recorded::of_reward_model(model, what));
        let values = values.map(|metric| Value::Estimate(metric, RECORDED));
        table.row([model.into()].into_iter().chain(values))
    })
}

fn models() -> Table {
    let heads = ["model", "characters", "win rate", "win rate at equal length"];
    let table = Table::new("A recorded judge and length (AlpacaEval 2)", heads).note(
        "Preference of GPT-4 Turbo over the reference's answers, and the same predicted for \
         answers of the reference's length. Intervals are over instructions.",
    );
    MODELS.into_iter().fold(table, |table, model| {
        table.row([
            model.into(),
            Value::Mean(recorded::characters(model).of(RECORDED), 0),
            Value::Estimate(recorded::win_rate(model), RECORDED),
            Value::Estimate(recorded::controlled_win_rate(model), RECORDED),
        ])
    })
}

fn worth_of_length() -> Table {
    let table = Table::new("What length is worth to it", ["what length is worth", "value"])
        .row([PHI.label().into(), Value::Estimate(PHI, RECORDED)])
        .note(
            "φ: log-odds that the judge gives to an answer that is much longer. Correlations: of \
             the mean length of 223 models with their published win rates.",
        );
    [SPEARMAN_RAW, SPEARMAN_CONTROLLED].into_iter().fold(table, |table, metric| {
        table.row([metric.label().into(), Value::Mean(metric.of(RECORDED), 2)])
    })
}
