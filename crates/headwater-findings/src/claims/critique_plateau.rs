//! A numeric reward plateaus on questions that a policy is surely wrong about; a critique breaks
//! through.
//!
//! Zhang et al. 2025 (arXiv 2506.03106): policies trained on a numeric reward reach a plateau, on
//! which more prompts do not help and persistently failed questions stay failed; refinements
//! written under a critique and trained under the plain prompt break through, if the critique says
//! where the error is, and most of the gain is owed to the shaping of their weight. And
//! (Proposition 4.1) feedback that localises the first error turns a search over `S^L` sequences
//! into one over about `S L`, one that corrects it into one over about `L`: that is what the locks
//! test.
//!
//! The controls are refinements without a critique, refinements under critiques that name another
//! step than the first wrong one, and permuted verdicts.

use headwater_protocol::{
    Arm, Claim, Contrast, Control, Finding, ProtocolError, Registered, Scalar,
};
use headwater_report::{Along, Chapter, Column, ComputeSeries, Figure, Part, Scale, Table, Value};

use crate::experiments::critique_plateau::{
    BASE, BLANK, CORRECTION, CRITICAL, CritiquePlateau, ENTROPY, ENTROPY_RISE, FINAL_RESULT,
    GENERATIONS, GRPO_8, GRPO_16, GRPO_QUESTIONS, HIGHEST, INDICATIVE, LARGEST_FALL, LAST_THIRD,
    LOWEST, PASS_8, REST, REST_PROBABILITY, REST_PROBABILITY_BY_EVALUATION, STEP, STEP_4_4,
    STEP_BASELINE_ONLY, STEP_EXCHANGED, STEP_IMPORTANCE, STEP_MISPLACED, STEP_PERMUTED,
    STEP_UNSHAPED, STEP_WEIGHT_1, STEPS_TAKEN, STUCK, STUCK_BY_EVALUATION, STUCK_PROBABILITY,
    by_probability, critique_name, exchanged_rescued, exchanged_valid, learners, rescued, valid,
};
use crate::experiments::critique_plateau_lock::{
    BUDGETS, CritiquePlateauLock, LOCK, PLACES, exponent, feedback_name, fitted, growth,
    log_samples, opened, samples, samples_at_most_places,
};
use headwater_tasks::lock::{FEEDBACKS, Feedback};
use headwater_tasks::misconceptions::{CRITIQUES, Critique};

/// Numeric reward, and more of it in two ways.
const NUMERIC: [(&str, Arm); 3] = [
    ("GRPO, 8 rollouts", GRPO_8),
    ("GRPO, 16 rollouts", GRPO_16),
    ("GRPO, 8 x questions", GRPO_QUESTIONS),
];

/// The finding.
pub(super) fn chapter() -> Chapter {
    Chapter {
        finding: Finding {
            id: "critique-plateau",
            claim: "A numeric reward plateaus on what a policy is surely wrong about; a critique \
                    that says where the error is breaks through.",
            source: "Zhang et al. 2025, Critique-GRPO: Advancing LLM Reasoning with Natural \
                     Language and Numerical Feedback, arXiv 2506.03106 (v6)",
            experiments: vec![Box::new(CritiquePlateau), Box::new(CritiquePlateauLock)],
            claims: vec![breaks_through(), stuck()],
            further: weights().into_iter().chain(boundaries()).chain(locks()).collect(),
            controls: vec![],
        },
        differs: &[
            "A decoder of about 60,000 parameters trained here on three-step arithmetic, instead \
             of Qwen models of 7B and 8B on competition mathematics; answers are three tokens \
             long.",
            "That a policy can take a critique is pretrained, on questions that meet no \
             misconception: it does not emerge at this size. So rescue rates are those of what was \
             demonstrated, and of how far it carries over.",
            "Critiques are made by rule and always true; the published ones are written by a \
             model, and 60% of the step-by-step ones are valid.",
            "The stuck questions are planted, about 30% of all, and are surely wrong from the \
             start, instead of being what GRPO leaves over.",
            "One optimiser step per batch, so that the rollouts' clip never acts; Adam at 6e-4 \
             over about 250 steps, half as many with 16 rollouts.",
            "Locks are opened by a policy that takes marks and does not learn between attempts: \
             what is counted is samples to the first success, not regret of a learner.",
        ],
        parts: vec![arithmetic_part(), lock_part()],
    }
}

