//! Generated tasks with exact verifiers, for policies small enough to train in seconds.

pub mod annotators;
pub mod budgeted_report;
pub mod chains;
pub mod countdown;
pub mod diluted_reference;
pub mod house_style;
pub mod lock;
pub mod masked_sum;
pub mod misconceptions;
pub mod operator;
pub mod topics;
pub mod two_sum;
