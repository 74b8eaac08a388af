//! A file of flags, checked, and what it says about somebody.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::logic::{self, EvaluationContext};

/// Why a file of flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FlagsError {
    /// It cannot be read.
    #[error("{origin} cannot be read: {source}")]
    Unreadable {
        /// Which file.
        origin: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not JSON.
    #[error("{origin} is not JSON: {source}")]
    NotJson {
        /// Which file.
        origin: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It says what cannot be.
    #[error("{origin}: {}", .problems.join("; "))]
    Wrong {
        /// Which file.
        origin: String,
        /// All that is wrong.
        problems: Vec<String>,
    },
}

/// Why somebody gets a value (OpenFeature's words).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The flag has no rules.
    Static,
    /// Its rules say so.
    TargetingMatch,
    /// Its rules say nothing: its default variant.
    Default,
    /// It is switched off: the caller's default.
    Disabled,
    /// It is not there, or its value is of another type: the caller's default.
    Error,
}

/// What a flag says about somebody.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation<T> {
    /// The value.
    pub value: T,
    /// Which variant it is; none for the caller's default.
    pub variant: Option<String>,
    /// Why.
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq)]
struct Flag {
    enabled: bool,
    variants: BTreeMap<String, Value>,
    default: String,
    targeting: Option<Value>,
}

/// The flags of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Flags {
    flags: BTreeMap<String, Flag>,
}

impl Flags {
    /// Reads flagd's format. `origin` is the file's name, for errors.
    ///
    /// # Errors
    /// All that is wrong with it at once.
    pub fn from_json(text: &str, origin: &str) -> Result<Self, FlagsError> {
        let origin = origin.to_owned();
        let document: Value = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(source) => return Err(FlagsError::NotJson { origin, source }),
        };
        let mut problems = Vec::new();
        let mut flags = BTreeMap::new();
        match document.get("flags").and_then(Value::as_object) {
            None => problems.push("it needs an object `flags`".to_owned()),
            Some(found) => {
                for (key, flag) in found {
                    match Flag::read(flag) {
                        Ok(flag) => {
                            flags.insert(key.clone(), flag);
                        }
                        Err(problem) => problems.push(format!("flag `{key}`: {problem}")),
                    }
                }
            }
        }
        if problems.is_empty() { Ok(Self { flags }) } else { Err(FlagsError::Wrong { origin, problems }) }
    }

    /// Names of all flags.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.flags.keys().map(String::as_str)
    }

    /// What a flag with texts says.
    pub fn string(&self, flag: &str, default: &str, context: &EvaluationContext) -> Evaluation<String> {
        self.evaluate(flag, default.to_owned(), context, |value| value.as_str().map(str::to_owned))
    }

    /// What a flag with yes and no says.
    pub fn boolean(&self, flag: &str, default: bool, context: &EvaluationContext) -> Evaluation<bool> {
        self.evaluate(flag, default, context, Value::as_bool)
    }

    /// What a flag with numbers says.
    pub fn number(&self, flag: &str, default: f64, context: &EvaluationContext) -> Evaluation<f64> {
        self.evaluate(flag, default, context, Value::as_f64)
    }

    fn evaluate<T>(
        &self,
        key: &str,
        default: T,
        context: &EvaluationContext,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Evaluation<T> {
        let give_up = |default, reason| Evaluation { value: default, variant: None, reason };
        let Some(flag) = self.flags.get(key) else { return give_up(default, Reason::Error) };
        if !flag.enabled {
            return give_up(default, Reason::Disabled);
        }
        let (variant, reason) = match &flag.targeting {
            None => (flag.default.clone(), Reason::Static),
            Some(rule) => match logic::evaluate(rule, &context.data(key)) {
                Value::Null => (flag.default.clone(), Reason::Default),
                Value::String(variant) => (variant, Reason::TargetingMatch),
                Value::Bool(yes) => (yes.to_string(), Reason::TargetingMatch),
                _ => return give_up(default, Reason::Error),
            },
        };
        match flag.variants.get(&variant).and_then(read) {
            Some(value) => Evaluation { value, variant: Some(variant), reason },
            None => give_up(default, Reason::Error),
        }
    }
}

impl Flag {
    fn read(flag: &Value) -> Result<Self, String> {
        let enabled = match flag.get("state").and_then(Value::as_str) {
            Some("ENABLED") => true,
            Some("DISABLED") => false,
            _ => return Err("`state` is ENABLED or DISABLED".to_owned()),
        };
        let variants =
            flag.get("variants").and_then(Value::as_object).filter(|variants| !variants.is_empty());
        let variants: BTreeMap<String, Value> = match variants {
            Some(variants) => variants.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            None => return Err("it needs `variants`".to_owned()),
        };
        let default = flag.get("defaultVariant").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !variants.contains_key(&default) {
            return Err(format!("`defaultVariant` is one of {:?}", variants.keys().collect::<Vec<_>>()));
        }
        // An empty object is flagd's way to say: no rules.
        let empty = |rule: &Value| rule.as_object().is_some_and(serde_json::Map::is_empty);
        let targeting = flag.get("targeting").filter(|rule| !rule.is_null() && !empty(rule)).cloned();
        if let Some(rule) = &targeting {
            logic::check(rule, 0)?;
            unknown_variant(rule, &variants)?;
        }
        Ok(Self { enabled, variants, default, targeting })
    }
}

/// A share that names no variant would be found only when somebody falls into it.
fn unknown_variant(rule: &Value, variants: &BTreeMap<String, Value>) -> Result<(), String> {
    match rule {
        Value::Object(object) => {
            for (operator, arguments) in object {
                let shares = arguments.as_array().filter(|_| operator == "fractional");
                for name in shares.into_iter().flatten().filter_map(|share| share.get(0)?.as_str()) {
                    if !variants.contains_key(name) {
                        return Err(format!("`fractional` names the variant `{name}`, which is not there"));
                    }
                }
                unknown_variant(arguments, variants)?;
            }
            Ok(())
        }
        Value::Array(list) => list.iter().try_for_each(|rule| unknown_variant(rule, variants)),
        _ => Ok(()),
    }
}
