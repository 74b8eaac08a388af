//! Recursive descent over the words of a filter.

use remuda_contracts::fleet::Presence;

use super::lexer::{Token, split};
use super::{Comparison, FilterError, Node, NumberField};
use crate::limits;

const FIELDS: &str = "vehicle, presence, charge_percent, speed_kmh, open_alerts, last_seen_age_s";

pub(super) fn parse(text: &str) -> Result<Node, FilterError> {
    let mut parser = Parser { tokens: split(text)?, next: 0, end: text.len() };
    let node = parser.joined(0)?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.error("AND, OR or the end is wanted here")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.next += 1;
        token
    }

    fn error(&self, problem: impl Into<String>) -> FilterError {
        FilterError { at: self.at(), problem: problem.into() }
    }

    /// `term (AND term)*` or `term (OR term)*`. Not mixed: AIP-160 and every programming language disagree on which
    /// binds tighter, so neither meaning would be what everybody expects.
    fn joined(&mut self, depth: usize) -> Result<Node, FilterError> {
        let mut parts = vec![self.term(depth)?];
        let Some(join @ (Token::And | Token::Or)) = self.peek().cloned() else {
            return Ok(parts.swap_remove(0));
        };
        while let Some(Token::And | Token::Or) = self.peek() {
            if self.peek() != Some(&join) {
                return Err(self.error("AND and OR side by side need parentheses"));
            }
            self.next += 1;
            parts.push(self.term(depth)?);
        }
        Ok(if join == Token::And { Node::All(parts) } else { Node::Any(parts) })
    }

    fn term(&mut self, depth: usize) -> Result<Node, FilterError> {
        if depth >= limits::FILTER_DEPTH_MAX {
            return Err(self.error(format!("nested deeper than {}", limits::FILTER_DEPTH_MAX)));
        }
        match self.peek() {
            Some(Token::Not) => {
                self.next += 1;
                Ok(Node::Not(Box::new(self.term(depth + 1)?)))
            }
            Some(Token::Open) => {
                self.next += 1;
                let node = self.joined(depth + 1)?;
                if self.peek() != Some(&Token::Close) {
                    return Err(self.error("a closing parenthesis is wanted here"));
                }
                self.next += 1;
                Ok(node)
            }
            _ => self.comparison(),
        }
    }

    fn comparison(&mut self) -> Result<Node, FilterError> {
        let field_at = self.at();
        let Some(Token::Word(field)) = self.take() else {
            return Err(FilterError { at: field_at, problem: format!("a field is wanted here: {FIELDS}") });
        };
        let number = match field.as_str() {
            "charge_percent" => Some(NumberField::ChargePercent),
            "speed_kmh" => Some(NumberField::SpeedKmh),
            "open_alerts" => Some(NumberField::OpenAlerts),
            "last_seen_age_s" => Some(NumberField::LastSeenAge),
            "presence" | "vehicle" => None,
            _ => {
                let problem = format!("there is no field `{field}`; there are {FIELDS}");
                return Err(FilterError { at: field_at, problem });
            }
        };
        let Some(Token::Compare(comparison)) = self.peek().cloned() else {
            return Err(self.error("one of = != < <= > >= is wanted here"));
        };
        if number.is_none() && !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            return Err(self.error(format!("`{field}` can only be compared with = and !=")));
        }
        self.next += 1;
        let value_at = self.at();
        let value = match self.take() {
            Some(Token::Word(value) | Token::Text(value)) => value,
            _ => return Err(FilterError { at: value_at, problem: "a value is wanted here".into() }),
        };
        let wrong = |problem: String| FilterError { at: value_at, problem };
        if let Some(field) = number {
            let value = value.parse::<f64>().ok().filter(|v| v.is_finite());
            let value = value.ok_or_else(|| wrong("a number is wanted here".into()))?;
            return Ok(Node::Number { field, comparison, value });
        }
        let equal = comparison == Comparison::Equal;
        if field == "presence" {
            let value = match value.as_str() {
                "UNKNOWN" => Presence::Unknown,
                "ONLINE" => Presence::Online,
                "OFFLINE" => Presence::Offline,
                other => {
                    return Err(wrong(format!("`{other}` is not a presence: UNKNOWN, ONLINE, OFFLINE")));
                }
            };
            return Ok(Node::Presence { value, equal });
        }
        let prefix = value.strip_suffix('*');
        Ok(Node::Vehicle { text: prefix.unwrap_or(&value).to_owned(), prefix: prefix.is_some(), equal })
    }
}
