//! Where rows come from: real sets as features and labels, drawn to a prevalence.

use headwater_core::Streams;
use headwater_decisions::{Architecture, DecisionError, Examples, Split};
use headwater_protocol::CellError;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use headwater_data::adult::{
    MARITAL_STATUSES, OCCUPATIONS, Person, RACES, RELATIONSHIPS, SEXES, WORK_CLASSES,
};
use headwater_data::pneumoniamnist::{ChestImage, ChestSplit};
use headwater_data::{DataDir, DataError, digits_8x8, pneumoniamnist};

/// A real set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Source {
    /// People; positive is an income above 50,000 dollars.
    Adult,
    /// Chest X-rays of the official training and validation splits; positive is pneumonia.
    Xray,
    /// Digits; positive is an eight.
    Digits,
}

impl Source {
    /// Name of the data set.
    pub(super) fn set(self) -> &'static str {
        match self {
            Self::Adult => "adult",
            Self::Xray => "pneumoniamnist",
            Self::Digits => "digits-8x8",
        }
    }

    /// The network of its arms.
    pub(super) fn architecture(self) -> Architecture {
        match self {
            Self::Adult => Architecture::Dense { hidden: vec![32, 32] },
            Self::Xray => Architecture::Convolutional {
                side: pneumoniamnist::SIDE,
                channels: vec![8, 16, 16],
            },
            Self::Digits => {
                Architecture::Convolutional { side: digits_8x8::SIDE, channels: vec![8, 16] }
            }
        }
    }

    fn examples(self, data: &DataDir) -> Result<Examples, CellError> {
        Ok(match self {
            Self::Adult => people(&data.adult()?)?,
            Self::Xray => {
                let mut images = data.pneumoniamnist(ChestSplit::Train)?;
                images.extend(data.pneumoniamnist(ChestSplit::Validation)?);
                x_rays(&images)?
            }
            Self::Digits => digits(&data.digits_8x8()?)?,
        })
    }
}

/// A set drawn to a prevalence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Population {
    pub(super) source: Source,
    /// Share of positives in every part.
    pub(super) prevalence: f64,
    /// Rows to train on, to stop by, to recalibrate on, and to score.
    pub(super) sizes: [usize; 4],
}

/// The four parts of one seed, and the official test split where the set has one of another origin.
pub(super) struct Rows {
    pub(super) train: Examples,
    pub(super) validation: Examples,
    pub(super) calibration: Examples,
    pub(super) test: Examples,
    pub(super) official: Option<Examples>,
}

impl Population {
    /// Draws the rows of a seed; `permuted` labels tell nothing of the features, and their shares
    /// are the same.
    pub(super) fn rows(
        &self,
        data: &DataDir,
        permuted: bool,
        streams: &Streams,
    ) -> Result<Rows, CellError> {
        let all = self.source.examples(data)?;
        let [train, validation, calibration, test] = self.draw(&all, permuted, streams)?;
        let official = match self.source {
            Source::Xray => Some(x_rays(&data.pneumoniamnist(ChestSplit::Test)?)?),
            Source::Adult | Source::Digits => None,
        };
        Ok(Rows { train, validation, calibration, test, official })
    }

    /// The parts, in the order of `sizes`, from all rows of the source.
    fn draw(
        &self,
        all: &Examples,
        permuted: bool,
        streams: &Streams,
    ) -> Result<[Examples; 4], DecisionError> {
        let mut rng = streams.stream("rows", &[]);
        let split = Split::stratified(all.positive(), self.sizes, self.prevalence, &mut rng)?;
        let mut part = |rows: &[usize]| -> Result<Examples, DecisionError> {
            let part = all.subset(rows);
            if !permuted {
                return Ok(part);
            }
            let mut labels = part.positive().to_vec();
            labels.shuffle(&mut rng);
            Examples::new(part.features().to_vec(), part.width(), labels)
        };
        Ok([
            part(&split.train)?,
            part(&split.validation)?,
            part(&split.calibration)?,
            part(&split.test)?,
        ])
    }
}

/// Numbers about their usual values in units of their usual spread, capital gain and loss on a log
/// scale, a feature for every category (of countries, for the United States alone). The sample
/// weight is left out.
fn people(people: &[Person]) -> Result<Examples, DecisionError> {
    let mut features: Vec<f32> = Vec::new();
    for person in people {
        features.extend([
            (person.age as f32 - 38.0) / 14.0,
            (person.education as f32 - 10.0) / 2.5,
            (person.hours_per_week as f32 - 40.0) / 12.0,
            (person.capital_gain as f32).ln_1p() / 4.0,
            (person.capital_loss as f32).ln_1p() / 4.0,
            f32::from(u8::from(person.country == "United-States")),
        ]);
        for (category, count) in [
            (person.work_class, WORK_CLASSES.len()),
            (person.marital_status, MARITAL_STATUSES.len()),
            (person.occupation, OCCUPATIONS.len()),
            (person.relationship, RELATIONSHIPS.len()),
            (person.race, RACES.len()),
            (person.sex, SEXES.len()),
        ] {
            features.extend((0..count).map(|at| f32::from(u8::from(at == category))));
        }
    }
    let width = features.len() / people.len().max(1);
    Examples::new(features, width, people.iter().map(|person| person.above_50k).collect())
}

fn x_rays(images: &[ChestImage]) -> Result<Examples, DecisionError> {
    let pixels = images.iter().flat_map(|image| &image.pixels);
    let features = pixels.map(|pixel| f32::from(*pixel) / 127.5 - 1.0).collect();
    let side = pneumoniamnist::SIDE;
    Examples::new(features, side * side, images.iter().map(|image| image.pneumonia).collect())
}

