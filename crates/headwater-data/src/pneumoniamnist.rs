//! `pneumoniamnist`: chest X-rays of children, 28 by 28 pixels, with and without pneumonia (Kermany
//! et al. 2018; MedMNIST v2, Yang et al. 2023).
//!
//! Images of the official training and validation splits come from one source, those of its test
//! split from another; here the training split is reduced (see `docs/data.md`). Not for clinical
//! use.

use std::io::Read;

use super::content::{Content, Place};
use super::{DataDir, DataError};

/// Pixels along a side.
pub const SIDE: usize = 28;

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChestImage {
    /// 0 (black) to 255, row by row from the top left, [`SIDE`] squared of them.
    pub pixels: Vec<u8>,
    /// Whether it shows pneumonia.
    pub pneumonia: bool,
}

/// A split of the published set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChestSplit {
    /// 3,014 images of the 4,708 published ones: all 1,214 normal, 1,800 with pneumonia.
    Train,
    /// 524 images.
    Validation,
    /// 624 images.
    Test,
}

impl DataDir {
    /// The images of one split of the set `pneumoniamnist`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] names the byte of a header, or the image, that is
    /// not as it should be.
    pub fn pneumoniamnist(&self, split: ChestSplit) -> Result<Vec<ChestImage>, DataError> {
        let name = match split {
            ChestSplit::Train => "train",
            ChestSplit::Validation => "val",
            ChestSplit::Test => "test",
        };
        let open = |file: &str| self.open("pneumoniamnist", &format!("{name}-{file}-ubyte.gz"));
        read(&mut open("images.idx3")?, &mut open("labels.idx1")?)
    }
}

fn read(images: &mut Content, labels: &mut Content) -> Result<Vec<ChestImage>, DataError> {
    let (side, path) = (SIDE as u32, labels.path.clone());
    let (images, pixels) = values(images, &[side, side])?;
    let (count, labels) = values(labels, &[])?;
    if images != count {
        let reason = format!("`dimension 1` is {count}: allowed is {images}, one label per image");
        return Err(Place { path: &path, unit: "byte", number: 5 }.error(reason));
    }
    let mut read = Vec::with_capacity(images);
    for (at, (pixels, label)) in pixels.chunks(SIDE * SIDE).zip(&labels).enumerate() {
        if *label > 1 {
            let place = Place { path: &path, unit: "image", number: at + 1 };
            return Err(place.refuse("label", label, "0 or 1"));
        }
        read.push(ChestImage { pixels: pixels.to_vec(), pneumonia: *label == 1 });
    }
    Ok(read)
}

