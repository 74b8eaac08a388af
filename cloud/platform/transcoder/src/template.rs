//! Path templates (`google.api.http`): `/v1/{name=organizations/*/vehicles/*}:watch`.

use crate::path::Path;

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{template}` is not a path template: {problem}")]
pub struct TemplateError {
    template: String,
    problem: &'static str,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// This text.
    Literal(String),
    /// `*`: one part.
    One,
    /// `**`: what is left, one part at least.
    Rest,
}

/// A field that takes a run of parts, joined by slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// The field, below others with dots.
    pub field: String,
    /// Its first part.
    pub from: usize,
    /// The first part that is not its own.
    pub to: usize,
}

/// A path with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) verb: Option<String>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When it is none, with what is wrong.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let wrong = |problem| TemplateError { template: text.to_owned(), problem };
        let rest = text.strip_prefix('/').ok_or(wrong("it begins with a slash"))?;
        // A colon in braces would be part of a literal, which none of ours has.
        let (rest, verb) = match rest.rsplit_once(':') {
            Some((rest, verb)) if !verb.contains(['/', '{', '}']) => (rest, Some(verb.to_owned())),
            Some(_) => return Err(wrong("a colon stands before the verb at the end only")),
            None => (rest, None),
        };
        let mut template = Self { segments: Vec::new(), variables: Vec::new(), verb };
        let mut rest = rest;
        loop {
            rest = match rest.strip_prefix('{') {
                Some(inside) => {
                    let (inside, after) = inside.split_once('}').ok_or(wrong("a brace is not closed"))?;
                    let (field, pattern) = inside.split_once('=').unwrap_or((inside, "*"));
                    if !is_field(field) {
                        return Err(wrong("a variable is the path of a field"));
                    }
                    let from = template.segments.len();
                    for part in pattern.split('/') {
                        template.segments.push(segment(part).map_err(wrong)?);
                    }
                    let to = template.segments.len();
                    template.variables.push(Variable { field: field.to_owned(), from, to });
                    after
                }
                None => {
                    let (part, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                    template.segments.push(segment(part).map_err(wrong)?);
                    after
                }
            };
            if rest.is_empty() {
                break;
            }
            rest = rest.strip_prefix('/').ok_or(wrong("parts are separated by slashes"))?;
        }
        let ends = template.segments.iter().position(|s| *s == Segment::Rest);
        match ends {
            Some(at) if at + 1 != template.segments.len() => Err(wrong("** stands at the end only")),
            _ if template.verb.as_deref() == Some("") => Err(wrong("there is no verb behind its colon")),
            _ => Ok(template),
        }
    }

    /// The fields and their values, if a path fits.
    pub fn fits(&self, path: &Path) -> Option<Vec<(&str, String)>> {
        let open = self.segments.last() == Some(&Segment::Rest);
        let length =
            path.segments.len() == self.segments.len() || (open && path.segments.len() > self.segments.len());
        if !length || path.verb != self.verb {
            return None;
        }
        let literal = |(segment, part): (&Segment, &String)| match segment {
            Segment::Literal(text) => text == part,
            Segment::One | Segment::Rest => true,
        };
        if !self.segments.iter().zip(&path.segments).all(literal) {
            return None;
        }
        let value = |variable: &Variable| {
            let to =
                if open && variable.to == self.segments.len() { path.segments.len() } else { variable.to };
            path.segments[variable.from..to].join("/")
        };
        Some(self.variables.iter().map(|variable| (variable.field.as_str(), value(variable))).collect())
    }

    /// Whether some path fits both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let same = |(a, b): (&Segment, &Segment)| match (a, b) {
            (Segment::Literal(a), Segment::Literal(b)) => a == b,
            _ => true,
        };
        self.verb == other.verb
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(same)
    }

    /// How many parts are literals: the more, the closer a match.
    pub(crate) fn literals(&self) -> usize {
        self.segments.iter().filter(|s| matches!(s, Segment::Literal(_))).count()
    }
}

fn segment(text: &str) -> Result<Segment, &'static str> {
    match text {
        "*" => Ok(Segment::One),
        "**" => Ok(Segment::Rest),
        "" => Err("a part is empty"),
        _ if text.contains(['{', '}', '*', '%']) => Err("a part is a literal, * or **"),
        _ => Ok(Segment::Literal(text.to_owned())),
    }
}

fn is_field(text: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text.split('.').all(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).expect("a template");
        let found = template.fits(&Path::parse(path)?)?;
        Some(found.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
    }

    #[test]
    fn names_of_several_parts_fill_one_field() {
        let vehicle = "/v1/{name=organizations/*/vehicles/*}";
        let name = Some(vec![("name".to_owned(), "organizations/default/vehicles/V1".to_owned())]);
        assert_eq!(fits(vehicle, "/v1/organizations/default/vehicles/V1"), name);
        assert_eq!(fits(&format!("{vehicle}:watch"), "/v1/organizations/default/vehicles/V1:watch"), name);
        for other in [
            "/v1/organizations/default/vehicles",
            "/v1/organizations/default/vehicles/V1/commands",
            "/v1/organizations/default/vehicles/V1:watch",
            "/v1/organisations/default/vehicles/V1",
            "/v2/organizations/default/vehicles/V1",
            "/organizations/default/vehicles/V1",
        ] {
            assert_eq!(fits(vehicle, other), None, "{other}");
        }
        let both = "/v1/{a.b}/x/{rest=files/**}";
        let found = Some(vec![("a.b".into(), "1".into()), ("rest".into(), "files/p/q".into())]);
        assert_eq!(fits(both, "/v1/1/x/files/p/q"), found);
        assert_eq!(fits(both, "/v1/1/x/files"), None);
    }

    #[test]
    fn what_is_no_template_is_refused_with_a_reason() {
        for wrong in [
            "",
            "v1",
            "/",
            "/a//b",
            "/{a",
            "/{a}b",
            "/{}",
            "/{a b}",
            "/a*",
            "/**/a",
            "/a:",
            "/{a=x:y/*}",
            "/{a=}",
            "/a%20",
        ] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_filled_template_gives_back_what_it_was_filled_with(
            organization in "[a-z]{1,8}", vehicle in "[A-Za-z0-9._~-]{1,8}", verb in proptest::option::of("[a-z]{1,5}"),
        ) {
            prop_assume!(vehicle != "." && vehicle != "..");
            let tail = verb.map(|verb| format!(":{verb}")).unwrap_or_default();
            let template = format!("/v1/{{name=organizations/*/vehicles/*}}{tail}");
            let name = format!("organizations/{organization}/vehicles/{vehicle}");
            let found = fits(&template, &format!("/v1/{name}{tail}"));
            prop_assert_eq!(found, Some(vec![("name".to_owned(), name)]));
        }

        #[test]
        fn no_text_brings_templates_or_paths_down(template in "\\PC{0,40}", path in "\\PC{0,40}") {
            if let (Ok(template), Some(path)) = (Template::parse(&template), Path::parse(&path)) {
                template.fits(&path);
            }
        }
    }
}
