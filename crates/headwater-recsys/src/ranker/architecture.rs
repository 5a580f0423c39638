//! What a ranker's network is made of, and what it costs.

use std::ops::Deref;

use headwater_core::{Check, ConfigError, require};
use serde::{Deserialize, Serialize};

/// What lies between the bottom and the towers, and how tasks share it. Hidden layers are ReLU layers of the given
/// widths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Sharing {
    /// One stack that all tasks read; without layers, they read the bottom.
    SharedBottom {
        /// Widths of the layers.
        hidden: Vec<usize>,
    },
    /// Experts, mixed by one gate for all tasks (OMoE in Ma et al. 2018).
    OneGate {
        /// At least 1.
        experts: usize,
        /// Widths of each expert's layers, at least one.
        hidden: Vec<usize>,
    },
    /// Experts, mixed by a gate for each task (MMoE, Ma et al. 2018).
    MultiGate {
        /// At least 1.
        experts: usize,
        /// Widths of each expert's layers, at least one.
        hidden: Vec<usize>,
    },
}

/// A network, unchecked: input, bottom, what tasks share, a tower and one output for each task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Widths of the bottom's ReLU layers; without any, experts and gates read the input itself.
    pub bottom: Vec<usize>,
    /// Between bottom and towers.
    pub sharing: Sharing,
    /// Widths of each tower's ReLU layers; without any, the output is linear in what the tower reads.
    pub tower: Vec<usize>,
    /// Probability with which training drops each expert from a gate, in [0, 1). The shares of the others are scaled to
    /// sum to 1, and a gate that would lose all keeps all (Zhao et al. 2019, against gates that settle on few experts).
    pub gate_dropout: f64,
}

impl Default for NetworkConfig {
    /// A bottom of 32, nothing further shared, linear towers: the smallest network measured in this project.
    fn default() -> Self {
        Self {
            bottom: vec![32],
            sharing: Sharing::SharedBottom { hidden: Vec::new() },
            tower: Vec::new(),
            gate_dropout: 0.1,
        }
    }
}

/// A checked [`NetworkConfig`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Architecture(NetworkConfig);

impl Deref for Architecture {
    type Target = NetworkConfig;

    fn deref(&self) -> &NetworkConfig {
        &self.0
    }
}

impl Check for NetworkConfig {
    type Checked = Architecture;

    fn check(self) -> Result<Architecture, ConfigError> {
        const NAME: &str = "NetworkConfig";
        let widths = |field, widths: &[usize]| {
            let allowed = "widths in 1..=65536, at most 64 of them";
            require(widths.len() <= 64, NAME, field, widths.len(), allowed)?;
            let bad = widths.iter().find(|width| !(1..=65_536).contains(*width));
            require(bad.is_none(), NAME, field, bad.unwrap_or(&1), allowed)
        };
        widths("bottom", &self.bottom)?;
        widths("tower", &self.tower)?;
        match &self.sharing {
            Sharing::SharedBottom { hidden } => widths("sharing.hidden", hidden)?,
            Sharing::OneGate { experts, hidden } | Sharing::MultiGate { experts, hidden } => {
                let holds = (1..=1024).contains(experts);
                require(holds, NAME, "sharing.experts", experts, "1 to 1024")?;
                widths("sharing.hidden", hidden)?;
                require(!hidden.is_empty(), NAME, "sharing.hidden", "[]", "at least one layer")?;
            }
        }
        let dropout = self.gate_dropout;
        let holds = (0.0..1.0).contains(&dropout);
        require(holds, NAME, "gate_dropout", dropout, "a number in [0, 1)")?;
        Ok(Architecture(self))
    }
}

/// Multiplications for one row, by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multiplications {
    /// The bottom's.
    pub bottom: usize,
    /// Of the shared stack, or of all experts.
    pub shared: usize,
    /// Of the gates, and of mixing the experts by them.
    pub gates: usize,
    /// Of the towers and outputs of all tasks.
    pub towers: usize,
}

impl Multiplications {
    /// Of all parts.
    #[must_use]
    pub fn total(&self) -> usize {
        self.bottom + self.shared + self.gates + self.towers
    }
}

