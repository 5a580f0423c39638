//! Data that is part of the program: scikit-learn's digits, verbatim, with its licence
//! beside them (BSD-3-Clause, `built_in/digits-8x8/LICENSE`).

/// The bytes of a file of a set, as they would lie in its directory; none if they are not built in.
pub(super) fn file(set: &str, name: &str) -> Option<&'static [u8]> {
    match (set, name) {
        ("digits-8x8", "digits.csv.gz") => {
            Some(include_bytes!("../built_in/digits-8x8/digits.csv.gz"))
        }
        _ => None,
    }
}
