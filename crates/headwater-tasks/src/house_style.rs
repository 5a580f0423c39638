//! A hidden house style: sort four digits, and write three style tokens as a user wants them.
//!
//! The prompt `3917a.bDc.>` is four digits, a pair of tag and value for each slot, and a separator;
//! `.` stands where there is no hint. The response is a style token, the digits sorted, two more
//! style tokens, the end. Which values a user wants is not in the prompt: it shows only in how the
//! user reacts to a response.

use headwater_core::{ConfigError, EOS, Example, StreamRng, Vocabulary, require};
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

/// Digits of a request.
pub const DIGITS: usize = 4;
/// Style slots.
pub const SLOTS: usize = 3;
/// Values that a slot may take.
pub const VALUES: u32 = 8;
/// Tokens of a response: style, sorted digits, style, style, end.
pub const RESPONSE_TOKENS: usize = DIGITS + SLOTS + 1;
/// Where the slots stand in a response.
pub const SLOT_AT: [usize; SLOTS] = [0, DIGITS + 1, DIGITS + 2];
/// Most tokens of prompt and response together.
pub const CONTEXT: usize = DIGITS + 2 * SLOTS + 1 + RESPONSE_TOKENS;

// Ids in the order of the vocabulary, after its three special tokens.
const DIGIT: u32 = 3;
const TAG: u32 = DIGIT + 10;
const VALUE: u32 = TAG + SLOTS as u32;
const EMPTY: u32 = VALUE + VALUES;
const SEPARATOR: u32 = EMPTY + 1;

/// The vocabulary of the task.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    Vocabulary::characters("0123456789abcABCDEFGH.>")
}

/// Says which value a slot should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hint {
    /// Below [`SLOTS`].
    pub slot: usize,
    /// Below [`VALUES`].
    pub value: u32,
}

impl Hint {
    /// The token that obeys it.
    #[must_use]
    pub fn token(&self) -> u32 {
        VALUE + self.value
    }
}

/// A value for each slot.
pub type Style = [u32; SLOTS];

/// A random style.
pub fn any_style(stream: &mut StreamRng) -> Style {
    std::array::from_fn(|_| stream.random_range(0..VALUES))
}

/// Digits to be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    digits: [u32; DIGITS],
}

impl Request {
    /// Random digits.
    pub fn draw(stream: &mut StreamRng) -> Self {
        Self { digits: std::array::from_fn(|_| stream.random_range(0..10)) }
    }

    /// What the policy reads: the digits, for each slot its tag and the value hinted, the
    /// separator.
    #[must_use]
    pub fn prompt(&self, hints: &[Hint]) -> Vec<u32> {
        let mut tokens: Vec<u32> = self.digits.iter().map(|digit| DIGIT + digit).collect();
        for slot in 0..SLOTS {
            // The last hint about a slot counts.
            let hint = hints.iter().rev().find(|hint| hint.slot == slot);
            tokens.push(TAG + slot as u32);
            tokens.push(hint.map_or(EMPTY, |hint| VALUE + hint.value));
        }
        tokens.push(SEPARATOR);
        tokens
    }

    /// The response in that style with the digits sorted.
    #[must_use]
    pub fn response(&self, style: Style) -> Vec<u32> {
        let mut sorted = self.digits;
        sorted.sort_unstable();
        let mut tokens = vec![VALUE + style[0]];
        tokens.extend(sorted.map(|digit| DIGIT + digit));
        tokens.extend([VALUE + style[1], VALUE + style[2], EOS]);
        tokens
    }

    /// Whether a response has the digits sorted where they belong.
    #[must_use]
    pub fn is_sorted_in(&self, response: &[u32]) -> bool {
        let at = SLOT_AT[0] + 1..SLOT_AT[1];
        response.get(at.clone()) == self.response([0; SLOTS]).get(at)
    }

    /// A demonstration: each slot is hinted with probability one half, and obeyed; the rest of the
    /// style is random.
    pub fn demonstration(stream: &mut StreamRng) -> Example {
        let (request, style) = (Self::draw(stream), any_style(stream));
        let hinted = (0..SLOTS).filter(|_| stream.random::<bool>());
        let hints: Vec<Hint> = hinted.map(|slot| Hint { slot, value: style[slot] }).collect();
        Example { prompt: request.prompt(&hints), completion: request.response(style) }
    }
}

/// How a user reacts, unchecked against the ranges that [`UserConfig::validate`] states.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// Slots that the user cares about, 1 to [`SLOTS`].
    pub cares: usize,
    /// Whether OK and REDO say if the response is as wanted; a user of whom it is false always says
    /// OK.
    pub evaluates: bool,
    /// Probability that OK and REDO are exchanged, in [0, 1].
    pub verdict_noise: f64,
    /// Probability that a reply names a wrong slot and its value, where there is one, in [0, 1].
    pub hint_density: f64,
    /// Probability that the value named is not the wanted one, in [0, 1].
    pub hint_noise: f64,
    /// Hints name a slot and a value at random, whatever the user wants and whether anything is
    /// wrong.
    pub blind_hints: bool,
}

