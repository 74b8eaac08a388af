//! The protos' comments, which are the contract's text.

use std::collections::HashMap;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, EnumValueDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};

/// Comments by file and place.
#[derive(Debug, Clone, Default)]
pub struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    /// Of all files that were compiled with them.
    pub fn new(pool: &DescriptorPool) -> Self {
        let mut all = HashMap::new();
        for file in pool.files() {
            let proto = file.file_descriptor_proto();
            let locations = proto.source_code_info.as_ref().map(|info| info.location.as_slice());
            for location in locations.unwrap_or_default() {
                let text = location.leading_comments.as_deref().unwrap_or_default();
                let text = text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
                let text = text.trim().to_owned();
                if !text.is_empty() {
                    all.insert((file.name().to_owned(), location.path.clone()), text);
                }
            }
        }
        Self(all)
    }

    fn at(&self, file: &FileDescriptor, path: &[i32]) -> &str {
        self.0.get(&(file.name().to_owned(), path.to_vec())).map_or("", String::as_str)
    }

    /// What a service says of itself.
    pub fn service(&self, of: &ServiceDescriptor) -> &str {
        self.at(&of.parent_file(), of.path())
    }

    /// What a method says of itself.
    pub fn method(&self, of: &MethodDescriptor) -> &str {
        self.at(&of.parent_file(), of.path())
    }

    /// What a message says of itself.
    pub fn message(&self, of: &MessageDescriptor) -> &str {
        self.at(&of.parent_file(), of.path())
    }

    /// What a field says of itself.
    pub fn field(&self, of: &FieldDescriptor) -> &str {
        self.at(&of.parent_file(), of.path())
    }

    /// What an enumeration says of itself.
    pub fn enumeration(&self, of: &EnumDescriptor) -> &str {
        self.at(&of.parent_file(), of.path())
    }

    /// What a value says of itself.
    pub fn value(&self, of: &EnumValueDescriptor) -> &str {
        self.at(&of.parent_enum().parent_file(), of.path())
    }

    /// Whether a field must be given: its comment begins with `Required.`.
    pub fn required(&self, of: &FieldDescriptor) -> bool {
        self.field(of).starts_with("Required.")
    }
}