fn breaks_through() -> Claim {
    let mut contrasts: Vec<Contrast> = NUMERIC
        .into_iter()
        .map(|(label, grpo)| {
            let name = format!("misconceptions: step critique - {label}");
            Contrast::increase(name, STUCK.difference(STEP, grpo), 0.15)
                .published("+.044 (mean of 8 test sets, .427 Dr. GRPO to .471; Qwen2.5-7B)")
        })
        .collect();
    let kinds = [Critique::Step, Critique::Indicative].map(|kind| rescued(kind).of(BASE));
    let [step, indicative] = kinds;
    contrasts.extend([
        Contrast::increase("stuck questions rescued: step - indicative", step - indicative, 0.1)
            .published("+.483 (.071 to .554 of the stuck questions)"),
        Contrast::increase(
            "misconceptions: step critique - critiques exchanged",
            STUCK.difference(STEP, STEP_EXCHANGED),
            0.1,
        )
        .registered(Registered::PostHoc),
    ]);
    Claim {
        id: "critique-plateau/breaks-through",
        sentence: "Step-wise critiques get a policy off the plateau.",
        contrasts,
        controls: vec![
            blank(),
            Control::new(
                "critiques that name another step: misconceptions, less GRPO's",
                STUCK.difference(STEP_MISPLACED, GRPO_8),
                0.15,
            ),
            Control::new(
                "verdicts permuted: misconceptions, less the base's",
                STUCK.difference(STEP_PERMUTED, BASE),
                0.15,
            ),
        ],
    }
}

fn stuck() -> Claim {
    let flat = NUMERIC.map(|(label, arm)| {
        let name = format!("probability, last third: {label}");
        Contrast::unchanged(name, LAST_THIRD.of(arm), 0.1)
    });
    // A plateau is flat, and low: two thirds of what is believed still is. Shown with the sign
    // turned.
    let low = NUMERIC.map(|(label, arm)| {
        let name = format!("probability at the end, up to 0.35: {label}");
        Contrast::not_below(name, -STUCK_PROBABILITY.of(arm), 0.35)
    });
    Claim {
        id: "critique-plateau/stuck",
        sentence: "A numeric reward leaves a policy on a plateau, however much of it there is.",
        contrasts: flat.into_iter().chain(low).collect(),
        controls: vec![blank()],
    }
}

fn blank() -> Control {
    Control::new(
        "refinements without a critique: misconceptions, less GRPO's",
        STUCK.difference(BLANK, GRPO_8),
        0.15,
    )
}

/// What the weight of refinements is good for.
fn weights() -> [Contrast; 2] {
    [
        Contrast::increase(
            "misconceptions: shaped - unshaped",
            STUCK.difference(STEP, STEP_UNSHAPED),
            0.1,
        )
        .published("+.031 (mean of 8 test sets, .440 to .471; Qwen2.5-7B)"),
        Contrast::increase(
            "misconceptions: in the loss - only in the mean",
            STUCK.difference(STEP, STEP_BASELINE_ONLY),
            0.1,
        ),
    ]
}

/// Where the method should stop working, or not be needed: this project's expectation, not the
/// paper's claim. It counts all the same, as it was written down before the first whole run.
fn boundaries() -> [Contrast; 3] {
    let [grpo, step, imitated] = [GRPO_8, STEP, STEP_WEIGHT_1].map(|arm| LOWEST.arm(&arm));
    [
        Contrast::unchanged(
            "from p0 = 1e-4: step critique - GRPO",
            STUCK.difference(&step, grpo),
            0.15,
        ),
        Contrast::increase(
            "from p0 = 1e-4: weight 1 - shaped",
            STUCK.difference(imitated, step),
            0.15,
        ),
        Contrast::increase(
            "from p0 = 3e-2: GRPO - base",
            STUCK.difference(HIGHEST.arm(&GRPO_8), HIGHEST.base),
            0.15,
        ),
    ]
}

fn locks() -> [Contrast; 3] {
    let ln_samples = |feedback| samples_at_most_places(feedback).of(LOCK).ln();
    [
        Contrast::increase(
            "lock, growth per place: reward - localised",
            growth(Feedback::Reward).of(LOCK) - growth(Feedback::Place).of(LOCK),
            0.5,
        ),
        Contrast::unchanged(
            "lock, exponent of length, localised, less 1",
            exponent(Feedback::Place).of(LOCK) - 1.0,
            0.3,
        ),
        Contrast::increase(
            "lock, ln samples at 4 places: localised - corrected",
            ln_samples(Feedback::Place) - ln_samples(Feedback::Correction),
            1.0,
        ),
    ]
}

