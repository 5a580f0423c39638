//! The experiments: arms, how they are run, and what they record; one file each. They know nothing
//! of what is claimed of them.

pub mod annotators;
pub mod calibration;
pub mod calibration_bandits;
pub mod cascade_chain;
pub mod cascade_stories;
pub mod cascade_truthful;
mod causal;
pub mod causal_rewards_concept;
pub mod causal_rewards_discrimination;
pub mod causal_rewards_length;
pub mod causal_rewards_planted;
pub mod causal_rewards_recorded;
pub mod causal_rewards_sycophancy;
mod confidence_rewards;
pub mod critique_plateau;
pub mod critique_plateau_lock;
pub mod decision_losses;
pub mod decision_losses_table;
mod directive;
pub mod directive_feedback_operator;
pub mod directive_feedback_style;
pub mod feedback_loop_conflict;
pub mod feedback_loop_logged;
pub mod feedback_loop_mixtures;
pub mod feedback_loop_worlds;
pub mod looped;
pub mod negative_reinforcement;
pub mod reasoning_judges;
pub mod rubric_gates_dilution;
pub mod rubric_gates_reports;
pub mod self_improvement_classifier;
pub mod self_improvement_collapse;
pub mod self_improvement_facts;
pub mod self_improvement_language;
pub mod self_improvement_policy;
