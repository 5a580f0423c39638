//! What a cell computes with and what it leaves behind: of this crate the only part that decides
//! numbers.

use std::collections::BTreeMap;

use headwater_core::Streams;

use crate::{Arm, DeviceKind, Metrics, Preset, ProtocolError};

/// What a cell computes with, beside its config.
#[derive(Debug)]
pub struct CellContext {
    /// Random streams derived from finding and seed *only*: every arm of a seed that asks for the
    /// same name gets the same prompts and the same initialisation.
    pub streams: Streams,
    /// Where to compute.
    pub device: DeviceKind,
    /// How much to compute. Part of the cell's key.
    pub preset: Preset,
    artifacts: BTreeMap<Arm, Vec<u8>>,
}

impl CellContext {
    /// A context as the scheduler makes it; `artifacts` by name of the arm that left them.
    #[must_use]
    pub fn new(
        finding: &str,
        seed: u64,
        device: DeviceKind,
        preset: Preset,
        artifacts: BTreeMap<Arm, Vec<u8>>,
    ) -> Self {
        let streams = Streams::new(seed).child(finding, &[]);
        Self { streams, device, preset, artifacts }
    }

    /// The artifact that `arm` left at this cell's seed.
    ///
    /// # Errors
    /// When the cell did not declare `arm` in its needs, or the arm left none.
    pub fn artifact(&self, arm: &Arm) -> Result<&[u8], ProtocolError> {
        self.artifacts.get(arm).map(Vec::as_slice).ok_or_else(|| ProtocolError::NoArtifact {
            arm: arm.to_string(),
            has: self.artifacts.keys().map(Arm::name).collect::<Vec<_>>().join(", "),
        })
    }
}

/// What a cell leaves behind.
#[derive(Debug, Default)]
pub struct CellOutcome {
    /// Everything measured.
    pub metrics: Metrics,
    /// Bytes for the cells that need this one, e.g. a base checkpoint.
    pub artifact: Option<Vec<u8>>,
}

impl CellOutcome {
    /// Metrics and bytes for the cells that need this one.
    #[must_use]
    pub fn with_artifact(metrics: Metrics, artifact: Vec<u8>) -> Self {
        Self { metrics, artifact: Some(artifact) }
    }
}

impl From<Metrics> for CellOutcome {
    fn from(metrics: Metrics) -> Self {
        Self { metrics, artifact: None }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn streams_depend_on_finding_and_seed_only() {
        let first = |finding: &str, seed, device| -> u64 {
            let context = CellContext::new(finding, seed, device, Preset::Smoke, BTreeMap::new());
            context.streams.stream("prompts", &[]).random()
        };
        assert_eq!(first("f", 1, DeviceKind::Flex), first("f", 1, DeviceKind::Wgpu));
        assert_ne!(first("f", 1, DeviceKind::Flex), first("f", 2, DeviceKind::Flex));
        assert_ne!(first("f", 1, DeviceKind::Flex), first("g", 1, DeviceKind::Flex));
    }
}
