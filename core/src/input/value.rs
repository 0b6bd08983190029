//! A JSON value out of YAML or JSON, within a budget, and with everything refused that reads differently elsewhere.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::MAX_DEPTH;

/// What all values of a text may weigh together: each value and key 1 plus its bytes. Without aliases no text
/// weighs more than a small multiple of its length, so only aliases that repeat can exceed it.
pub struct Budget(Cell<usize>);

impl Budget {
    pub fn for_text(text: &str) -> Self {
        Self(Cell::new(text.len().saturating_mul(4).saturating_add(4096)))
    }

    fn spend<E: Error>(&self, bytes: usize) -> Result<(), E> {
        match self.0.get().checked_sub(bytes.saturating_add(1)) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => Err(E::custom(
                "aliases repeat more than the text itself holds: write it out",
            )),
        }
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
pub struct ValueSeed<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl<'b> ValueSeed<'b> {
    pub fn new(budget: &'b Budget) -> Self {
        Self { budget, depth: 0 }
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format!(
                "nested more than {MAX_DEPTH} levels deep"
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has too")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(value.into())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        Err(E::custom(format!(
            "the number {value} is too large: write a smaller one, or put it in quotes if text is meant"
        )))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        Err(E::custom(format!(
            "the number {value} is too large: write a smaller one, or put it in quotes if text is meant"
        )))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.budget.spend(0)?;
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(E::custom(format!(
                "{value} is no number that JSON has: write a finite one, or put it in quotes if text is meant"
            ))),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.budget.spend(value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.budget.spend(0)?;
        let seed = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(seed)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.budget.spend(0)?;
        let seed = self.deeper()?;
        let mut values = Map::new();
        while let Some(key) = entries.next_key_seed(KeySeed(self.budget))? {
            if key == "<<" {
                return Err(A::Error::custom(
                    "merge keys (`<<`) are not read: write the fields out",
                ));
            }
            if values.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "`{}` appears twice",
                    shortened(&key)
                )));
            }
            let value = entries.next_value_seed(seed)?;
            values.insert(key, value);
        }
        Ok(Value::Object(values))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom(
            "tags such as `!name` are not read: remove it",
        ))
    }
}

/// Reads a key: text only, because others turn `1:` or `true:` into text in different ways.
struct KeySeed<'b>(&'b Budget);

impl KeySeed<'_> {
    fn refuse<E: Error>(shown: impl fmt::Display) -> E {
        E::custom(format!("the key {shown} is not text: put it in quotes"))
    }
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text as key")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        self.0.spend(value.len())?;
        Ok(value.to_owned())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        Err(Self::refuse(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        Err(Self::refuse(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        Err(Self::refuse(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        Err(Self::refuse(value))
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Err(Self::refuse("null"))
    }
}

fn shortened(key: &str) -> String {
    key.chars().take(80).collect()
}
