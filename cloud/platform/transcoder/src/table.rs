//! All routes of an API.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};

use crate::binding::{Bindings, Body};
use crate::path::Path;
use crate::template::Template;

/// Why descriptors are not an API.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// They cannot be read.
    #[error("the descriptors cannot be read")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// They do not import the annotations.
    #[error("google/api/annotations.proto is not among the descriptors")]
    NoAnnotations,
    /// A method without a route.
    #[error("{0} has no route: give it an option (google.api.http)")]
    NoRoute(String),
    /// A route that cannot be.
    #[error("the route of {method}: {problem}")]
    Route {
        /// Whose.
        method: String,
        /// Why.
        problem: String,
    },
    /// Two methods at one path.
    #[error("{0} and {1} have routes that fit the same path")]
    Twice(String, String),
}

/// What is done to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Verb {
    Get,
    Put,
    Post,
    Delete,
    Patch,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Put, Self::Post, Self::Delete, Self::Patch];

    /// As HTTP writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
        }
    }

    /// Of an HTTP method's name; HEAD is read as GET.
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "HEAD" { "GET" } else { name };
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }

    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
            Self::Patch => "patch",
        }
    }

    pub(crate) fn has_body(self) -> bool {
        !matches!(self, Self::Get | Self::Delete)
    }
}

/// One way to a method.
#[derive(Debug, Clone)]
pub struct Route {
    pub(crate) verb: Verb,
    pub(crate) template: Template,
    pub(crate) path: String,
    pub(crate) body: Body,
    pub(crate) method: MethodDescriptor,
}

impl Route {
    /// What is done to the path.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The template's text.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The method behind it.
    pub fn method(&self) -> &MethodDescriptor {
        &self.method
    }

    /// `/{package}.{service}/{method}`.
    pub fn grpc_path(&self) -> String {
        format!("/{}/{}", self.method.parent_service().full_name(), self.method.name())
    }

    /// Whether a request may have a body.
    pub fn takes_body(&self) -> bool {
        self.body != Body::None
    }

    /// What a body is written as: the whole request, or the one field of it that is the body.
    pub fn body_message(&self) -> MessageDescriptor {
        let of_field = match &self.body {
            Body::Field(field) => field.kind().as_message().cloned(),
            Body::None | Body::All => None,
        };
        of_field.unwrap_or_else(|| self.method.input())
    }
}

/// What a path is.
#[derive(Debug)]
pub enum Found<'a> {
    /// A method's, with the fields that the path says.
    Route(&'a Route, Vec<(&'a str, String)>),
    /// Known, but not with this verb; these it has.
    OtherVerbs(BTreeSet<Verb>),
    /// Unknown.
    Nothing,
}

/// All routes.
#[derive(Debug, Clone)]
pub struct Table {
    pool: DescriptorPool,
    routes: Vec<Route>,
}

impl Table {
    /// Reads the routes of every method of the services that `takes` says, by full name.
    ///
    /// # Errors
    /// When a method has no route, one that cannot be, or another's.
    pub fn new(pool: DescriptorPool, takes: impl Fn(&str) -> bool) -> Result<Self, TableError> {
        let bindings = Bindings::new(&pool)?;
        let mut routes: Vec<Route> = Vec::new();
        for service in pool.services().filter(|service| takes(service.full_name())) {
            for method in service.methods() {
                routes.extend(bindings.of(&method)?);
            }
        }
        for (n, one) in routes.iter().enumerate() {
            let same = |other: &&Route| {
                other.verb == one.verb
                    && other.template.overlaps(&one.template)
                    && other.template.literals() == one.template.literals()
            };
            if let Some(other) = routes[n + 1..].iter().find(same) {
                let name = |route: &Route| route.method.full_name().to_owned();
                return Err(TableError::Twice(name(one), name(other)));
            }
        }
        // The closest match first; among equals none fits where another does.
        routes.sort_by_key(|route| std::cmp::Reverse(route.template.literals()));
        Ok(Self { pool, routes })
    }

    /// The messages.
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// Every route.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// What a path is.
    pub fn find(&self, verb: Option<Verb>, path: &str) -> Found<'_> {
        let Some(path) = Path::parse(path) else { return Found::Nothing };
        let mut others = BTreeSet::new();
        for route in &self.routes {
            let Some(fields) = route.template.fits(&path) else { continue };
            if Some(route.verb) == verb {
                return Found::Route(route, fields);
            }
            others.insert(route.verb);
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherVerbs(others) }
    }
}
