//! Scenarios as text.

use std::{fmt, marker::PhantomData, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Scenario, Span, Who};

/// Why a text is not a valid scenario, for its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScenarioError(pub(super) String);

impl Scenario {
    /// Reads a scenario and checks that it can be run.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self =
            toml::from_str(text).map_err(|error| ScenarioError(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Writes it as [`Self::parse`] reads it.
    pub fn to_toml(&self) -> String {
        // Only numbers fail that no scenario may have; then the reason is more useful than nothing.
        toml::to_string(self).unwrap_or_else(|error| format!("# can't be written: {error}\n"))
    }
}

impl Span {
    /// The longest one in a scenario.
    pub(super) const MAX: Self = Self(Duration::from_secs(30 * 24 * 3600));

    /// So many thousandths of a second.
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros == 0 {
            return f.write_str("0s");
        }
        let in_units = |&(unit, size): &(&'static str, u64)| {
            let size = u128::from(size);
            (micros.checked_rem(size) == Some(0)).then_some((micros.checked_div(size)?, unit))
        };
        let (number, unit) = UNITS.iter().find_map(in_units).unwrap_or((micros, "us"));
        write!(f, "{number}{unit}")
    }
}

impl FromStr for Span {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let wrong = || ScenarioError(format!("`{text}` is not a length of time such as `30s`"));
        let end = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at_checked(end).ok_or_else(wrong)?;
        if number.is_empty() {
            return Err(wrong());
        }
        let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let units = UNITS.map(|(name, _)| name).join(", ");
            return Err(ScenarioError(format!("`{text}` has none of the units {units}")));
        };
        let micros = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*size));
        match micros.map(|micros| Self(Duration::from_micros(micros))) {
            Some(span) if span <= Self::MAX => Ok(span),
            Some(_) | None => Err(ScenarioError(format!("`{text}` is more than {}", Self::MAX))),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(number) => write!(f, "node {number}"),
            Self::Person(number) => write!(f, "person {number}"),
        }
    }
}

impl FromStr for Who {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let number = |digits: &str| match digits.bytes().all(|digit| digit.is_ascii_digit()) {
            true => digits.parse().ok(),
            false => None,
        };
        let node = || text.strip_prefix("node ").and_then(number).map(Self::Node);
        let person = || text.strip_prefix("person ").and_then(number).map(Self::Person);
        let wrong = || ScenarioError(format!("`{text}` is neither a `node 3` nor a `person 0`"));
        node().or_else(person).ok_or_else(wrong)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Who {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Written("a length of time such as `30s`", PhantomData))
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Written("a `node 3` or a `person 0`", PhantomData))
    }
}

/// Reads what is written as a string, and says what is expected in place of anything else.
struct Written<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err = ScenarioError>> de::Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Units of time with their microseconds, the longest first.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];
