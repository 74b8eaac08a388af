//! Filling texts in: nothing that is filled in can become a header, markup or another placeholder.

use std::collections::BTreeMap;

use super::catalogue::{RECIPIENT, Template};
use crate::limits::{BODY_BYTES_MAX, SUBJECT_CHARS_MAX};

/// A text ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The language that it is in.
    pub locale: String,
    /// One line.
    pub subject: String,
    /// Lines, plain text.
    pub body: String,
}

/// Why a text was not filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// No value.
    #[error("the parameter {0:?} is missing")]
    Missing(String),
    /// Not a text of ours.
    #[error("the text cannot be filled in: {0}")]
    Text(String),
    /// Too long.
    #[error("the text is too long when it is filled in")]
    TooLong,
}

impl Template {
    /// Fills the text in for a person.
    ///
    /// # Errors
    /// [`RenderError`].
    pub fn render(
        &self,
        locale: &str,
        recipient: &str,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Rendered, RenderError> {
        let (locale, text) =
            self.text(locale).ok_or_else(|| RenderError::Text("it has no language".into()))?;
        let body = plain(&fill(&text.body, recipient, parameters)?);
        if body.len() > BODY_BYTES_MAX {
            return Err(RenderError::TooLong);
        }
        let subject = subject(&fill(&text.subject, recipient, parameters)?);
        Ok(Rendered { locale: locale.to_owned(), subject, body })
    }
}

/// The names in braces. `{{` and `}}` are braces themselves.
pub(super) fn placeholders(text: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    walk(text, |piece| {
        if let Piece::Name(name) = piece {
            names.push(name.to_owned());
        }
    })?;
    Ok(names)
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn walk<'a>(text: &'a str, mut take: impl FnMut(Piece<'a>)) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        take(Piece::Text(&rest[..at]));
        let here = &rest[at..];
        if here.starts_with("{{") || here.starts_with("}}") {
            take(Piece::Text(&here[..1]));
            rest = &here[2..];
            continue;
        }
        let end = here.find('}').filter(|_| here.starts_with('{'));
        let end = end.ok_or("a brace is not closed or not opened; write {{ or }} for the character")?;
        take(Piece::Name(&here[1..end]));
        rest = &here[end + 1..];
    }
    take(Piece::Text(rest));
    Ok(())
}

fn fill(text: &str, recipient: &str, parameters: &BTreeMap<String, String>) -> Result<String, RenderError> {
    let mut out = String::with_capacity(text.len() + 64);
    let mut missing = None;
    walk(text, |piece| match piece {
        Piece::Text(text) => out.push_str(text),
        Piece::Name(RECIPIENT) => out.push_str(recipient),
        Piece::Name(name) => match parameters.get(name) {
            Some(value) => out.push_str(value),
            None => missing = Some(name.to_owned()),
        },
    })
    .map_err(RenderError::Text)?;
    missing.map_or(Ok(out), |name| Err(RenderError::Missing(name)))
}

/// Characters that turn the direction of writing or hide: a name could pretend to be another text with them.
fn deceives(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Plain text: no control character but the line break, nothing that deceives.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !deceives(*c) && (*c == '\n' || !c.is_control())).collect()
}

/// One line that can stand in a header: whatever breaks a line becomes a blank.
pub fn subject(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let line: String =
        text.chars().map(|c| if breaks(c) { ' ' } else { c }).filter(|c| !deceives(*c)).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SUBJECT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::templates::Catalogue;

    fn booking(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("booking".to_owned(), value.to_owned())])
    }

    #[test]
    fn values_are_filled_in_once() {
        let catalogue = Catalogue::builtin().expect("templates");
        let template = catalogue.get("booking-confirmed").expect("a template");
        let rendered = template.render("de-AT", "Ada", &booking("{recipient}")).expect("rendered");
        assert_eq!((rendered.locale.as_str(), rendered.subject.as_str()), ("de", "Ihre Fahrt ist gebucht"));
        assert!(
            rendered.body.contains("Guten Tag Ada,") && rendered.body.contains("Ihre Fahrt {recipient} ist")
        );
        let missing = template.render("en", "Ada", &BTreeMap::new());
        assert_eq!(missing, Err(RenderError::Missing("booking".into())));
        assert_eq!(template.render("en", "Ada", &booking(&"x".repeat(20_000))), Err(RenderError::TooLong));
    }

    #[test]
    fn braces_can_be_written() {
        assert_eq!(fill("{{a}} {recipient}", "Ada", &BTreeMap::new()), Ok("{a} Ada".into()));
        for wrong in ["{", "}", "{a", "a}b"] {
            assert!(placeholders(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        /// Whatever somebody is called: a subject stays one line, a body holds no control character.
        #[test]
        fn nothing_breaks_out(name in "\\PC*|[\\x00-\\x1f]*|.*\r\nBcc: x@y.z.*") {
            let catalogue = Catalogue::from_toml(
                "[[template]]\nkind = \"k\"\n[template.text.en]\nsubject = \"Hi {recipient}!\"\nbody = \"Dear {recipient}\"",
            ).expect("templates");
            let rendered = catalogue.get("k").expect("k").render("en", &name, &BTreeMap::new());
            let Ok(rendered) = rendered else { return Ok(()) };
            prop_assert!(!rendered.subject.chars().any(|c| c.is_control()));
            prop_assert!(!rendered.body.chars().any(|c| c.is_control() && c != '\n'));
            prop_assert!(rendered.subject.chars().count() <= SUBJECT_CHARS_MAX);
        }
    }
}
