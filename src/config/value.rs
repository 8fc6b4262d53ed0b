//! Values that a configuration reader supplies for a field, and their conversion.
//!
//! serde's own errors quote the value, which may be a secret, and do not always name the field. So any value is accepted
//! first and checked here; the errors name the field and do not quote the value.

use std::{fmt, str::FromStr, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::{client_credentials::Secret, error::Error, util::wiped::Wiped};

/// Any value; parts of it may be secret.
pub(super) enum Given {
    Text(Wiped),
    /// A number or a boolean, as text.
    Bare(Wiped),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
    Nothing,
}

/// A field: its name in the configuration, and its value.
pub(super) struct Field<N>(pub(super) N, pub(super) Option<Given>);

impl<N: fmt::Display> Field<N> {
    pub(super) fn is_given(&self) -> bool {
        !matches!(self.1, None | Some(Given::Nothing))
    }

    pub(super) fn text(self) -> Result<Option<String>, Error> {
        Ok(self.secret()?.map(Wiped::into_text))
    }

    /// A string, without conversion.
    pub(super) fn secret(self) -> Result<Option<Wiped>, Error> {
        match self.1 {
            None | Some(Given::Nothing) => Ok(None),
            Some(Given::Text(text)) => Ok(Some(text)),
            // A secret or an id that looks like a number may already have lost its zeros.
            Some(Given::Bare(_)) => Err(wrong(
                self.0,
                "must be a string; put it in quotes, even if it looks like a number",
            )),
            Some(Given::List(_) | Given::Map(_)) => Err(wrong(self.0, "must be a string")),
        }
    }

    pub(super) fn required(self) -> Result<String, Error> {
        self.required_secret().map(Wiped::into_text)
    }

    pub(super) fn required_secret(self) -> Result<Wiped, Error> {
        let name = self.0.to_string();
        self.secret()?.ok_or_else(|| wrong(name, "is missing"))
    }

    /// A list, or a string with white space between its members.
    pub(super) fn list(self) -> Result<Vec<String>, Error> {
        match self.1 {
            Some(Given::List(members)) => {
                let member = |member| Field(&self.0, Some(member)).required();
                members.into_iter().map(member).collect()
            }
            Some(Given::Map(_) | Given::Bare(_)) => {
                Err(wrong(self.0, "must be a list of strings, or a string"))
            }
            given => {
                let text = Self(self.0, given).text()?.unwrap_or_default();
                Ok(text.split_whitespace().map(Into::into).collect())
            }
        }
    }

    /// Names and values; a name may have several values.
    pub(super) fn map(self) -> Result<Vec<(String, String)>, Error> {
        let members = match self.1 {
            None | Some(Given::Nothing) => return Ok(Vec::new()),
            Some(Given::Map(members)) => members,
            Some(_) => return Err(wrong(self.0, "must be a table of strings")),
        };
        let mut pairs = Vec::new();
        for (name, given) in members {
            let full_name = format!("{}.{name}", self.0);
            let values = match given {
                Given::List(_) => Field(full_name, Some(given)).list()?,
                given => vec![Field(full_name, Some(given)).required()?],
            };
            pairs.extend(values.into_iter().map(|value| (name.clone(), value)));
        }
        Ok(pairs)
    }

    /// Names and texts.
    #[cfg(feature = "jwt")]
    pub(super) fn texts(self) -> Result<Vec<(String, String)>, Error> {
        let members = match self.1 {
            None | Some(Given::Nothing) => return Ok(Vec::new()),
            Some(Given::Map(members)) => members,
            Some(_) => return Err(wrong(self.0, "must be a table of strings")),
        };
        let text = |(name, given): (String, Given)| {
            let text = Field(format!("{}.{name}", self.0), Some(given)).required()?;
            Ok((name, text))
        };
        members.into_iter().map(text).collect()
    }

    /// A number or a boolean, or a string that contains one.
    pub(super) fn parsed<T: FromStr>(self, what: &str) -> Result<Option<T>, Error> {
        match self.1 {
            None | Some(Given::Nothing) => Ok(None),
            Some(Given::Text(text) | Given::Bare(text)) => match text.trim().parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(wrong(self.0, &format!("must be {what}"))),
            },
            Some(Given::List(_) | Given::Map(_)) => Err(wrong(self.0, &format!("must be {what}"))),
        }
    }

    pub(super) fn duration(self) -> Result<Option<Duration>, Error> {
        const DURATION: &str = "a duration with its unit, such as \"10s\", \"5m\" or \"1h 30m\"";
        let duration = self.parsed::<humantime::Duration>(DURATION)?;
        Ok(duration.map(Into::into))
    }
}

/// Creates an error: `name` is the field's name, and `what` says what to change.
pub(super) fn wrong(name: impl fmt::Display, what: &str) -> Error {
    Error::configuration(format!("`{name}` {what}"))
}

/// A secret as text, in a file or in a variable; at most one of them.
pub(super) fn secret(
    fields: impl IntoIterator<Item = Field<&'static str>>,
) -> Result<Option<Secret>, Error> {
    let mut given = fields.into_iter().filter(Field::is_given);
    let Some(field) = given.next() else {
        return Ok(None);
    };
    if let Some(other) = given.next() {
        return Err(wrong(
            other.0,
            &format!("cannot be used with `{}`; remove one of them", field.0),
        ));
    }
    let name = field.0;
    let value = field.required_secret()?;
    Ok(Some(match name {
        _ if name.ends_with("_file") => Secret::from_file(value.into_text()),
        _ if name.ends_with("_env") => Secret::from_env(value.into_text()),
        _ => Secret::of(value),
    }))
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Given, E> {
        Ok(Given::Text(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Given, E> {
        Ok(Given::Text(text.into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Given, E> {
        Ok(Given::Bare(value.to_string().into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Given, E> {
        Ok(Given::Bare(value.to_string().into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Given, E> {
        Ok(Given::Bare(value.to_string().into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Given, E> {
        Ok(Given::Bare(value.to_string().into()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Given, E> {
        Ok(Given::Bare(value.to_string().into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Given, E> {
        Ok(Given::Bare(value.to_string().into()))
    }

    fn visit_unit<E>(self) -> Result<Given, E> {
        Ok(Given::Nothing)
    }

    fn visit_none<E>(self) -> Result<Given, E> {
        Ok(Given::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given, D::Error> {
        Given::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Given, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = members.next_element()? {
            list.push(member);
        }
        Ok(Given::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Given, A::Error> {
        let mut map = Vec::new();
        while let Some(member) = members.next_entry()? {
            map.push(member);
        }
        Ok(Given::Map(map))
    }
}
