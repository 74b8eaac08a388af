//! What `google.api.http` says of a method.

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MethodDescriptor,
};

use crate::table::{Route, TableError, Verb};
use crate::template::Template;

/// Where a method's routes are read from.
pub(crate) struct Bindings {
    extension: ExtensionDescriptor,
}

/// What of a request its body is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    /// Nothing: everything that the path does not say stands in the query.
    None,
    /// All that the path does not say.
    All,
    /// One field; the rest stands in the query.
    Field(FieldDescriptor),
}

impl Bindings {
    pub fn new(pool: &DescriptorPool) -> Result<Self, TableError> {
        let extension = pool.get_extension_by_name("google.api.http").ok_or(TableError::NoAnnotations)?;
        Ok(Self { extension })
    }

    /// The routes of a method: the first one, then those beside it.
    pub fn of(&self, method: &MethodDescriptor) -> Result<Vec<Route>, TableError> {
        let options = method.options();
        if !options.has_extension(&self.extension) {
            return Err(TableError::NoRoute(method.full_name().to_owned()));
        }
        let value = options.get_extension(&self.extension);
        let Some(rule) = value.as_message() else {
            return Err(TableError::NoRoute(method.full_name().to_owned()));
        };
        let mut routes = vec![route(method, rule)?];
        let more = rule.get_field_by_name("additional_bindings");
        for rule in more.as_deref().and_then(|more| more.as_list()).unwrap_or_default() {
            if let Some(rule) = rule.as_message() {
                routes.push(route(method, rule)?);
            }
        }
        Ok(routes)
    }
}

fn route(method: &MethodDescriptor, rule: &DynamicMessage) -> Result<Route, TableError> {
    let wrong = |problem: String| TableError::Route { method: method.full_name().to_owned(), problem };
    let text = |field: &str| {
        let value = rule.get_field_by_name(field);
        value.as_deref().and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    };
    let found = Verb::ALL.iter().map(|verb| (*verb, text(verb.field()))).find(|(_, path)| !path.is_empty());
    let (verb, path) = found.ok_or(wrong("it has none of get, put, post, delete and patch".into()))?;
    let template = Template::parse(&path).map_err(|e| wrong(e.to_string()))?;
    for variable in &template.variables {
        match field_at(method, &variable.field) {
            Some(field) if field.kind() == Kind::String && !field.is_list() => {}
            _ => return Err(wrong(format!("`{}` is no text of its request", variable.field))),
        }
    }
    if !text("response_body").is_empty() {
        return Err(wrong("`response_body` is not supported".into()));
    }
    let body = match text("body").as_str() {
        "" => Body::None,
        "*" => Body::All,
        name => match method.input().get_field_by_name(name) {
            Some(field) if !field.is_list() && matches!(field.kind(), Kind::Message(_)) => Body::Field(field),
            _ => return Err(wrong(format!("its body `{name}` is no message of its request"))),
        },
    };
    if body != Body::None && !verb.has_body() {
        return Err(wrong(format!("{} has no body", verb.as_str())));
    }
    Ok(Route { verb, template, path, body, method: method.clone() })
}

fn field_at(method: &MethodDescriptor, path: &str) -> Option<FieldDescriptor> {
    let (mut message, mut found) = (method.input(), None);
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let field = message.get_field_by_name(name)?;
        if names.peek().is_some() {
            let Kind::Message(below) = field.kind() else { return None };
            message = below;
        }
        found = Some(field);
    }
    found
}
