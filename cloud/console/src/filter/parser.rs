//! Recursive descent over the words of a filter.

use super::lexer::{Token, split};
use super::{Comparison, FilterError, Node};
use crate::limits;

/// What a field is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number, by every comparison.
    Number,
    /// A word, by `=` and `!=`.
    Word,
    /// A word of an order, by every comparison.
    Rank,
}

/// The value of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Of a [`Kind::Number`]; finite.
    Number(f64),
    /// Of any other.
    Text(String),
}

/// The fields of what is filtered; one comparison of them.
pub(super) trait Fields: Sized {
    /// All of them, for people.
    const NAMES: &'static str;

    /// What a field is compared with; none when there is no such field.
    fn kind(field: &str) -> Option<Kind>;

    /// A comparison, or what is wrong with its value.
    fn leaf(field: &str, comparison: Comparison, value: Value) -> Result<Self, String>;
}

/// What is said of a field that is not there.
pub(super) fn no_field<F: Fields>(field: &str) -> String {
    format!("there is no field `{field}`; there are {}", F::NAMES)
}

pub(super) fn parse<F: Fields>(text: &str) -> Result<Node<F>, FilterError> {
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
    fn joined<F: Fields>(&mut self, depth: usize) -> Result<Node<F>, FilterError> {
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

    fn term<F: Fields>(&mut self, depth: usize) -> Result<Node<F>, FilterError> {
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

    fn comparison<F: Fields>(&mut self) -> Result<Node<F>, FilterError> {
        let field_at = self.at();
        let Some(Token::Word(field)) = self.take() else {
            return Err(FilterError {
                at: field_at,
                problem: format!("a field is wanted here: {}", F::NAMES),
            });
        };
        let kind = F::kind(&field);
        let kind = kind.ok_or_else(|| FilterError { at: field_at, problem: no_field::<F>(&field) })?;
        let Some(Token::Compare(comparison)) = self.peek().cloned() else {
            return Err(self.error("one of = != < <= > >= is wanted here"));
        };
        if kind == Kind::Word && !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            return Err(self.error(format!("`{field}` can only be compared with = and !=")));
        }
        self.next += 1;
        let value_at = self.at();
        let value = match self.take() {
            Some(Token::Word(value) | Token::Text(value)) => value,
            _ => return Err(FilterError { at: value_at, problem: "a value is wanted here".into() }),
        };
        let wrong = |problem: String| FilterError { at: value_at, problem };
        let value = if kind == Kind::Number {
            let number = value.parse::<f64>().ok().filter(|v| v.is_finite());
            Value::Number(number.ok_or_else(|| wrong("a number is wanted here".into()))?)
        } else {
            Value::Text(value)
        };
        F::leaf(&field, comparison, value).map(Node::Leaf).map_err(wrong)
    }
}
