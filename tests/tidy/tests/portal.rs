//! What the portal is told to show is there.

use std::path::Path;

use remuda_tidy::{files, read};

#[test]
fn pages_and_definitions_that_are_named_exist() {
    let there = files();
    let exists = |path: &str| there.iter().any(|file| file == Path::new(path));
    let mkdocs = read(Path::new("mkdocs.yml"));
    let nav = mkdocs.split("\nnav:\n").nth(1).unwrap_or_default();
    let pages: Vec<&str> =
        nav.lines().filter_map(|line| line.rsplit_once(": ")).map(|(_, page)| page).collect();
    assert!(pages.len() > 5, "mkdocs.yml names pages below nav");
    for page in pages {
        assert!(exists(&format!("docs/{page}")), "mkdocs.yml names docs/{page}, which is not there");
    }
    let catalog = read(Path::new("catalog-info.yaml"));
    let definitions: Vec<&str> =
        catalog.lines().filter_map(|line| line.trim().strip_prefix("$text: ./")).collect();
    assert!(!definitions.is_empty(), "catalog-info.yaml names definitions");
    for definition in definitions {
        assert!(exists(definition), "catalog-info.yaml names {definition}, which is not there");
    }
}
