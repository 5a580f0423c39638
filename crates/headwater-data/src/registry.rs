//! The data sets Headwater knows: names, licences, sources, and the exact content of every file.
//!
//! The hashes are code, and the code version is part of every record's key: a record never outlives
//! the data it was computed on.

use super::DataSet;

mod copies;
mod extracts;

/// All sets, by name.
pub const DATA_SETS: &[DataSet] = &[
    copies::ADULT,
    extracts::ALPACA_EVAL_META,
    extracts::BIAS_PROBES,
    copies::CAD_IMDB,
    extracts::CEBAB,
    copies::DIGITS_8X8,
    extracts::EVALBIASBENCH,
    copies::GSM8K,
    copies::HH_RLHF,
    extracts::JUDGEBENCH,
    extracts::LLMBAR,
    extracts::OPEN_BANDIT,
    extracts::PNEUMONIAMNIST,
    copies::RM_BENCH,
    copies::SMOLLM2,
    copies::STORIES260K,
    extracts::SYCOPHANCY_MWE,
    extracts::TRUTHFULQA,
    copies::VADER_LEXICON,
];