impl UserConfig {
    /// One who says truthfully whether all is as wanted and, if not, names a wrong slot and its
    /// value.
    #[must_use]
    pub fn clear(cares: usize) -> Self {
        Self {
            cares,
            evaluates: true,
            verdict_noise: 0.0,
            hint_density: 1.0,
            hint_noise: 0.0,
            blind_hints: false,
        }
    }

    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let config = "UserConfig";
        require((1..=SLOTS).contains(&self.cares), config, "cares", self.cares, "1 to 3")?;
        for (field, value) in [
            ("verdict_noise", self.verdict_noise),
            ("hint_density", self.hint_density),
            ("hint_noise", self.hint_noise),
        ] {
            require((0.0..=1.0).contains(&value), config, field, value, "a number in [0, 1]")?;
        }
        Ok(())
    }
}

/// What comes after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextState {
    /// OK, as opposed to REDO.
    pub ok: bool,
    /// A remark that names a slot and a value.
    pub hint: Option<Hint>,
}

/// A user with wishes that no prompt shows.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    config: UserConfig,
    /// The value wanted of each slot, where the user cares.
    wants: [Option<u32>; SLOTS],
}

impl User {
    /// A user with random wishes.
    ///
    /// # Errors
    /// A field out of range.
    pub fn draw(config: UserConfig, stream: &mut StreamRng) -> Result<Self, ConfigError> {
        config.validate()?;
        let style = any_style(stream);
        // Which slots matter is drawn even where all do, so that users who care about fewer want
        // the same there.
        let mut slots: Vec<usize> = (0..SLOTS).collect();
        let first = stream.random_range(0..SLOTS);
        slots.rotate_left(first);
        let mut wants = [None; SLOTS];
        for slot in &slots[..config.cares] {
            wants[*slot] = Some(style[*slot]);
        }
        Ok(Self { config, wants })
    }

    /// The value wanted of each slot, where the user cares.
    #[must_use]
    pub fn wants(&self) -> [Option<u32>; SLOTS] {
        self.wants
    }

    /// The wanted style, with zeros where the user does not care.
    #[must_use]
    pub fn style(&self) -> Style {
        self.wants.map(Option::unwrap_or_default)
    }

    /// Slots of a response that are not as wanted.
    #[must_use]
    pub fn wrong_slots(&self, response: &[u32]) -> Vec<usize> {
        let wrong = |slot: &usize| {
            self.wants[*slot]
                .is_some_and(|value| response.get(SLOT_AT[*slot]) != Some(&(VALUE + value)))
        };
        (0..SLOTS).filter(wrong).collect()
    }

    /// The reaction to a response.
    pub fn reply(&self, response: &[u32], stream: &mut StreamRng) -> NextState {
        let config = &self.config;
        let wrong = self.wrong_slots(response);
        let exchanged = stream.random::<f64>() < config.verdict_noise;
        let ok = !config.evaluates || (wrong.is_empty() != exchanged);
        let speaks = stream.random::<f64>() < config.hint_density;
        let is_false = stream.random::<f64>() < config.hint_noise;
        let hint = if !speaks {
            None
        } else if config.blind_hints {
            let (slot, value) = (stream.random_range(0..SLOTS), stream.random_range(0..VALUES));
            Some(Hint { slot, value })
        } else {
            wrong.choose(stream).map(|&slot| {
                let wanted = self.wants[slot].unwrap_or_default();
                let other = stream.random_range(1..VALUES);
                Hint { slot, value: if is_false { (wanted + other) % VALUES } else { wanted } }
            })
        };
        NextState { ok, hint }
    }
}

/// A judge that reads OK and REDO by rule, with votes that err. Hints are read without error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Independent readings; with none every vote is a tie.
    pub votes: usize,
    /// Probability that a reading is the opposite, in [0, 1].
    pub error: f64,
}

impl Judge {
    /// +1 or -1 by strict plurality of the votes, 0 on a tie.
    pub fn read(&self, next: NextState, stream: &mut StreamRng) -> f64 {
        let right = (0..self.votes).filter(|_| stream.random::<f64>() >= self.error).count();
        let lead = (2 * right) as f64 - self.votes as f64;
        let truth = if next.ok { 1.0 } else { -1.0 };
        if lead == 0.0 { 0.0 } else { truth * lead.signum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    fn stream() -> StreamRng {
        Streams::new(5).stream("house style", &[])
    }

    #[test]
    fn ids_are_those_of_the_vocabulary() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.size() as u32, SEPARATOR + 1);
        let request = Request { digits: [3, 9, 1, 3] };
        let hints = [Hint { slot: 1, value: 3 }, Hint { slot: 2, value: 7 }];
        assert_eq!(vocabulary.decode(&request.prompt(&hints)), "3913a.bDcH>");
        let response = request.response([0, 3, 7]);
        assert_eq!(vocabulary.decode(&response), "A1339DH");
        assert_eq!(response.len(), RESPONSE_TOKENS);
        assert!(request.is_sorted_in(&response) && !request.is_sorted_in(&response[..4]));
        for (slot, at) in SLOT_AT.iter().enumerate() {
            assert_eq!(response[*at], VALUE + [0, 3, 7][slot]);
        }
    }

