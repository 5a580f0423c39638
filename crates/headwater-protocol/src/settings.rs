//! What the user chooses for a run: preset, number of seeds, device.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ProtocolError;

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The whole suite in under two minutes: checks the machinery, not the claims.
    Smoke,
    /// The default: five or more seeds, a finding within minutes.
    Quick,
    /// Twenty or more seeds.
    Full,
}

impl Preset {
    /// The word on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = ProtocolError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Smoke, Self::Quick, Self::Full]
            .into_iter()
            .find(|preset| preset.name() == word)
            .ok_or_else(|| ProtocolError::UnknownPreset(word.to_owned()))
    }
}

/// The device a cell computes on, by name only: findings turn it into the tensor library's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The CPU backend: the reference, bit-reproducible.
    Flex,
    /// Any GPU through wgpu: agrees with flex within a tolerance, not bit for bit.
    Wgpu,
    /// NVIDIA GPUs: agrees with flex within a tolerance, not bit for bit.
    Cuda,
}

impl DeviceKind {
    /// The word on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeviceKind {
    type Err = ProtocolError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Flex, Self::Wgpu, Self::Cuda]
            .into_iter()
            .find(|device| device.name() == word)
            .ok_or_else(|| ProtocolError::UnknownDevice(word.to_owned()))
    }
}

/// Hashes of the code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Of everything: what a report names.
    pub workspace: String,
    /// By id of the experiment, of the code that computes its numbers: what keys its records. One
    /// that is not in it is keyed by the code as a whole.
    pub experiments: BTreeMap<String, String>,
}

impl Code {
    /// What keys the records of an experiment.
    #[must_use]
    pub fn of(&self, experiment: &str) -> &str {
        self.experiments.get(experiment).unwrap_or(&self.workspace)
    }
}

/// What computes the numbers: two builds that differ in any of it do not share records, but for
/// code that an experiment does not run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Its code.
    pub code: Code,
    /// What `rustc --version` says of the compiler that built it.
    pub compiler: String,
    /// The instruction set that the machine offers, on which kernels choose among variants.
    pub instructions: String,
}

/// The most seeds a user may name.
pub(crate) const MOST_SEEDS: usize = 10_000;

/// The choices a finding plans from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How much is run.
    pub preset: Preset,
    /// Seeds per arm where the user named a number, at most 10,000; otherwise each finding takes
    /// its own.
    pub seeds: Option<usize>,
    /// Where the cells compute.
    pub device: DeviceKind,
}

impl Settings {
    /// The seeds of every arm, from 0: the user's number if given, else 2 in `smoke` (the fewest
    /// that have an interval), `quick` in `quick`, and the larger of `quick` and 20 in `full`.
    #[must_use]
    pub fn seed_range(&self, quick: usize) -> Range<u64> {
        let preset = match self.preset {
            Preset::Smoke => 2,
            Preset::Quick => quick,
            Preset::Full => quick.max(20),
        };
        0..self.seeds.unwrap_or(preset) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_others_are_refused_with_what_exists() {
        for preset in [Preset::Smoke, Preset::Quick, Preset::Full] {
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
        }
        for device in [DeviceKind::Flex, DeviceKind::Wgpu, DeviceKind::Cuda] {
            assert_eq!(device.name().parse::<DeviceKind>().unwrap(), device);
        }
        let error = "fast".parse::<Preset>().unwrap_err().to_string();
        assert_eq!(error, "preset `fast` does not exist; there are: smoke, quick, full");
        let error = "tpu".parse::<DeviceKind>().unwrap_err().to_string();
        assert_eq!(error, "device `tpu` does not exist; there are: flex, wgpu, cuda");
    }

    #[test]
    fn the_users_number_of_seeds_wins_over_the_presets() {
        let settings = |preset, seeds| Settings { preset, seeds, device: DeviceKind::Flex };
        assert_eq!(settings(Preset::Smoke, None).seed_range(8), 0..2);
        assert_eq!(settings(Preset::Quick, None).seed_range(8), 0..8);
        assert_eq!(settings(Preset::Full, None).seed_range(8), 0..20);
        assert_eq!(settings(Preset::Full, None).seed_range(32), 0..32);
        assert_eq!(settings(Preset::Full, Some(3)).seed_range(8), 0..3);
    }
}