fn arithmetic_part() -> Part {
    Part::new("Arithmetic with confident misconceptions")
        .figures(curves())
        .figure(window())
        .figure(rescue())
        .figure(entropy())
        .table(every_arm())
        .table(by_start())
        .table(rescues())
}

fn curves() -> [Figure; 3] {
    let main = [GRPO_8, GRPO_16, GRPO_QUESTIONS, INDICATIVE, FINAL_RESULT, STEP, CORRECTION];
    let weights = [GRPO_8, STEP, STEP_UNSHAPED, STEP_WEIGHT_1, STEP_IMPORTANCE, STEP_BASELINE_ONLY];
    let curves =
        |title: &str, label: &str, values, arms: &[Arm]| {
            Figure::lines(title, "responses sampled, thousands", label)
                .value_range(0.0, 1.0)
                .curves(values, &Along::SeriesIn(GENERATIONS, 1000.0), arms)
        };
    [
        curves(
            "Held-out questions that meet a misconception",
            "greedy accuracy",
            &STUCK_BY_EVALUATION,
            &main,
        )
        .caption(
            "Refinements count as responses. All arms start from 0; no critique is shown when it \
             is measured.",
        ),
        curves(
            "Held-out questions that meet none",
            "probability of the right answer",
            &REST_PROBABILITY_BY_EVALUATION,
            &main,
        )
        .caption("Where samples of the base are right often enough, the numeric reward suffices."),
        curves(
            "What a refinement's tokens weigh",
            "greedy accuracy, misconceptions",
            &STUCK_BY_EVALUATION,
            &weights,
        )
        .caption(
            "All under step critiques but GRPO. Shaped is the published method; its weight without \
             shaping is the token's probability; weight 1 is supervised training; importance is \
             the ratio of the probabilities under the plain prompt and under the critique; \
             baseline only leaves refinements out of the loss.",
        ),
    ]
}

fn entropy() -> Figure {
    let arms = [GRPO_8, STEP, STEP_WEIGHT_1, CORRECTION, STEP_4_4];
    Figure::lines("Entropy in training", "responses sampled, thousands", "nats")
        .caption("Mean token entropy of the rollouts, since the last look.")
        .curves(&ENTROPY, &Along::SeriesIn(GENERATIONS, 1000.0), arms)
}

/// The arms that are run from every base.
fn everywhere() -> impl Iterator<Item = Arm> {
    learners().into_iter().filter(|learner| learner.everywhere).map(|learner| learner.arm)
}

fn window() -> Figure {
    let figure = Figure::lines(
        "The window of initial probability",
        "probability of the right result on a misconception, base",
        "greedy accuracy, misconceptions",
    )
    .x_scale(Scale::Log10)
    .value_range(0.0, 1.0)
    .caption(
        "Geometric mean over held-out questions of the base's probability of the right result at \
         the critical step. At the end of training, at equal numbers of sampled responses.",
    );
    everywhere().fold(figure, |figure, arm| {
        let points =
            by_probability().map(|start| (CRITICAL.of(&start.base), STUCK.of(start.arm(&arm))));
        figure.placed_points(arm.to_string(), points, f64::exp)
    })
}

fn rescue() -> Figure {
    let values = |metric: fn(Critique) -> _| CRITIQUES.map(|kind| Scalar::of(&metric(kind), BASE));
    Figure::bars("Stuck questions rescued", CRITIQUES.map(critique_name), "share rescued")
        .value_range(0.0, 1.0)
        .caption(
            "Of the held-out questions on which seven answers of the base all failed: those with a \
             right one among their seven refinements, under the attempt's own critique and under \
             that of an attempt at another question.",
        )
        .by_category("own critique", values(rescued))
        .by_category("another's", values(exchanged_rescued))
}

