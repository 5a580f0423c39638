//! The parts of a finding: headings of its report, and what is shown under each.

use headwater_protocol::{Figure, ProtocolError, Records, Table};

/// A heading, and the functions that make its figures and tables.
pub(crate) type Part =
    (&'static str, fn(&Records) -> Result<Vec<Figure>, ProtocolError>, fn(&Records) -> Vec<Table>);

/// All figures, each under its heading.
pub(crate) fn figures(parts: &[Part], records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let mut all = Vec::new();
    for (part, figures, _) in parts {
        all.extend(figures(records)?.into_iter().map(|figure| figure.part(*part)));
    }
    Ok(all)
}

/// All tables, each under its heading.
pub(crate) fn tables(parts: &[Part], records: &Records) -> Vec<Table> {
    let of =
        |(part, _, tables): &Part| tables(records).into_iter().map(|t| t.part(*part)).collect();
    parts.iter().flat_map(|part| -> Vec<Table> { of(part) }).collect()
}

/// Every arm that a finding plans at its last seed, with the same values under all these names: what contrasts and controls may read
/// if they are to have all seeds.
#[cfg(test)]
pub(crate) fn at_the_last_seed(
    finding: &dyn headwater_protocol::Finding,
    scalars: &[&str],
    series: &[&str],
) -> Records {
    use headwater_protocol::{DeviceKind, Metrics, Preset, Settings};
    let settings = Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex };
    let cells = finding.plan(&settings).unwrap().cells;
    let last = cells.iter().map(|cell| cell.seed).max().unwrap();
    let of = cells.iter().filter(|cell| cell.seed == last).map(|cell| {
        let metrics =
            scalars.iter().fold(Metrics::new(), |metrics, name| metrics.scalar(*name, 0.5));
        let series = series.iter();
        let metrics = series.fold(metrics, |m, name| m.series(*name, vec![0.25, 0.5, 0.75]));
        (cell.arm.clone(), last, metrics)
    });
    Records::new(of)
}

/// What contrasts and controls read at the last seed and do not find.
#[cfg(test)]
pub(crate) fn missing_at_the_last_seed(
    finding: &dyn headwater_protocol::Finding,
    records: &Records,
) -> Vec<String> {
    let seed = records.seed(records.seeds()[0]);
    let contrasts = finding.contrasts().into_iter().map(|c| (c.name, (c.per_seed)(&seed)));
    let controls = finding.controls().into_iter().map(|c| (c.name, (c.per_seed)(&seed)));
    let all = contrasts.chain(controls);
    all.filter_map(|(name, value)| Some(format!("{name}: {}", value.err()?))).collect()
}
