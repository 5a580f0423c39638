//! Numbers of what was recorded once: their intervals are over items, not over seeds.

use headwater_evaluation::Interval;
use headwater_protocol::{Effect, Metrics, Records, TableValue};

/// Adds an estimate with its interval: scalars named `name`, `name, low`, `name, high` and `name, items`.
pub(crate) fn estimate(metrics: Metrics, name: &str, interval: &Interval) -> Metrics {
    metrics
        .scalar(name, interval.estimate)
        .scalar(format!("{name}, low"), interval.low)
        .scalar(format!("{name}, high"), interval.high)
        .scalar(format!("{name}, items"), interval.n as f64)
}

/// An estimate with its interval over items, if `arm` recorded one.
pub(crate) fn effect(records: &Records, arm: &str, name: &str) -> Option<Effect> {
    let scalar = |name: &str| records.metric(arm, name).first().map(|(_, value)| *value);
    let part = |part: &str| scalar(&format!("{name}, {part}"));
    Some(Effect {
        estimate: Some(scalar(name)?),
        interval: Some((part("low")?, part("high")?)),
        p: None,
        n: part("items")? as usize,
    })
}

/// The same as one value of a table.
pub(crate) fn value(records: &Records, arm: &str, name: &str) -> TableValue {
    match effect(records, arm, name) {
        Some(effect) => effect.into(),
        // Tells an arm without record from a metric that is not there.
        None => records.value(arm, name),
    }
}

/// A number that is the same in every run.
pub(crate) fn number(records: &Records, arm: &str, name: &str, decimals: usize) -> TableValue {
    match records.metric(arm, name).first() {
        Some((_, value)) => TableValue::Number(*value, decimals),
        None => records.value(arm, name),
    }
}