fn digits(images: &[digits_8x8::DigitImage]) -> Result<Examples, DecisionError> {
    let pixels = images.iter().flat_map(|image| image.pixels);
    let features = pixels.map(|pixel| f32::from(pixel) / 8.0 - 1.0).collect();
    let side = digits_8x8::SIDE;
    Examples::new(features, side * side, images.iter().map(|image| image.digit == 8).collect())
}

/// Why a set cannot be read, or nothing.
pub(super) fn missing(source: Source, data: &DataDir) -> Option<DataError> {
    data.locate(source.set()).err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::real_data;

    #[test]
    fn parts_have_their_sizes_and_prevalence_and_permuted_labels_keep_it() {
        // A feature that names the row.
        let features = (0..2000u16).map(f32::from).collect();
        let all = Examples::new(features, 1, (0..2000).map(|row| row % 10 < 3).collect()).unwrap();
        let population =
            Population { source: Source::Adult, prevalence: 0.1, sizes: [300, 100, 50, 200] };
        let streams = Streams::new(1);
        let parts = population.draw(&all, false, &streams).unwrap();
        assert_eq!(parts.each_ref().map(Examples::rows), population.sizes);
        assert_eq!(parts.each_ref().map(Examples::prevalence), [0.1; 4]);
        let mut drawn: Vec<f32> = parts.iter().flat_map(|part| part.features().to_vec()).collect();
        drawn.sort_unstable_by(f32::total_cmp);
        drawn.dedup();
        assert_eq!(drawn.len(), 650, "no row is drawn twice");
        for part in &parts {
            for (row, positive) in part.features().iter().zip(part.positive()) {
                assert_eq!(*positive, row % 10.0 < 3.0, "a row keeps its label");
            }
        }
        let permuted = population.draw(&all, true, &streams).unwrap();
        for (part, other) in parts.iter().zip(&permuted) {
            assert_eq!(part.features(), other.features());
            assert_eq!(part.prevalence(), other.prevalence());
            assert_ne!(part.positive(), other.positive());
        }
    }

    #[test]
    fn rows_become_features_of_the_documented_scale() {
        let usual = Person {
            age: 38,
            work_class: 8,
            education: 10,
            marital_status: 0,
            occupation: 14,
            relationship: 5,
            race: 4,
            sex: 1,
            capital_gain: 0,
            capital_loss: 0,
            hours_per_week: 40,
            country: "United-States".into(),
            above_50k: true,
        };
        let other = Person {
            age: 52,
            education: 15,
            hours_per_week: 28,
            capital_gain: 99_999,
            country: "Peru".into(),
            above_50k: false,
            ..usual.clone()
        };
        let rows = people(&[usual, other]).unwrap();
        assert_eq!((rows.width(), rows.positive()), (50, &[true, false][..]));
        let (usual, other) = rows.features().split_at(50);
        assert_eq!(usual[..6], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(other[..3], [1.0, 2.0, -1.0]);
        assert!((other[3] - 1e5f32.ln() / 4.0).abs() < 1e-6, "{}", other[3]);
        assert_eq!(other[4..6], [0.0, 0.0]);
        // The last of 9, the first of 7, the last of 15, 6, 5 and 2.
        let ones: Vec<usize> = (6..50).filter(|at| usual[*at] == 1.0).collect();
        assert_eq!(ones, [6 + 8, 6 + 9, 6 + 30, 6 + 36, 6 + 41, 6 + 43]);
        assert_eq!(usual[6..].iter().sum::<f32>(), 6.0);

        let image = |pixel, pneumonia| ChestImage { pixels: vec![pixel; 784], pneumonia };
        let rows = x_rays(&[image(0, true), image(255, false)]).unwrap();
        assert_eq!((rows.width(), rows.positive()), (784, &[true, false][..]));
        assert_eq!((rows.features()[783], rows.features()[784]), (-1.0, 1.0));

        let image = |pixel, digit| digits_8x8::DigitImage { pixels: [pixel; 64], digit };
        let rows = digits(&[image(0, 8), image(16, 3)]).unwrap();
        assert_eq!((rows.width(), rows.positive()), (64, &[true, false][..]));
        assert_eq!((rows.features()[63], rows.features()[64]), (-1.0, 1.0));
    }

    #[test]
    #[ignore = "real data"]
    fn populations_of_real_sets_have_their_prevalence_and_features_of_a_size_that_trains() {
        let data = real_data();
        for (source, prevalence, width) in
            [(Source::Adult, 0.05, 50), (Source::Xray, 0.9, 784), (Source::Digits, 0.1, 64)]
        {
            let population = Population { source, prevalence, sizes: [300, 100, 100, 200] };
            let rows = population.rows(&data, false, &Streams::new(1)).unwrap();
            assert_eq!((rows.train.rows(), rows.train.width()), (300, width));
            assert_eq!(
                rows.official.as_ref().map(Examples::rows),
                match source {
                    Source::Xray => Some(624),
                    _ => None,
                }
            );
            for part in [&rows.train, &rows.test] {
                assert!((part.prevalence() - prevalence).abs() < 0.01);
            }
            let size = part_size(&rows.train);
            assert!(size < 4.0, "{source:?}: features of a size that trains: {size}");
        }
    }

    /// Root mean square of the features.
    fn part_size(part: &Examples) -> f32 {
        let square: f32 = part.features().iter().map(|x| x * x).sum();
        (square / part.features().len() as f32).sqrt()
    }
}
