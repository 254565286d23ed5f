//! Parses and writes sizes and durations with units, and decimal numbers.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A number of bytes: `1048576`, `"10MB"`, `"64KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteSize(pub(super) u64);

/// A span of time: seconds (`3600`) or `"500ms"`, `"90s"`, `"10m"`, `"1h"`, `"7d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// A number that is not negative: `0.4`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decimal(pub(super) f64);

impl Decimal {
    const EXPECTED: &'static str = "a number such as 0.4, not below 0";
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Decimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Decimal::EXPECTED)
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Decimal, E> {
                let is_good = value.is_finite() && value >= 0.0;
                is_good
                    .then_some(Decimal(value))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Decimal, E> {
                #[expect(clippy::cast_precision_loss, reason = "nobody writes so many digits")]
                self.visit_f64(value as f64)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Decimal, E> {
                let value = u64::try_from(value)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))?;
                self.visit_u64(value)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Decimal, E> {
                let value =
                    text.trim().parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
                self.visit_f64(value)
            }
        }

        deserializer.deserialize_any(Number)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

const SIZES: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

const SPANS_MS: [(&str, u64); 6] =
    [("", 1_000), ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl ByteSize {
    /// The units in lower case, each with its bytes.
    pub(super) const UNITS: &'static [(&'static str, u64)] = &SIZES;

    pub(super) const EXPECTED: &'static str = "a size such as 1048576, \"10MB\" or \"64KiB\"";

    pub(super) fn parse(text: &str) -> Option<Self> {
        scaled(text, &SIZES).map(Self)
    }
}

impl Span {
    /// The units in lower case, each with its milliseconds.
    pub(super) const UNITS: &'static [(&'static str, u64)] = &SPANS_MS;

    pub(super) const EXPECTED: &'static str =
        "seconds or a duration such as \"500ms\", \"90s\", \"10m\" or \"1h\"";

    pub(super) fn parse(text: &str) -> Option<Self> {
        scaled(text, &SPANS_MS).map(|ms| Self(Duration::from_millis(ms)))
    }

    /// Returns the whole milliseconds.
    pub(super) fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Parses a whole or decimal number with its unit. Returns `None` if either is invalid or the product overflows a
/// `u64`.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    if fraction.is_empty() {
        return if number.ends_with('.') { None } else { whole.checked_mul(*factor) };
    }
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let parts = fraction.parse::<u64>().ok()?.checked_mul(*factor)?;
    whole.checked_mul(*factor)?.checked_add(parts / scale)
}

struct Quantity<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.parse)(&number.to_string())
            .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let unsigned = u64::try_from(number).ok().and_then(|number| (self.parse)(&number.to_string()));
        unsigned.ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity { expected: Self::EXPECTED, parse: Self::parse })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity { expected: Self::EXPECTED, parse: Self::parse })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write_size(self.0))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write_span_ms(self.as_ms()))
    }
}

/// Returns a size that parses to the same value, in the largest unit that divides it, or in bytes if none does.
pub(super) fn write_size(bytes: u64) -> String {
    let unit = SIZES[2..].iter().filter(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    match unit.max_by_key(|(_, factor)| *factor) {
        Some((name, factor)) => {
            let name = name.to_ascii_uppercase().replace('I', "i").replace("Kb", "KB");
            format!("{}{name}", bytes / factor)
        }
        None => bytes.to_string(),
    }
}

/// Returns a duration of whole milliseconds that parses to the same value.
pub(super) fn write_span_ms(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_written() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("10MB", 10_000_000),
            ("10 mb", 10_000_000),
            ("64KiB", 65_536),
            ("1GB", 1_000_000_000),
            ("1.5GiB", 3 << 29),
            ("7B", 7),
        ] {
            assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MB", "10 XB", "-1", "1.", ".5KB", "1e6", "99999999999TB", "1.2.3KB"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_written() {
        for (text, ms) in
            [("3600", 3_600_000), ("1h", 3_600_000), ("500ms", 500), ("1.5s", 1_500), ("7d", 604_800_000)]
        {
            assert_eq!(Span::parse(text), Some(Span(Duration::from_millis(ms))), "{text}");
        }
        for text in ["1w", "s", "-1s", "1 hour"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number: u64, shift in 0u32..50) {
            let bytes = number >> shift;
            prop_assert_eq!(ByteSize::parse(&write_size(bytes)), Some(ByteSize(bytes)));
            let ms = bytes >> 10;
            prop_assert_eq!(Span::parse(&write_span_ms(ms)).map(Span::as_ms), Some(ms));
        }
    }
}
