//! The experiments: arms, how they are run, and what they record; one file each. They know nothing
//! of what is claimed of them.

pub mod decision_losses;
pub mod decision_losses_table;
pub mod negative_reinforcement;
