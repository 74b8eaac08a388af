//! The part of JsonLogic that targeting may use.

use serde_json::{Map, Value, json};

use crate::murmur::murmur3_32;

/// Who asks.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationContext {
    attributes: Map<String, Value>,
}

impl EvaluationContext {
    /// About this subject, such as a rider: the same subject always gets the same answer.
    pub fn about(targeting_key: &str) -> Self {
        Self { attributes: [("targetingKey".to_owned(), Value::from(targeting_key))].into_iter().collect() }
    }

    /// With one more thing to decide by.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    /// What rules may read: the attributes, and what flagd adds.
    pub(crate) fn data(&self, flag: &str) -> Value {
        let mut data = self.attributes.clone();
        data.insert("$flagd".to_owned(), json!({ "flagKey": flag }));
        Value::Object(data)
    }
}

/// How deep rules may be nested: a file cannot exhaust the stack.
const DEPTH_MAX: usize = 32;

const OPERATORS: &[&str] = &[
    "var",
    "==",
    "!=",
    "===",
    "!==",
    "!",
    "and",
    "or",
    "if",
    "in",
    "cat",
    "<",
    "<=",
    ">",
    ">=",
    "starts_with",
    "ends_with",
    "fractional",
];

/// The operator and its arguments; a single argument stands for a list of one.
fn operation(rule: &Value) -> Option<(&str, &[Value])> {
    let object = rule.as_object().filter(|object| object.len() == 1)?;
    let (operator, arguments) = object.iter().next()?;
    let arguments = match arguments {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    Some((operator, arguments))
}

/// Says what of a rule this program would not understand.
pub(crate) fn check(rule: &Value, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("rules are nested more than {DEPTH_MAX} deep"));
    }
    match rule {
        Value::Array(list) => list.iter().try_for_each(|rule| check(rule, depth + 1)),
        Value::Object(object) => {
            let Some((operator, arguments)) = operation(rule) else {
                return Err(format!("a rule has one operator, not {}", object.len()));
            };
            if !OPERATORS.contains(&operator) {
                return Err(format!(
                    "the operator `{operator}` is not known; known are {}",
                    OPERATORS.join(", ")
                ));
            }
            if operator == "fractional" {
                check_fractional(arguments)?;
            }
            arguments.iter().try_for_each(|rule| check(rule, depth + 1))
        }
        _ => Ok(()),
    }
}

fn check_fractional(arguments: &[Value]) -> Result<(), String> {
    let (_, shares) = split(arguments);
    if shares.is_empty() {
        return Err("`fractional` needs shares such as [\"on\", 10], [\"off\", 90]".to_owned());
    }
    let mut sum = 0.0;
    for share in shares {
        let variant = share.get(0).is_some_and(Value::is_string);
        let weight =
            share.get(1).map_or(Some(1.0), Value::as_f64).filter(|weight| (0.0..=1e9).contains(weight));
        let Some(weight) = weight.filter(|_| variant && share.as_array().is_some_and(|list| list.len() <= 2))
        else {
            return Err(format!("a share of `fractional` is [variant, weight], not {share}"));
        };
        sum += weight;
    }
    if sum > 0.0 { Ok(()) } else { Err("the weights of `fractional` sum to zero".to_owned()) }
}

/// What is hashed, when the rule says so, and the shares.
fn split(arguments: &[Value]) -> (Option<&Value>, &[Value]) {
    match arguments.split_first() {
        Some((first, shares)) if !first.is_array() => (Some(first), shares),
        _ => (None, arguments),
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(_) => true,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// The value of a checked rule.
pub(crate) fn evaluate(rule: &Value, data: &Value) -> Value {
    if let Value::Array(list) = rule {
        return list.iter().map(|rule| evaluate(rule, data)).collect();
    }
    let Some((operator, arguments)) = operation(rule) else { return rule.clone() };
    let value = |at: usize| arguments.get(at).map_or(Value::Null, |rule| evaluate(rule, data));
    let compare = |holds: fn(f64, f64) -> bool| match (value(0).as_f64(), value(1).as_f64()) {
        (Some(a), Some(b)) => Value::Bool(holds(a, b)),
        _ => Value::Bool(false),
    };
    match operator {
        "var" => variable(&text(&value(0)), data).cloned().unwrap_or_else(|| value(1)),
        "==" | "===" => Value::Bool(same(&value(0), &value(1))),
        "!=" | "!==" => Value::Bool(!same(&value(0), &value(1))),
        "!" => Value::Bool(!truthy(&value(0))),
        "and" => first_that(arguments, data, |value| !truthy(value)),
        "or" => first_that(arguments, data, truthy),
        "if" => branch(arguments, data),
        "in" => Value::Bool(match (value(0), value(1)) {
            (wanted, Value::Array(list)) => list.iter().any(|item| same(item, &wanted)),
            (Value::String(wanted), Value::String(text)) => text.contains(&wanted),
            _ => false,
        }),
        "cat" => Value::String((0..arguments.len()).map(|at| text(&value(at))).collect()),
        "<" => compare(|a, b| a < b),
        "<=" => compare(|a, b| a <= b),
        ">" => compare(|a, b| a > b),
        ">=" => compare(|a, b| a >= b),
        "starts_with" => Value::Bool(text(&value(0)).starts_with(&text(&value(1)))),
        "ends_with" => Value::Bool(text(&value(0)).ends_with(&text(&value(1)))),
        "fractional" => fractional(arguments, data),
        _ => Value::Null,
    }
}

fn variable<'a>(path: &str, data: &'a Value) -> Option<&'a Value> {
    path.split('.').try_fold(data, |at, name| at.get(name)).filter(|found| !found.is_null())
}

fn first_that(arguments: &[Value], data: &Value, holds: fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for rule in arguments {
        last = evaluate(rule, data);
        if holds(&last) {
            break;
        }
    }
    last
}

fn branch(arguments: &[Value], data: &Value) -> Value {
    let mut rest = arguments;
    while let [condition, then, others @ ..] = rest {
        if truthy(&evaluate(condition, data)) {
            return evaluate(then, data);
        }
        rest = others;
    }
    rest.first().map_or(Value::Null, |otherwise| evaluate(otherwise, data))
}

/// As flagd does it: hash, as a share of 100, and the first share that it falls into. Null without anything to hash.
fn fractional(arguments: &[Value], data: &Value) -> Value {
    let (by, shares) = split(arguments);
    let key = match by {
        Some(rule) => match evaluate(rule, data) {
            Value::String(key) => key,
            _ => return Value::Null,
        },
        None => match (data["$flagd"]["flagKey"].as_str(), data["targetingKey"].as_str()) {
            (Some(flag), Some(subject)) => format!("{flag}{subject}"),
            _ => return Value::Null,
        },
    };
    let weight = |share: &Value| share.get(1).and_then(Value::as_f64).unwrap_or(1.0);
    let total: f64 = shares.iter().map(weight).sum();
    let hash = murmur3_32(key.as_bytes(), 0).cast_signed();
    let bucket = f64::from(hash).abs() / f64::from(i32::MAX) * 100.0;
    let mut end = 0.0;
    for share in shares {
        end += weight(share) / total * 100.0;
        if bucket < end {
            return share[0].clone();
        }
    }
    // The very last place, which rounding may leave open.
    shares.iter().rev().find(|share| weight(share) > 0.0).map_or(Value::Null, |share| share[0].clone())
}
