//! Checks on the repository itself: what a machine can see of DESIGN and STYLE.
//!
//! The checks are in `tests/`; this library reads the tree for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Every file git would take, relative to the root.
///
/// # Panics
/// When git cannot be run: then nothing can be checked.
pub fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output();
    let listed = listed.expect("git must be installed to check the tree").stdout;
    let text = String::from_utf8_lossy(&listed);
    text.split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|p| root().join(p).is_file())
        .collect()
}

/// A file's text; empty for what is not text.
pub fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// A crate of the workspace.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its folder, relative to the root, with slashes.
    pub folder: String,
    /// Its name.
    pub name: String,
    /// Names of what it depends on, without dev-dependencies.
    pub dependencies: Vec<String>,
    /// Its manifest.
    pub manifest: toml::Table,
}

/// The crates of the workspace, as their manifests say.
///
/// # Panics
/// When a manifest cannot be read.
pub fn members() -> Vec<Member> {
    let workspace: toml::Table = read(Path::new("Cargo.toml")).parse().expect("the root manifest is TOML");
    let folders = workspace["workspace"]["members"].as_array().expect("the workspace lists its members");
    let folders = folders.iter().filter_map(|f| f.as_str());
    folders.map(member).collect()
}

fn member(folder: &str) -> Member {
    let manifest: toml::Table =
        read(&Path::new(folder).join("Cargo.toml")).parse().expect("a member's manifest is TOML");
    let name = manifest["package"]["name"].as_str().unwrap_or_default().to_owned();
    let names = |table: &str| -> Vec<String> {
        let table = manifest.get(table).and_then(|t| t.as_table());
        table.map(|t| t.keys().cloned().collect()).unwrap_or_default()
    };
    let dependencies = [names("dependencies"), names("build-dependencies")].concat();
    Member { folder: folder.to_owned(), name, dependencies, manifest }
}