/// Number of entries and all bytes of an IDX file of unsigned bytes whose entries have these
/// dimensions: two zeros, the type 8, the number of dimensions, each dimension as a big-endian
/// number, then the values.
fn values(content: &mut Content, dimensions: &[u32]) -> Result<(usize, Vec<u8>), DataError> {
    let path = content.path.clone();
    let place = |at: usize| Place { path: &path, unit: "byte", number: at + 1 };
    let mut bytes = Vec::new();
    content.text.read_to_end(&mut bytes).map_err(|error| place(bytes.len()).unreadable(&error))?;
    let header = 8 + 4 * dimensions.len();
    if bytes.len() < header {
        let (found, allowed) = (bytes.len(), format!("at least {header}"));
        return Err(place(found).refuse("size", found, &allowed));
    }
    for (at, expected) in [0, 0, 8, 1 + dimensions.len() as u8].into_iter().enumerate() {
        if bytes[at] != expected {
            return Err(place(at).refuse("header", bytes[at], &expected.to_string()));
        }
    }
    let dimension = |index: usize| {
        let at = 4 + 4 * index;
        u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    for (index, expected) in dimensions.iter().enumerate() {
        let found = dimension(index + 1);
        if found != *expected {
            let field = format!("dimension {}", index + 2);
            return Err(place(8 + 4 * index).refuse(&field, found, &expected.to_string()));
        }
    }
    let count = dimension(0) as usize;
    let expected = dimensions.iter().map(|d| *d as usize).product::<usize>() * count;
    let values = bytes.split_off(header);
    if values.len() != expected {
        let allowed = format!("{expected} after the header");
        return Err(place(header).refuse("size", values.len(), &allowed));
    }
    Ok((count, values))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::PathBuf;

    use super::*;
    use crate::testing::{check_broken, real};

    fn file(bytes: Vec<u8>) -> Content {
        Content { text: Box::new(Cursor::new(bytes)), path: PathBuf::from("set/file") }
    }

    fn header(dimensions: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        bytes.extend(dimensions.iter().flat_map(|d| d.to_be_bytes()));
        bytes
    }

    /// A made-up file of two images and one of their labels.
    fn files() -> [Vec<u8>; 2] {
        let mut images = header(&[2, 28, 28]);
        images.extend((0..2 * SIDE * SIDE).map(|at| (at % 256) as u8));
        let mut labels = header(&[2]);
        labels.extend([0, 1]);
        [images, labels]
    }

    #[test]
    fn the_made_up_files_are_read_value_for_value() {
        let [images, labels] = files();
        let pixels: Vec<u8> = (0..2 * SIDE * SIDE).map(|at| (at % 256) as u8).collect();
        let (first, second) = pixels.split_at(SIDE * SIDE);
        let expected = [
            ChestImage { pixels: first.to_vec(), pneumonia: false },
            ChestImage { pixels: second.to_vec(), pneumonia: true },
        ];
        assert_eq!(read(&mut file(images), &mut file(labels)).unwrap(), expected);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        let [images, labels] = files();
        check_broken(&images, |content| read(content, &mut file(labels.clone())));
        check_broken(&labels, |content| read(&mut file(images.clone()), content));
    }

    /// The made-up files with a change in one of them.
    fn changed(in_images: bool, change: impl Fn(&mut Vec<u8>)) -> Result<Vec<ChestImage>, String> {
        let [mut images, mut labels] = files();
        change(if in_images { &mut images } else { &mut labels });
        read(&mut file(images), &mut file(labels)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_malformed_file_is_named_with_byte_or_image() {
        let error = |in_images, at: usize, to: u8| {
            let error = changed(in_images, |bytes| bytes[at] = to).unwrap_err();
            error.strip_prefix("set/file, ").unwrap().to_owned()
        };
        assert_eq!(error(true, 2, 9), "byte 3: `header` is 9: allowed is 8");
        assert_eq!(error(true, 15, 27), "byte 13: `dimension 3` is 27: allowed is 28");
        assert_eq!(error(true, 7, 3), "byte 17: `size` is 1568: allowed is 2352 after the header");
        assert_eq!(error(false, 9, 2), "image 2: `label` is 2: allowed is 0 or 1");
        let fewer = changed(false, |bytes| {
            bytes[7] = 1;
            bytes.pop();
        });
        let expected = "set/file, byte 5: `dimension 1` is 1: allowed is 2, one label per image";
        assert_eq!(fewer.unwrap_err(), expected);
        let short = changed(false, |bytes| bytes.truncate(3));
        assert_eq!(short.unwrap_err(), "set/file, byte 4: `size` is 3: allowed is at least 8");
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_images_have_the_published_counts() {
        for (split, normal, pneumonia) in [
            (ChestSplit::Train, 1214, 1800),
            (ChestSplit::Validation, 135, 389),
            (ChestSplit::Test, 234, 390),
        ] {
            let images = real(|data| data.pneumoniamnist(split));
            let ill = images.iter().filter(|image| image.pneumonia).count();
            assert_eq!((images.len() - ill, ill), (normal, pneumonia), "{split:?}");
            assert!(images.iter().all(|image| image.pixels.len() == SIDE * SIDE));
        }
    }
}
