//! REST from gRPC: which method a path names, what message a request is, and what JSON an answer is.
//!
//! Owns: path templates and queries as `google.api.http` describes them, the JSON mapping of messages, and the OpenAPI
//! document of it all. Everything comes from descriptors: a method that is added to the protos is there. Deliberately absent:
//! HTTP itself, who may call what, and any word of the methods' own (`remuda-console`).

mod binding;
mod comments;
mod mask;
mod openapi;
mod path;
mod query;
mod request;
mod schema;
mod table;
mod template;

pub use comments::Comments;
pub use mask::{FieldMask, MASK_BYTES_MAX};
pub use openapi::{About, openapi};
pub use path::Path;
pub use query::parameters;
pub use request::{Problem, json};
pub use table::{Found, Route, Table, TableError, Verb};
pub use template::{Template, TemplateError};

/// A path longer than this names nothing, bytes.
pub const PATH_BYTES_MAX: usize = 4_096;
/// Parts between the slashes of a path.
pub const SEGMENTS_MAX: usize = 32;
/// Parameters of a query: a thousand vehicles by name, and what else a method has.
pub const PARAMETERS_MAX: usize = 1_100;
/// Parts between the dots of a parameter's name.
pub const PARAMETER_DEPTH_MAX: usize = 8;
