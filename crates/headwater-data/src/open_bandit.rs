//! `open-bandit`: recommendations of a fashion shop as two policies logged them (Saito et al. 2020,
//! arXiv 2008.07146), 10,000 rows for each policy and campaign.
//!
//! A page shows three items side by side; a row is one of them. Clicks are rare, 287 of 60,000
//! rows.

use super::content::Content;
use super::table::Table;
use super::{DataDir, DataError};

/// A part of the shop, with items of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Campaign {
    /// All items: 80.
    All,
    /// For men: 34.
    Men,
    /// For women: 46.
    Women,
}

impl Campaign {
    /// Every campaign.
    pub const ALL: [Self; 3] = [Self::All, Self::Men, Self::Women];

    /// The word in file names and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Men => "men",
            Self::Women => "women",
        }
    }

    /// Items that are shown in it, numbered from 0.
    #[must_use]
    pub fn items(self) -> usize {
        match self {
            Self::All => 80,
            Self::Men => 34,
            Self::Women => 46,
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::All => "all.csv.gz",
            Self::Men => "men.csv.gz",
            Self::Women => "women.csv.gz",
        }
    }
}

/// Who chose the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoggingPolicy {
    /// Every item as likely.
    Random,
    /// Bernoulli Thompson sampling, which knows nothing of the user; its propensities were
    /// simulated by the source.
    Thompson,
}

/// One item that was shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoggedItem {
    /// Who chose it.
    pub policy: LoggingPolicy,
    /// The item, from 0.
    pub item: usize,
    /// Left, middle or right: 1 to 3.
    pub position: u8,
    /// Whether it was clicked.
    pub click: bool,
    /// Probability with which the policy chose it, in (0, 1].
    pub propensity: f64,
}

const TABLE: Table = Table {
    delimiter: b',',
    quoting: true,
    header: true,
    columns: &[
        "policy",
        "timestamp",
        "item_id",
        "position",
        "click",
        "propensity",
        "uf0",
        "uf1",
        "uf2",
        "uf3",
        "affinity_nonzero",
    ],
};

impl DataDir {
    /// The 20,000 rows of one campaign of the set `open-bandit`, in file order. Features of users
    /// are left aside.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn open_bandit(&self, campaign: Campaign) -> Result<Vec<LoggedItem>, DataError> {
        read(&mut self.open("open-bandit", campaign.file())?, campaign)
    }
}

fn read(content: &mut Content, campaign: Campaign) -> Result<Vec<LoggedItem>, DataError> {
    let policies = [("random", LoggingPolicy::Random), ("bts", LoggingPolicy::Thompson)];
    let last = campaign.items() as u32 - 1;
    TABLE.read(content, |row| {
        let propensity = row.number("propensity", 0.0..=1.0)?;
        if propensity == 0.0 {
            return Err(row.place.refuse("propensity", "0", "a number in (0, 1]"));
        }
        Ok(LoggedItem {
            policy: row.choice("policy", &policies)?,
            item: row.whole("item_id", 0..=last)? as usize,
            position: row.whole("position", 1..=3)? as u8,
            click: row.flag("click")?,
            propensity,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const FILE: &str = include_str!("../fixtures/open-bandit/men.csv");

    #[test]
    fn the_made_up_file_is_read_value_for_value() {
        let item = |policy, item, position, click, propensity| LoggedItem {
            policy,
            item,
            position,
            click,
            propensity,
        };
        let expected = [
            item(LoggingPolicy::Random, 0, 1, false, 0.029412),
            item(LoggingPolicy::Thompson, 33, 3, true, 1.0),
        ];
        assert_eq!(read(&mut synthetic(FILE), Campaign::Men).unwrap(), expected);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), |content| read(content, Campaign::Men));
    }

    #[test]
    fn a_malformed_row_is_named_with_line_and_column() {
        let good = "bts,2019-11-24 00:03:13,33,3,1,0.25,0,0,0,0,2:1";
        let read = |row: &str| {
            let text = format!("{}\n{good}\n{row}\n", TABLE.columns.join(","));
            super::read(&mut synthetic(&text), Campaign::Men)
        };
        let error = |from: &str, to: &str| {
            let error = read(&good.replacen(from, to, 1)).unwrap_err().to_string();
            error.strip_prefix("set/file, line 3: ").unwrap().to_owned()
        };
        assert_eq!(error("bts", "egreedy"), "`policy` is `egreedy`: allowed is `random` or `bts`");
        assert_eq!(
            error(",33,", ",34,"),
            "`item_id` is `34`: allowed is a whole number in [0, 33]"
        );
        assert!(error(",3,1", ",0,1").starts_with("`position` is `0`"));
        assert!(error(",1,0.25", ",2,0.25").starts_with("`click` is `2`"));
        assert!(error("0.25", "1.5").starts_with("`propensity` is `1.5`"));
        assert!(error("0.25", "0").starts_with("`propensity` is 0: allowed is a number in (0, 1]"));
        assert!(error(",2:1", "").starts_with("it has 10 fields"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_logs_have_the_known_counts() {
        let mut by_position = [(0, 0); 3];
        for (campaign, [random_clicks, thompson_clicks]) in
            [(Campaign::All, [38, 42]), (Campaign::Men, [46, 69]), (Campaign::Women, [46, 46])]
        {
            let rows = real(|data| data.open_bandit(campaign));
            let of = |policy| rows.iter().filter(move |row| row.policy == policy);
            for (policy, clicks) in
                [(LoggingPolicy::Random, random_clicks), (LoggingPolicy::Thompson, thompson_clicks)]
            {
                assert_eq!(of(policy).count(), 10_000);
                assert_eq!(of(policy).filter(|row| row.click).count(), clicks);
            }
            for row in of(LoggingPolicy::Random) {
                // Six digits were kept.
                assert!((row.propensity - 1.0 / campaign.items() as f64).abs() < 1e-6);
                let (clicks, shown) = &mut by_position[usize::from(row.position) - 1];
                *clicks += usize::from(row.click);
                *shown += 1;
            }
            let largest =
                of(LoggingPolicy::Thompson).fold(0.0, |most, row| row.propensity.max(most));
            assert!(largest > 0.4, "{largest}");
        }
        assert_eq!(by_position, [(38, 9_935), (51, 10_174), (41, 9_891)]);
    }
}
