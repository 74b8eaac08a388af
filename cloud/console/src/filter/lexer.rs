//! Splits a filter into words.

use super::{Comparison, FilterError};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Compare(Comparison),
    /// A bare word or a number.
    Word(String),
    /// In quotes.
    Text(String),
}

/// Words with their byte offsets.
pub(super) fn split(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        let token = match c {
            c if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            '=' => Token::Compare(Comparison::Equal),
            '!' | '<' | '>' => {
                let or_equal = rest.next_if(|(_, next)| *next == '=').is_some();
                Token::Compare(match (c, or_equal) {
                    ('!', true) => Comparison::NotEqual,
                    ('<', true) => Comparison::LessOrEqual,
                    ('<', false) => Comparison::Less,
                    ('>', true) => Comparison::GreaterOrEqual,
                    ('>', false) => Comparison::Greater,
                    _ => return Err(FilterError { at, problem: "`!` stands only in `!=`; say NOT".into() }),
                })
            }
            '"' | '\'' => {
                let mut inside = String::new();
                loop {
                    match rest.next() {
                        Some((_, end)) if end == c => break,
                        Some((_, other)) => inside.push(other),
                        None => return Err(FilterError { at, problem: "this quote is not closed".into() }),
                    }
                }
                Token::Text(inside)
            }
            c if is_word(c) => {
                let mut word = String::from(c);
                while let Some((_, next)) = rest.next_if(|(_, next)| is_word(*next)) {
                    word.push(next);
                }
                match word.as_str() {
                    "AND" => Token::And,
                    "OR" => Token::Or,
                    "NOT" => Token::Not,
                    _ => Token::Word(word),
                }
            }
            other => return Err(FilterError { at, problem: format!("`{other}` has no meaning here") }),
        };
        tokens.push((at, token));
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+' | '*')
}
