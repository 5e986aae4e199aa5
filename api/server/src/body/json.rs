//! Strict JSON: duplicate keys are refused with their path and line; nesting and the number of nodes are limited.
//!
//! `serde_json` takes the last of two equal keys silently; here a visitor of our own builds the value.
//!
//! No database keeps a NUL in text. In what people write it is refused ([`parse`]). In what agents and controllers say
//! it is left out ([`parse_protocol`]): they pass on what programs in some cluster printed, and one such message must
//! not hold up all the others.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use threeport_model::{
    FieldError,
    problem::Code,
    yaml::{MAX_DEPTH, MAX_NODES},
};

use super::{malformed, not_utf8};
use crate::problem::ApiError;

/// The one value in `bytes`.
pub fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    read(bytes, Nul::Refused)
}

/// The one value in `bytes`, without the NULs in it.
pub fn parse_protocol(bytes: &[u8]) -> Result<Value, ApiError> {
    read(bytes, Nul::LeftOut)
}

fn read(bytes: &[u8], nul: Nul) -> Result<Value, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(&error))?;
    if text.trim().is_empty() {
        return Err(ApiError::new(Code::Malformed, "the body is empty"));
    }
    let path = RefCell::new(Vec::new());
    let nodes = Cell::new(0);
    let mut reader = serde_json::Deserializer::from_str(text);
    let seed = Strict {
        path: &path,
        nodes: &nodes,
        depth: 0,
        nul,
    };
    let parsed = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    parsed.map_err(|error| {
        let field: String = path.borrow().iter().rev().map(String::as_str).collect();
        let line = u64::try_from(error.line()).ok().filter(|line| *line > 0);
        let message = strip_place(&error.to_string());
        malformed(FieldError {
            field: field.trim_start_matches('.').to_owned(),
            message,
            line,
            document: None,
        })
    })
}

/// `serde_json` ends its messages with line and column, which the answer has as fields.
fn strip_place(message: &str) -> String {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(what, _)| what)
        .to_owned()
}

/// What reads a value. Where that fails, each level on the way out adds its place to the path: what can be read has none.
struct Strict<'a> {
    path: &'a RefCell<Vec<String>>,
    /// How many values and keys were read.
    nodes: &'a Cell<usize>,
    depth: usize,
    nul: Nul,
}

/// What becomes of a NUL in a string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nul {
    Refused,
    LeftOut,
}

impl Strict<'_> {
    fn text<E: Error>(&self, mut text: String) -> Result<String, E> {
        self.leave_out(&mut text);
        no_nul::<E>(&text)?;
        Ok(text)
    }

    fn leave_out(&self, text: &mut String) {
        if self.nul == Nul::LeftOut && text.contains('\0') {
            text.retain(|character| character != '\0');
        }
    }

    fn count<E: Error>(&self) -> Result<(), E> {
        let nodes = self.nodes.get() + 1;
        self.nodes.set(nodes);
        if nodes > MAX_NODES {
            return Err(E::custom(format!(
                "is too much: a body has at most {MAX_NODES} values and keys"
            )));
        }
        Ok(())
    }

    /// Reads what is one level further in.
    fn within<T, E: Error>(
        &self,
        place: impl FnOnce() -> String,
        read: impl FnOnce(Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let depth = self.depth + 1;
        let read = if depth > MAX_DEPTH {
            Err(E::custom(format!("is nested deeper than {MAX_DEPTH} levels")))
        } else {
            read(Self { depth, ..*self })
        };
        read.inspect_err(|_| self.path.borrow_mut().push(place()))
    }
}

fn no_nul<E: Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') {
        return Err(E::custom("holds a NUL character"));
    }
    Ok(())
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count::<D::Error>()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("is not a finite number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.text(value).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let index = items.len();
            match self.within(|| format!("[{index}]"), |inner| access.next_element_seed(inner))? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(mut key) = access.next_key::<String>()? {
            self.leave_out(&mut key);
            let place = || format!(".{key}");
            let value = self.within(place, |inner| {
                inner.count::<A::Error>()?;
                no_nul::<A::Error>(&key)?;
                if map.contains_key(&key) {
                    return Err(A::Error::custom(format!("duplicate key {key:?}")));
                }
                access.next_value_seed(inner)
            })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_NODES, parse, parse_protocol};

    #[test]
    fn a_duplicate_key_is_refused_with_path_and_line() {
        let error = parse(b"{\"a\": [1, {\"b\": 1,\n\"b\": 2}]}").unwrap_err();
        assert_eq!(
            (error.errors[0].field.as_str(), error.errors[0].line),
            ("a[1].b", Some(2)),
            "{error:?}"
        );
        assert_eq!(error.errors[0].message, "duplicate key \"b\"");
        let after_others = parse(br#"{"a": [{"b": {}}, [1]], "c": {"d": [[2], nul]}}"#).unwrap_err();
        assert_eq!(
            after_others.errors[0].field, "c.d[1]",
            "what could be read is no part of it"
        );
    }

    #[test]
    fn values_are_read_as_serde_json_reads_them() {
        for text in [
            r#"{"a":[1,-2,3.5,true,null,"x\ud83d\ude00"],"b":{}}"#,
            "[]",
            "\"a\"",
            "18446744073709551615",
        ] {
            assert_eq!(
                parse(text.as_bytes()).unwrap(),
                serde_json::from_str::<serde_json::Value>(text).unwrap()
            );
        }
    }

    #[test]
    fn of_what_programs_pass_on_only_the_nul_is_lost() {
        let read = parse_protocol(br#"{"message": "a\u0000b", "images\u0000": ["\u0000"]}"#).unwrap();
        assert_eq!(read, serde_json::json!({"message": "ab", "images": [""]}));
        assert!(
            parse_protocol(br#"{"a": 1, "a\u0000": 2}"#).is_err(),
            "duplicate all the same"
        );
    }

    #[test]
    fn as_many_nodes_are_read_as_of_yaml_and_no_more() {
        let items = |count: usize| format!("[{}0]", "0,".repeat(count - 1)).into_bytes();
        // The list is one itself.
        assert!(parse(&items(MAX_NODES - 1)).is_ok());
        for read in [parse, parse_protocol] {
            let error = read(&items(MAX_NODES)).unwrap_err();
            assert_eq!(error.errors[0].field, format!("[{}]", MAX_NODES - 1));
        }
        let pair = "{\"a\":0},";
        let keys = format!("[{}0]", pair.repeat(MAX_NODES / 3));
        assert!(parse(keys.as_bytes()).is_err(), "keys are nodes, too");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let nearly = format!("{}{}", "[".repeat(65), "]".repeat(65));
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{} {}",
            "nul",
            "\"\\u0000\"",
            "{\"a\\u0000\": 1}",
            "1e999",
            deep.as_str(),
            nearly.as_str(),
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:.40}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(format!("{}{}", "[".repeat(63), "]".repeat(63)).as_bytes()).is_ok());
    }
}