    #[test]
    fn demonstrations_obey_their_hints_and_hint_every_slot_half_the_time() {
        let (mut stream, mut hinted) = (stream(), [0.0; SLOTS]);
        for _ in 0..2000 {
            let example = Request::demonstration(&mut stream);
            let hints = &example.prompt[DIGITS..example.prompt.len() - 1];
            for pair in hints.chunks(2) {
                if pair[1] != EMPTY {
                    let slot = (pair[0] - TAG) as usize;
                    hinted[slot] += 1.0 / 2000.0;
                    assert_eq!(example.completion[SLOT_AT[slot]], pair[1]);
                }
            }
        }
        // Four standard errors.
        assert!(hinted.iter().all(|share: &f64| (share - 0.5).abs() < 0.045), "{hinted:?}");
    }

    #[test]
    fn a_clear_user_names_a_wrong_slot_and_the_wanted_value_until_nothing_is_wrong() {
        let mut stream = stream();
        let user = User::draw(UserConfig::clear(SLOTS), &mut stream).unwrap();
        for _ in 0..200 {
            let request = Request::draw(&mut stream);
            let style = any_style(&mut stream);
            let next = user.reply(&request.response(style), &mut stream);
            assert_eq!(next.ok, style == user.style());
            let Some(hint) = next.hint else {
                assert!(next.ok);
                continue;
            };
            assert_eq!(Some(hint.value), user.wants()[hint.slot]);
            assert_ne!(style[hint.slot], hint.value);
        }
        let right = Request::draw(&mut stream).response(user.style());
        assert_eq!(user.reply(&right, &mut stream), NextState { ok: true, hint: None });
    }

    #[test]
    fn noise_and_density_are_as_stated() {
        let config = UserConfig {
            verdict_noise: 0.2,
            hint_density: 0.3,
            hint_noise: 0.5,
            ..UserConfig::clear(1)
        };
        let mut stream = stream();
        let user = User::draw(config, &mut stream).unwrap();
        let cared = user.wants().iter().position(Option::is_some).unwrap();
        let (mut ok, mut spoken, mut wrong) = (0.0, 0.0, 0.0);
        let mut style = user.style();
        style[cared] = (style[cared] + 1) % VALUES;
        let response = Request::draw(&mut stream).response(style);
        for _ in 0..4000 {
            let next = user.reply(&response, &mut stream);
            ok += f64::from(next.ok) / 4000.0;
            if let Some(hint) = next.hint {
                spoken += 1.0;
                wrong += f64::from(Some(hint.value) != user.wants()[cared]);
            }
        }
        // Four standard errors.
        assert!((ok - 0.2f64).abs() < 0.026, "{ok}");
        assert!((spoken / 4000.0 - 0.3f64).abs() < 0.03, "{spoken}");
        assert!((wrong / spoken - 0.5f64).abs() < 0.06, "{wrong} of {spoken}");
        let refused = UserConfig { hint_noise: 1.5, ..config };
        let error = User::draw(refused, &mut stream).unwrap_err().to_string();
        assert!(error.contains("hint_noise") && error.contains("1.5"), "{error}");
    }

    #[test]
    fn blind_hints_do_not_depend_on_the_response() {
        let config = UserConfig { blind_hints: true, ..UserConfig::clear(SLOTS) };
        let mut stream = stream();
        let user = User::draw(config, &mut stream).unwrap();
        let right = Request::draw(&mut stream).response(user.style());
        let mut named = [0.0; SLOTS * VALUES as usize];
        for _ in 0..4800 {
            let hint = user.reply(&right, &mut stream).hint.unwrap();
            named[hint.slot * VALUES as usize + hint.value as usize] += 1.0 / 200.0;
        }
        // 200 expected of each, five standard errors.
        assert!(named.iter().all(|share: &f64| (share - 1.0).abs() < 0.36), "{named:?}");
    }

    #[test]
    fn more_votes_err_less_and_a_tie_is_zero() {
        let mut stream = stream();
        let next = NextState { ok: false, hint: None };
        let mut wrong = |votes| {
            let judge = Judge { votes, error: 0.2 };
            (0..4000).filter(|_| judge.read(next, &mut stream) > 0.0).count() as f64 / 4000.0
        };
        // 3 e^2 (1 - e) + e^3 with e = 0.2 is 0.104; four standard errors.
        assert!((wrong(1) - 0.2).abs() < 0.026);
        assert!((wrong(3) - 0.104).abs() < 0.02);
        let ties = (0..200).filter(|_| {
            Judge { votes: 2, error: 0.5 }.read(NextState { ok: true, hint: None }, &mut stream)
                == 0.0
        });
        assert!((60..140).contains(&ties.count()));
    }
}