fn every_arm() -> Table {
    let scalars =
        [STUCK, STUCK_PROBABILITY, REST, REST_PROBABILITY, LAST_THIRD, ENTROPY_RISE, LARGEST_FALL];
    let counts = [Column::last("steps", &STEPS_TAKEN), Column::last("responses", &GENERATIONS)];
    let columns = scalars.map(Column::from).into_iter().chain(counts);
    let arms = learners().into_iter().map(|learner| learner.arm);
    Table::of_arms("Every arm from the main base", "arm", arms, columns).note(
        "Held-out questions. Entropy's rise is that of its highest mean between two evaluations over the \
         first; the largest fall is of the probability of right answers to the rest, from one evaluation \
         to the next.",
    )
}

fn by_start() -> Table {
    let of_base = [CRITICAL, PASS_8, REST_PROBABILITY];
    let mut columns = vec!["base".to_owned()];
    columns.extend(of_base.iter().map(|metric| metric.label().to_owned()));
    columns.extend(everywhere().map(|arm| format!("{arm}: accuracy")));
    let table = Table::new("By initial probability", columns).note(
        "The log-probability is at the critical step, after right results before it; pass@8 is 1 - \
         (1 - p)^8 with p the exact probability of the right answer.",
    );
    by_probability().iter().fold(table, |table, start| {
        let base = of_base.iter().map(|metric| metric.of(&start.base));
        let arms = everywhere().map(|arm| STUCK.of(start.arm(&arm)));
        let values = base.chain(arms).map(Value::from);
        table.row([Value::from(start.base.name())].into_iter().chain(values))
    })
}

fn rescues() -> Table {
    let columns =
        ["critique", "refinements right", "rescued", "right, another's", "rescued, another's"];
    let table = Table::new("What a critique rescues", columns).note(
        "The main base, before reinforcement. Published: indicative 2.1% of refinements and 7.1% \
         of questions, with the final answer 2.0% and 6.9%, step by step 36.5% and 55.4%.",
    );
    CRITIQUES.into_iter().fold(table, |table, critique| {
        let of = [valid, rescued, exchanged_valid, exchanged_rescued];
        let values = of.map(|metric| Value::from(metric(critique).of(BASE)));
        table.row([Value::from(critique_name(critique))].into_iter().chain(values))
    })
}

fn lock_part() -> Part {
    Part::new("Combination locks").figure(opening()).table(samples_to_open())
}

fn opening() -> Figure {
    let along = Along::counts(PLACES);
    let figure = Figure::lines("Opening a lock", "places", "log10 of mean samples to open it")
        .caption(
            "Eight symbols per place. Dots: measured. Fits: reward against 8^L, the others against \
             L, least squares, with exponents in the table.",
        );
    FEEDBACKS.into_iter().fold(figure, |figure, feedback| {
        let (name, measured) = (feedback_name(feedback), log_samples(feedback));
        let is_reward = feedback == Feedback::Reward;
        let fit: ComputeSeries = if is_reward { exponential_fit } else { power_fit };
        figure
            .curve(name, &measured, &along, LOCK)
            .computed_curve(format!("{name}, fitted"), &along, [measured.read(LOCK)], fit)
            .without_intervals()
    })
}

fn exponential_fit(read: &[&[f64]]) -> Result<Vec<f64>, ProtocolError> {
    Ok(fitted(&PLACES.map(|places| places as f64).collect::<Vec<_>>(), read[0]))
}

fn power_fit(read: &[&[f64]]) -> Result<Vec<f64>, ProtocolError> {
    Ok(fitted(&PLACES.map(|places| (places as f64).ln()).collect::<Vec<_>>(), read[0]))
}

fn samples_to_open() -> Table {
    let mut columns = ["feedback", "2 places", "3 places", "4 places"].map(String::from).to_vec();
    columns.extend(["growth per place, in units of ln 8", "exponent of length"].map(String::from));
    columns.extend(BUDGETS.map(|budget| format!("open by {budget}")));
    let table = Table::new("Samples to open a lock", columns).note(
        "Proposition 4.1 has 8^L (growth 1) for reward, 8 L for the first wrong place and L for \
         its symbol (exponent 1). Shares open are of locks with four places.",
    );
    FEEDBACKS.into_iter().fold(table, |table, feedback| {
        let samples = (0..3).map(|at| samples(feedback).at(at, LOCK));
        let opened = (0..BUDGETS.len()).map(|at| opened(feedback).at(at, LOCK));
        let slopes = [growth(feedback).of(LOCK), exponent(feedback).of(LOCK)];
        let values = samples.chain(slopes).chain(opened).map(Value::from);
        table.row([Value::from(feedback_name(feedback))].into_iter().chain(values))
    })
}
