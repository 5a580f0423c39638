//! Checked configs: a plain serde struct is checked once into a value nothing downstream re-validates.

use std::fmt::Display;

use num_traits::Float;

/// A config field that holds a value it may not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{config}.{field} = {value}: allowed is {allowed}")]
pub struct ConfigError {
    /// Name of the config struct, e.g. `TrainerConfig`.
    pub config: &'static str,
    /// Name of the field.
    pub field: &'static str,
    /// The offending value as text.
    pub value: String,
    /// The allowed range in words, e.g. `a finite number above 0`.
    pub allowed: &'static str,
}

/// An unchecked config that becomes a valid value, or an error that names the field.
///
/// The config itself is a serde struct with `deny_unknown_fields`; the checked value has private
/// fields, so that holding one is the proof of validity. Parts of a config that have no checked
/// value of their own have a method `validate(&self) -> Result<(), ConfigError>`, which the check
/// of the whole calls.
pub trait Check: Sized {
    /// The valid value.
    type Checked;

    /// Checks every field once.
    ///
    /// # Errors
    /// The first field that is out of its allowed range.
    fn check(self) -> Result<Self::Checked, ConfigError>;
}

/// `Ok(())` when `holds`, else the error that names the field, its value and what is allowed.
///
/// # Errors
/// When `holds` is false.
pub fn require(
    holds: bool,
    config: &'static str,
    field: &'static str,
    value: impl Display,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError { config, field, value: value.to_string(), allowed })
}

/// [`require`] for a field that holds a finite number.
///
/// # Errors
/// NaN and infinity.
pub fn require_finite<T: Float + Display>(
    config: &'static str,
    field: &'static str,
    value: T,
) -> Result<(), ConfigError> {
    require(value.is_finite(), config, field, value, "a finite number")
}

/// [`require`] for a field that holds a finite number above 0.
///
/// # Errors
/// NaN, infinity, 0 and everything below.
pub fn require_positive<T: Float + Display>(
    config: &'static str,
    field: &'static str,
    value: T,
) -> Result<(), ConfigError> {
    let holds = value.is_finite() && value > T::zero();
    require(holds, config, field, value, "a finite number above 0")
}

/// [`require`] for a field that holds a finite number of at least 0.
///
/// # Errors
/// NaN, infinity, and everything below 0.
pub fn require_non_negative<T: Float + Display>(
    config: &'static str,
    field: &'static str,
    value: T,
) -> Result<(), ConfigError> {
    let holds = value.is_finite() && value >= T::zero();
    require(holds, config, field, value, "a finite number of at least 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_checked_at_the_edges_of_their_ranges() {
        let smallest = f64::from_bits(1);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(require_finite("C", "x", bad).is_err());
            assert!(require_positive("C", "x", bad).is_err());
            assert!(require_non_negative("C", "x", bad).is_err());
        }
        assert!(require_finite("C", "x", f64::MIN).is_ok());
        assert!(require_positive("C", "x", smallest).is_ok());
        assert!(require_positive("C", "x", -0.0).is_err());
        assert!(require_non_negative("C", "x", -0.0).is_ok());
        assert_eq!(
            require_non_negative("C", "x", -1.5_f32).unwrap_err().to_string(),
            "C.x = -1.5: allowed is a finite number of at least 0"
        );
    }

    #[test]
    fn the_error_names_field_value_and_range() {
        let error =
            require(false, "TrainerConfig", "clip", -0.1, "a number in (0, 1)").unwrap_err();
        assert_eq!(error.to_string(), "TrainerConfig.clip = -0.1: allowed is a number in (0, 1)");
        assert_eq!(require(true, "TrainerConfig", "clip", 0.2, "a number in (0, 1)"), Ok(()));
    }
}
