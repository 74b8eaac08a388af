//! Texts by kind and language, checked when the node starts.

mod catalogue;
mod render;

pub use catalogue::{Catalogue, Template, TemplateError, Text};
pub use render::{RenderError, Rendered, plain, subject};
