//! All definitions there are, each in all its versions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::check::{check, check_services};
use super::{Definition, DefinitionError, DefinitionErrors, Problem, from_yaml};
use crate::service::Services;

/// Definitions by name and version.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    known: BTreeMap<(String, u32), (Arc<Definition>, String)>,
}

impl Definitions {
    /// Reads every `.yml` and `.yaml` file of a folder.
    ///
    /// # Errors
    /// All that is wrong in all files.
    pub fn load_folder(folder: &Path) -> Result<Self, DefinitionErrors> {
        let unreadable = |path: &Path, e: std::io::Error| DefinitionError {
            origin: path.display().to_string(),
            step: None,
            problem: Problem::Unreadable(e.to_string()),
        };
        let entries = std::fs::read_dir(folder).map_err(|e| DefinitionErrors(vec![unreadable(folder, e)]))?;
        let mut paths: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "yml" || e == "yaml"))
            .collect();
        paths.sort();
        let mut all = Self::default();
        let mut wrong = Vec::new();
        for path in paths {
            let origin = path.display().to_string();
            let read = std::fs::read_to_string(&path)
                .map_err(|e| DefinitionErrors(vec![unreadable(&path, e)]))
                .and_then(|text| from_yaml(&text, &origin))
                .and_then(|definition| all.add_from(definition, &origin));
            if let Err(DefinitionErrors(errors)) = read {
                wrong.extend(errors);
            }
        }
        if wrong.is_empty() { Ok(all) } else { Err(DefinitionErrors(wrong)) }
    }

    /// Adds one that was made in code.
    ///
    /// # Errors
    /// All that is wrong with it; a version that is there already.
    pub fn add(&mut self, definition: Definition) -> Result<(), DefinitionErrors> {
        self.add_from(definition, "code")
    }

    /// Adds one that came from somewhere, such as a file embedded in the program.
    ///
    /// # Errors
    /// All that is wrong with it; a version that is there already.
    pub fn add_from(&mut self, definition: Definition, origin: &str) -> Result<(), DefinitionErrors> {
        check(&definition, origin)?;
        let key = (definition.name.clone(), definition.version);
        if let Some((_, other)) = self.known.get(&key) {
            let problem = Problem::Repeated { name: key.0, version: key.1, other: other.clone() };
            let origin = origin.to_owned();
            return Err(DefinitionErrors(vec![DefinitionError { origin, step: None, problem }]));
        }
        self.known.insert(key, (Arc::new(definition), origin.to_owned()));
        Ok(())
    }

    /// Whether all that they name is there.
    ///
    /// # Errors
    /// All that is not.
    pub fn check_services(&self, services: &Services) -> Result<(), DefinitionErrors> {
        let mut wrong = Vec::new();
        for (definition, origin) in self.known.values() {
            if let Err(DefinitionErrors(errors)) = check_services(definition, origin, services) {
                wrong.extend(errors);
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(DefinitionErrors(wrong)) }
    }

    /// The newest version of this name: what a new saga takes.
    pub fn newest(&self, name: &str) -> Option<&Arc<Definition>> {
        self.known.range((name.to_owned(), 0)..=(name.to_owned(), u32::MAX)).next_back().map(|(_, (d, _))| d)
    }

    /// One version.
    pub fn version(&self, name: &str, version: u32) -> Option<&Arc<Definition>> {
        self.known.get(&(name.to_owned(), version)).map(|(d, _)| d)
    }

    /// All of them, by name and version.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.known.values().map(|(d, _)| d)
    }
}
