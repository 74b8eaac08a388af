//! All templates.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::limits::{LOCALES_MAX, PARAMETERS_MAX, TEMPLATES_MAX};

/// The language that every template has.
pub const DEFAULT_LOCALE: &str = "en";
/// The placeholder that every template has: the person's name.
pub const RECIPIENT: &str = "recipient";

/// A text in one language.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// One line.
    pub subject: String,
    /// Lines.
    pub body: String,
}

/// A kind of message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Such as `booking-confirmed`: `[a-z0-9-]`.
    pub kind: String,
    /// Passes quiet hours.
    #[serde(default)]
    pub urgent: bool,
    /// What may stand in braces, beside `recipient`; whoever asks for the message gives each of them.
    #[serde(default)]
    pub placeholders: Vec<String>,
    /// By language; `en` is always there.
    pub text: BTreeMap<String, Text>,
}

/// Templates that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not the form.
    #[error("the templates cannot be read: {0}")]
    Form(String),
    /// Two of a kind, or an odd name.
    #[error("template {kind:?}: {reason}")]
    Template {
        /// Which.
        kind: String,
        /// What is wrong.
        reason: String,
    },
    /// A text that does not fit its template.
    #[error("template {kind:?}, language {locale:?}: {reason}")]
    Text {
        /// Which.
        kind: String,
        /// In which language.
        locale: String,
        /// What is wrong.
        reason: String,
    },
}

/// The templates of a node, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    templates: BTreeMap<String, Template>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    template: Vec<Template>,
}

impl Catalogue {
    /// The texts that come with the platform.
    ///
    /// # Errors
    /// Never: a test reads them.
    pub fn builtin() -> Result<Self, TemplateError> {
        Self::from_toml("")
    }

    /// The platform's texts, replaced and added to by a file's.
    ///
    /// # Errors
    /// [`TemplateError`], which names template and language.
    pub fn from_toml(text: &str) -> Result<Self, TemplateError> {
        let read = |text: &str| toml::from_str::<File>(text).map_err(|e| TemplateError::Form(e.to_string()));
        let mut templates = BTreeMap::new();
        for template in read(include_str!("builtin.toml"))?.template {
            templates.insert(template.kind.clone(), template);
        }
        let mut own = BTreeSet::new();
        for template in read(text)?.template {
            if !own.insert(template.kind.clone()) {
                return Err(TemplateError::Template {
                    kind: template.kind,
                    reason: "stands there twice".into(),
                });
            }
            templates.insert(template.kind.clone(), template);
        }
        if templates.len() > TEMPLATES_MAX {
            return Err(TemplateError::Form(format!("there are more than {TEMPLATES_MAX} templates")));
        }
        templates.values().try_for_each(check)?;
        Ok(Self { templates })
    }

    /// A template.
    pub fn get(&self, kind: &str) -> Option<&Template> {
        self.templates.get(kind)
    }

    /// All kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.templates.keys().map(String::as_str)
    }
}

impl Template {
    /// The text for a language and which one it is: `de-AT`, else `de`, else `en`.
    pub fn text(&self, locale: &str) -> Option<(&str, &Text)> {
        let mut wanted = locale;
        loop {
            let found = self.text.iter().find(|(known, _)| known.eq_ignore_ascii_case(wanted));
            if let Some((known, text)) = found {
                return Some((known, text));
            }
            match wanted.rfind('-') {
                Some(at) => wanted = &wanted[..at],
                None => break,
            }
        }
        self.text.get_key_value(DEFAULT_LOCALE).map(|(known, text)| (known.as_str(), text))
    }
}

fn check(template: &Template) -> Result<(), TemplateError> {
    let kind = &template.kind;
    let wrong = |reason: &str| Err(TemplateError::Template { kind: kind.clone(), reason: reason.into() });
    let plain = |text: &str| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        (1..=64).contains(&text.len()) && text.bytes().all(fits)
    };
    if !plain(kind) {
        return wrong("a kind is 1 to 64 of a-z, 0-9, - and _");
    }
    if template.placeholders.len() > PARAMETERS_MAX || !template.placeholders.iter().all(|name| plain(name)) {
        return wrong("placeholders are at most 32 names of a-z, 0-9, - and _");
    }
    if template.placeholders.iter().any(|name| name == RECIPIENT) {
        return wrong("the placeholder recipient is always there, leave it out");
    }
    if !template.text.contains_key(DEFAULT_LOCALE) {
        return wrong("has no text in the default language, en");
    }
    if template.text.len() > LOCALES_MAX {
        return wrong("has more than 60 languages");
    }
    let known: BTreeSet<&str> = template.placeholders.iter().map(String::as_str).chain([RECIPIENT]).collect();
    for (locale, text) in &template.text {
        let wrong =
            |reason: String| Err(TemplateError::Text { kind: kind.clone(), locale: locale.clone(), reason });
        let tag =
            |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        if !locale.split('-').all(tag) {
            return wrong("is no language tag; write one such as de or de-AT".into());
        }
        if text.subject.trim().is_empty() || text.subject.contains(['\n', '\r']) {
            return wrong("the subject must be one line that is not empty".into());
        }
        for part in [&text.subject, &text.body] {
            let names = match super::render::placeholders(part) {
                Ok(names) => names,
                Err(reason) => return wrong(reason),
            };
            if let Some(name) = names.iter().find(|name| !known.contains(name.as_str())) {
                return wrong(format!("{{{name}}} is not among the template's placeholders"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Catalogue, TemplateError> {
        Catalogue::from_toml(text)
    }

    const OWN: &str = "
        [[template]]
        kind = \"hello\"
        placeholders = [\"place\"]
        [template.text.en]
        subject = \"Hello\"
        body = \"Hello {recipient} in {place}\"
        [template.text.de]
        subject = \"Hallo\"
        body = \"Hallo {recipient} in {place}\"
    ";

    #[test]
    fn languages_fall_back() {
        let catalogue = file(OWN).expect("templates");
        let template = catalogue.get("hello").expect("a template");
        for (locale, expected) in [
            ("de-AT", "de"),
            ("DE-at", "de"),
            ("de", "de"),
            ("de-Latn-AT", "de"),
            ("fr", "en"),
            ("", "en"),
            ("-", "en"),
        ] {
            assert_eq!(template.text(locale).map(|(known, _)| known), Some(expected), "{locale}");
        }
        assert!(catalogue.get("booking-confirmed").is_some() && catalogue.get("booking-cancelled").is_some());
    }

    #[test]
    fn mistakes_are_found_before_anything_is_sent() {
        for (from, to, says) in [
            (
                "{place}\"\n        [template.text.de]",
                "{plce}\"\n        [template.text.de]",
                "{plce} is not among",
            ),
            ("[template.text.en]", "[template.text.fr]", "no text in the default language"),
            ("[template.text.de]", "[template.text.\"d e\"]", "no language tag"),
            ("subject = \"Hallo\"", "subject = \"Ha\\nllo\"", "one line"),
            ("subject = \"Hallo\"", "subject = \"{\"", "brace"),
            ("subject = \"Hallo\"", "title = \"Hallo\"", "unknown field"),
            ("\"hello\"", "\"Hello!\"", "a kind is"),
            ("[\"place\"]", "[\"place\", \"recipient\"]", "always there"),
        ] {
            let text = OWN.replacen(from, to, 1);
            assert_ne!(text, OWN, "{from}");
            let error = file(&text).expect_err(says).to_string();
            assert!(error.contains(says), "{error} should say {says}");
        }
        let twice = format!("{OWN}{OWN}");
        assert!(file(&twice).expect_err("twice").to_string().contains("twice"));
    }
}
