//! A Rust type for each type of value, with the check of its bounds.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::config::Secret;
use crate::config::error::ErrorSink;
use crate::config::keys::choice::{Choice, CorsMode, Named, alternatives};
use crate::config::keys::key::{Key, Kind, Type};
use crate::config::keys::{BucketSettings, CorsSettings, S3Settings};
use crate::config::units::{ByteSize, Decimal, Span, write_size, write_span_ms};

/// The placeholder for a secret.
pub(in crate::config) const MASKED: &str = "***";

/// The statuses that a cache may remember.
const NEGATIVE: [u16; 2] = [404, 403];

/// The value of a key.
pub(super) trait Setting {
    /// Its type.
    const KIND: Kind;

    /// Reports a value that is outside the bounds of `key`. `place` is the path of the key.
    fn check(&self, _key: &Key, _place: &str, _complain: ErrorSink<'_>) {}
}

/// Returns the default of a key, deserialized as from a file.
pub(super) fn of_default<T: DeserializeOwned>(key: &Key) -> T {
    serde_json::from_value(key.default_value()).expect("the default of a key has the key's type")
}

/// An address to listen on, as written.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct Address(pub(in crate::config) String);

impl Setting for Address {
    const KIND: Kind = Kind::Value(Type::Address);
}

impl Setting for String {
    const KIND: Kind = Kind::Value(Type::Text);
}

/// A text of any number of lines.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct Lines(pub(in crate::config) String);

impl Setting for Lines {
    const KIND: Kind = Kind::Value(Type::Lines);
}

impl Setting for Secret {
    const KIND: Kind = Kind::Value(Type::Secret);
}

impl Setting for bool {
    const KIND: Kind = Kind::Value(Type::Boolean);
}

impl Setting for u16 {
    const KIND: Kind = Kind::Value(Type::Number);
}

impl Setting for u32 {
    const KIND: Kind = Kind::Value(Type::Count);

    fn check(&self, key: &Key, place: &str, complain: ErrorSink<'_>) {
        if !key.bounds.allow(u64::from(*self)) {
            complain(place, &format!("expected {}; found {self}", key.allowed()));
        }
    }
}

impl Setting for Decimal {
    const KIND: Kind = Kind::Value(Type::Decimal);
}

impl Setting for ByteSize {
    const KIND: Kind = Kind::Value(Type::Size);

    fn check(&self, key: &Key, place: &str, complain: ErrorSink<'_>) {
        if !key.bounds.allow(self.0) {
            complain(place, &format!("expected {}; found {}", key.allowed(), write_size(self.0)));
        }
    }
}

impl Setting for Span {
    const KIND: Kind = Kind::Value(Type::Duration);

    fn check(&self, key: &Key, place: &str, complain: ErrorSink<'_>) {
        if !key.bounds.allow(self.as_ms()) {
            let [found, default] = [*self, of_default(key)].map(|span| write_span_ms(span.as_ms()));
            let message = format!("expected {}, found {found}; the default is {default}", key.allowed());
            complain(place, &message);
        }
    }
}

impl<T: Named> Setting for Choice<T> {
    const KIND: Kind = Kind::Value(Type::Choice(T::NAMES));
}

impl Setting for Vec<String> {
    const KIND: Kind = Kind::Value(Type::Names);
}

/// Header fields by their names.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct Fields(pub(in crate::config) BTreeMap<String, String>);

impl Setting for Fields {
    const KIND: Kind = Kind::Value(Type::Fields);
}

/// A section, or a list of sections.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct Several<T>(pub(in crate::config) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMore<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a section or a list of sections")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
            }
        }

        deserializer.deserialize_any(OneOrMore(PhantomData)).map(Self)
    }
}

impl<T: Setting> Setting for Several<T> {
    const KIND: Kind = Kind::Several(T::KIND.inner());

    fn check(&self, key: &Key, place: &str, complain: ErrorSink<'_>) {
        for (index, entry) in self.0.iter().enumerate() {
            entry.check(key, &format!("{place}[{index}]"), complain);
        }
    }
}

/// A section that may be absent as a whole.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct Optional<T>(pub(in crate::config) Option<T>);

impl<T: Setting> Setting for Optional<T> {
    const KIND: Kind = Kind::Optional(T::KIND.inner());

    fn check(&self, key: &Key, place: &str, complain: ErrorSink<'_>) {
        if let Some(section) = &self.0 {
            section.check(key, place, complain);
        }
    }
}

/// A section that stands elsewhere in the table, too.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct Again<T>(pub(in crate::config) T);

impl Setting for Again<S3Settings> {
    const KIND: Kind = Kind::Again(&S3Settings::SECTION);

    fn check(&self, _: &Key, place: &str, complain: ErrorSink<'_>) {
        self.0.check_bounds(place, complain);
    }
}

/// One of several names, or a section.
#[derive(Debug)]
pub(in crate::config) enum Either<N, T> {
    Name(N),
    Section(T),
}

impl<N: Named, T: Serialize> Serialize for Either<N, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name.name()),
            Self::Section(section) => section.serialize(serializer),
        }
    }
}

impl<'de, N: Named, T: Deserialize<'de>> Deserialize<'de> for Either<N, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrSection<N, T>(PhantomData<(N, T)>);

        impl<'de, N: Named, T: Deserialize<'de>> Visitor<'de> for NameOrSection<N, T> {
            type Value = Either<N, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, or its keys", alternatives(N::NAMES))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                // YAML reads an unquoted `off` as a boolean.
                self.visit_str(if value { "on" } else { "off" })
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                let unknown =
                    || E::custom(format!("expected {}, or its keys, found `{name}`", alternatives(N::NAMES)));
                N::named(name).map(Either::Name).ok_or_else(unknown)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Either::Section)
            }
        }

        deserializer.deserialize_any(NameOrSection(PhantomData))
    }
}

impl Setting for Either<CorsMode, CorsSettings> {
    const KIND: Kind = Kind::Either(CorsMode::NAMES, &CorsSettings::SECTION);

    fn check(&self, _: &Key, place: &str, complain: ErrorSink<'_>) {
        match self {
            Self::Name(_) => {}
            Self::Section(section) => section.check_bounds(place, complain),
        }
    }
}

impl Setting for Vec<u16> {
    const KIND: Kind = Kind::Value(Type::Statuses(&NEGATIVE));

    fn check(&self, key: &Key, place: &str, complain: ErrorSink<'_>) {
        for (index, status) in self.iter().enumerate().filter(|(_, status)| !NEGATIVE.contains(status)) {
            complain(&format!("{place}[{index}]"), &format!("expected {}, found {status}", key.allowed()));
        }
    }
}

impl Setting for Vec<BucketSettings> {
    const KIND: Kind = Kind::Sections(&BucketSettings::SECTION);

    fn check(&self, _: &Key, place: &str, complain: ErrorSink<'_>) {
        for (index, bucket) in self.iter().enumerate() {
            bucket.check_bounds(&format!("{place}[{index}]"), complain);
        }
    }
}

impl<T: Setting> Setting for Option<T> {
    const KIND: Kind = T::KIND;

    fn check(&self, key: &Key, place: &str, complain: ErrorSink<'_>) {
        if let Some(value) = self {
            value.check(key, place, complain);
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A secret is shown masked.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASKED)
    }
}
