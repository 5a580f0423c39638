//! `digits-8x8`: handwritten digits as images of 8 by 8 pixels (Alpaydin & Kaynak 1998;
//! scikit-learn's copy).

use std::io::{BufRead, BufReader};

use super::content::{Content, Place, shown};
use super::{DataDir, DataError};

/// Pixels along a side.
pub const SIDE: usize = 8;

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigitImage {
    /// 0 (paper) to 16, row by row from the top left.
    pub pixels: [u8; SIDE * SIDE],
    /// 0 to 9.
    pub digit: u8,
}

impl DataDir {
    /// The 1,797 images of the set `digits-8x8`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn digits_8x8(&self) -> Result<Vec<DigitImage>, DataError> {
        read(&mut self.open("digits-8x8", "digits.csv.gz")?)
    }
}

fn read(content: &mut Content) -> Result<Vec<DigitImage>, DataError> {
    let path = content.path.clone();
    let mut images = Vec::new();
    for (at, line) in BufReader::new(&mut content.text).lines().enumerate() {
        let place = Place::line(&path, at + 1);
        let line = line.map_err(|error| place.unreadable(&error))?;
        let fields: Vec<&str> = line.split(',').collect();
        let Some(([digit], pixels)) = fields.split_last_chunk().map(|(rest, last)| (*last, rest))
        else {
            continue;
        };
        if pixels.len() != SIDE * SIDE {
            let found = fields.len();
            return Err(place.error(format!("it has {found} fields: allowed is 65")));
        }
        let number = |field: &str, text: &str, most: u32| {
            place.whole(field, text.parse().ok(), shown(text), 0..=most)
        };
        let mut image = DigitImage { pixels: [0; SIDE * SIDE], digit: 0 };
        for (column, (pixel, text)) in image.pixels.iter_mut().zip(pixels).enumerate() {
            *pixel = number(&format!("column {}", column + 1), text, 16)? as u8;
        }
        image.digit = number("column 65", digit, 9)? as u8;
        images.push(image);
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const FILE: &str = include_str!("../fixtures/digits-8x8/digits.csv");

    #[test]
    fn the_made_up_file_is_read_value_for_value() {
        let mut corner = DigitImage { pixels: [0; SIDE * SIDE], digit: 7 };
        corner.pixels[63] = 16;
        let ramp = DigitImage { pixels: std::array::from_fn(|at| (at % 17) as u8), digit: 0 };
        assert_eq!(read(&mut synthetic(FILE)).unwrap(), [corner, ramp]);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), read);
    }

    #[test]
    fn a_malformed_row_is_named_with_line_and_column() {
        let good = format!("{}16,7", "0,".repeat(63));
        let error = |from: &str, to: &str| {
            let text = format!("{good}\n{}\n", good.replacen(from, to, 1));
            let error = read(&mut synthetic(&text)).unwrap_err().to_string();
            error.strip_prefix("set/file, line 2: ").unwrap().to_owned()
        };
        assert_eq!(error("16", "17"), "`column 64` is `17`: allowed is a whole number in [0, 16]");
        assert_eq!(error(",7", ",x"), "`column 65` is `x`: allowed is a whole number in [0, 9]");
        assert_eq!(error("0,", ""), "it has 64 fields: allowed is 65");
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_images_have_the_published_counts() {
        let images = real(DataDir::digits_8x8);
        let count = |digit| images.iter().filter(|image| image.digit == digit).count();
        assert_eq!(images.len(), 1797);
        assert_eq!([count(0), count(1), count(8)], [178, 182, 174]);
        assert_eq!(images.iter().map(|image| image.pixels[36]).max(), Some(16));
    }
}