impl Architecture {
    /// What one row costs with `inputs` features and `tasks` towers.
    #[must_use]
    pub fn multiplications(&self, inputs: usize, tasks: usize) -> Multiplications {
        let hidden = self.bottom.last().copied().unwrap_or(inputs);
        let (experts, gates, layers) = match &self.sharing {
            Sharing::SharedBottom { hidden } => (1, 0, hidden),
            Sharing::OneGate { experts, hidden } => (*experts, 1, hidden),
            Sharing::MultiGate { experts, hidden } => (*experts, tasks, hidden),
        };
        let width = layers.last().copied().unwrap_or(hidden);
        Multiplications {
            bottom: products(inputs, &self.bottom),
            shared: experts * products(hidden, layers),
            gates: gates * experts * (hidden + width),
            towers: tasks * (products(width, &self.tower) + self.tower.last().unwrap_or(&width)),
        }
    }

    /// This network with one shared layer in the place of whatever is shared, of the width (at least 1) that brings
    /// [`Multiplications::total`] nearest to `multiplications`.
    ///
    /// Zhao et al. (2019) compare at equal multiplications, all counted. Ma et al. (2018) leave the gates out: of their
    /// 8 experts of 16 on 100 inputs with 2 towers of 8 they count 13,056, which gives a shared layer of 113.
    #[must_use]
    pub fn shared_bottom_of(&self, multiplications: usize, inputs: usize, tasks: usize) -> Self {
        let with_width = |width: usize| {
            let sharing = Sharing::SharedBottom { hidden: vec![width] };
            Self(NetworkConfig { sharing, ..self.0.clone() })
        };
        let cost = |width| with_width(width).multiplications(inputs, tasks).total();
        // The cost is linear in the width.
        let each = cost(2) - cost(1);
        let fixed = cost(1) - each;
        let width = (2 * multiplications.saturating_sub(fixed) + each) / (2 * each);
        with_width(width.max(1))
    }
}

/// Multiplications of a stack of layers.
fn products(inputs: usize, widths: &[usize]) -> usize {
    let below = std::iter::once(&inputs).chain(widths);
    below.zip(widths).map(|(inputs, outputs)| inputs * outputs).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The synthetic set-up of Ma et al. (2018).
    fn mmoe() -> Architecture {
        let sharing = Sharing::MultiGate { experts: 8, hidden: vec![16] };
        let bottom = Vec::new();
        let config = NetworkConfig { bottom, sharing, tower: vec![8], gate_dropout: 0.0 };
        config.check().unwrap()
    }

    #[test]
    fn the_counts_of_the_paper() {
        let cost = mmoe().multiplications(100, 2);
        // The paper leaves out gates, and the output weights of the towers (2 x 8).
        assert_eq!(cost.shared + cost.towers - 16, 13_056);
        assert_eq!(cost.gates, 2 * 8 * 100 + 2 * 8 * 16);
        let matched = mmoe().shared_bottom_of(13_056 + 16, 100, 2);
        assert_eq!(matched.sharing, Sharing::SharedBottom { hidden: vec![113] });
    }

    #[test]
    fn the_matched_width_is_the_nearest() {
        let target = mmoe().multiplications(100, 2).total();
        let Sharing::SharedBottom { hidden } = &mmoe().shared_bottom_of(target, 100, 2).sharing
        else {
            panic!("a shared bottom")
        };
        let distance = |width: usize| {
            let sharing = Sharing::SharedBottom { hidden: vec![width] };
            let config = NetworkConfig { sharing, ..(*mmoe()).clone() };
            config.check().unwrap().multiplications(100, 2).total().abs_diff(target)
        };
        let best = (1..300).min_by_key(|&width| distance(width)).unwrap();
        assert_eq!(hidden, &[best]);
        assert!(distance(best) * 100 < target, "within a hundredth");
    }

    #[test]
    fn errors_name_the_field() {
        let refused = |config: NetworkConfig| config.check().unwrap_err().to_string();
        let text = refused(NetworkConfig { bottom: vec![4, 0], ..Default::default() });
        assert!(text.contains("bottom = 0: allowed is widths in 1..=65536"), "{text}");
        let text = refused(NetworkConfig { tower: vec![4, 1 << 40], ..Default::default() });
        assert!(text.contains("tower = 1099511627776"), "{text}");
        let sharing = Sharing::MultiGate { experts: usize::MAX, hidden: vec![2] };
        let text = refused(NetworkConfig { sharing, ..Default::default() });
        assert!(text.contains("sharing.experts = 18446744073709551615"), "{text}");
        let sharing = Sharing::OneGate { experts: 2, hidden: Vec::new() };
        let text = refused(NetworkConfig { sharing, ..Default::default() });
        assert!(text.contains("sharing.hidden") && text.contains("at least one"), "{text}");
        let text = refused(NetworkConfig { gate_dropout: 1.0, ..Default::default() });
        assert!(text.contains("gate_dropout = 1"), "{text}");
    }
}
