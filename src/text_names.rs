//! Enums whose values have a fixed text each. One table per enum is used by the command line, settings, JSON, the database and
//! the logs.

use std::fmt;

/// The error of a text that names no value of an enum. `Display` lists the texts that do: "must be a, b or c".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownName(pub(crate) &'static [&'static str]);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (last, others) = self.0.split_last().unwrap_or((&"", &[]));
        f.write_str("must be ")?;
        match others {
            [] => f.write_str(last),
            others => write!(f, "{} or {last}", others.join(", ")),
        }
    }
}

impl std::error::Error for UnknownName {}

/// Implements `ALL`, `as_str`, `Display`, `FromStr` and the traits of serde from one table of variants and texts.
///
/// With `or Other` after the table, the variant `Other(Box<str>)` keeps every other text. Then reading a text can't fail: `read`
/// returns the value, and `Deserialize` is not implemented, because a row is read with `read`.
macro_rules! text_names {
    ($type:ident { $($variant:ident = $text:literal),+ $(,)? } or $other:ident) => {
        impl $type {
            /// All values that have a fixed text, in the order of the table.
            #[allow(dead_code, reason = "not every enum is listed")]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text of this value.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::$other(text) => text,
                }
            }

            /// Reads a text. An unknown text is kept.
            pub fn read(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    other => Self::$other(other.into()),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self::read(text))
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
    ($type:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $type {
            /// All values, in the order of the table.
            #[allow(dead_code, reason = "not every enum is listed")]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text of this value.
            #[doc(hidden)]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::text_names::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().copied().find(|value| value.as_str() == text);
                found.ok_or($crate::text_names::UnknownName(&[$($text),+]))
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_names;

#[cfg(test)]
#[allow(unreachable_pub, reason = "the functions of the macro are public, and this enum is not")]
mod tests {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Size {
        Small,
        Medium,
        Large,
    }

    text_names!(Size { Small = "small", Medium = "medium", Large = "large" });

    #[test]
    fn every_value_is_read_from_its_text_and_another_text_is_refused_with_the_list() {
        for size in Size::ALL {
            assert_eq!(size.to_string().parse(), Ok(*size));
            let json = serde_json::to_string(size).unwrap();
            assert_eq!(
                (json.as_str(), serde_json::from_str(&json).ok()),
                (&*format!("\"{size}\""), Some(*size))
            );
        }
        for other in ["", "Small", "huge"] {
            assert_eq!(other.parse::<Size>().unwrap_err().to_string(), "must be small, medium or large");
        }
    }
}
