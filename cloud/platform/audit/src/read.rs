//! Reading back: pages, and whether the chain holds.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::chain::{Hash, ZERO};
use crate::entry::Entry;
use crate::limits;
use crate::log::Line;

/// Where the chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {problem}")]
pub struct Broken {
    /// Which file.
    pub file: String,
    /// Which line, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

/// A chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Files.
    pub files: usize,
    /// Entries; the newest has this number.
    pub entries: u64,
    /// Hash of the newest. Kept elsewhere, it shows a log that was rewritten as a whole.
    pub head: Hash,
}

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only entries with a number below this; 0 = from the newest.
    pub before: u64,
    /// Only this person's.
    pub who: Option<String>,
    /// Only methods that contain this.
    pub method: Option<String>,
    /// Only what names this resource, or something below it.
    pub resource: Option<String>,
    /// How many.
    pub limit: usize,
}

/// Entries, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// `before` of the next page; 0 = there is none.
    pub next: u64,
}

/// One file, walked.
pub(crate) struct Walked {
    /// Whole lines.
    pub entries: u64,
    /// Hash of the last.
    pub hash: Hash,
    /// Bytes of whole lines.
    pub bytes: u64,
}

/// The log's files with the number of their first entry, in order.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let first = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".jsonl"));
        if let Some(first) = first.and_then(|digits| digits.parse().ok()) {
            found.push((first, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Walks a file and checks numbers and, from `before` on, the chain. A last line without its end is left out.
pub(crate) fn walk(path: &Path, first: u64, before: Option<Hash>) -> Result<Walked, Broken> {
    walk_seeing(path, first, before, |_, _| ())
}

fn walk_seeing(
    path: &Path,
    first: u64,
    before: Option<Hash>,
    mut seen: impl FnMut(u64, Hash),
) -> Result<Walked, Broken> {
    let mut walked = Walked { entries: 0, hash: before.unwrap_or(ZERO), bytes: 0 };
    let checks = before.is_some();
    each_line(path, |number, text| {
        let problem = |problem: String| broken(path, number, problem);
        let (entry, line) = parse(text).map_err(problem)?;
        let wanted = first + walked.entries;
        if entry.number != wanted {
            return Err(problem(format!(
                "it has the number {}, wanted is {wanted}: lines are missing or doubled",
                entry.number
            )));
        }
        let hash = walked.hash.next(line.entry.get().as_bytes());
        if checks && hash != line.hash {
            return Err(problem("its hash does not follow from it and the line before".into()));
        }
        walked.hash = line.hash;
        walked.entries += 1;
        seen(entry.number, line.hash);
        walked.bytes += text.len() as u64 + 1;
        Ok(())
    })?;
    Ok(walked)
}

fn broken(path: &Path, line: u64, problem: String) -> Broken {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Broken { file, line, problem }
}

fn parse(text: &[u8]) -> Result<(Entry, Line), String> {
    let line: Line =
        serde_json::from_slice(text).map_err(|e| format!("it is not a line of this log: {e}"))?;
    let entry = serde_json::from_str(line.entry.get()).map_err(|e| format!("its entry is none: {e}"))?;
    Ok((entry, line))
}

/// Whole lines with their numbers.
fn each_line(path: &Path, mut each: impl FnMut(u64, &[u8]) -> Result<(), Broken>) -> Result<(), Broken> {
    let io = |line: u64| move |e: io::Error| broken(path, line, format!("it cannot be read: {e}"));
    let mut reader = BufReader::new(File::open(path).map_err(io(0))?);
    let (mut text, mut number) = (Vec::new(), 0);
    loop {
        text.clear();
        number += 1;
        let read = reader.read_until(b'\n', &mut text).map_err(io(number))?;
        if read == 0 || text.last() != Some(&b'\n') {
            return Ok(());
        }
        text.pop();
        each(number, &text)?;
    }
}

/// Checks the whole chain.
///
/// # Errors
/// Where it breaks first.
pub fn check(folder: &Path) -> Result<Checked, Broken> {
    Ok(check_against(folder, None)?.0)
}

/// Checks the whole chain, and looks for the line that ends in a hash that was kept elsewhere: its number, when there is
/// one. When there is none, the log was rewritten, or cut before that line.
///
/// # Errors
/// Where it breaks first.
pub fn check_against(folder: &Path, kept: Option<Hash>) -> Result<(Checked, Option<u64>), Broken> {
    // What the first line follows was there always.
    let mut found = (kept == Some(ZERO)).then_some(0);
    let files = files(folder).map_err(|e| broken(folder, 0, format!("the folder cannot be listed: {e}")))?;
    let (mut head, mut entries) = (ZERO, 0);
    for (at, (first, path)) in files.iter().enumerate() {
        if *first != entries + 1 {
            return Err(broken(
                path,
                0,
                format!("it begins with entry {first}, wanted is {}: a file is missing", entries + 1),
            ));
        }
        let walked = walk_seeing(path, *first, Some(head), |number, hash| {
            if kept == Some(hash) {
                found = Some(number);
            }
        })?;
        let length = std::fs::metadata(path).map(|meta| meta.len()).unwrap_or(walked.bytes);
        if at + 1 < files.len() && length != walked.bytes {
            return Err(broken(path, walked.entries + 1, "its last line is cut".into()));
        }
        entries += walked.entries;
        head = walked.hash;
    }
    Ok((Checked { files: files.len(), entries, head }, found))
}

impl Query {
    fn matches(&self, entry: &Entry) -> bool {
        let what = &entry.what;
        (self.before == 0 || entry.number < self.before)
            && self.who.as_ref().is_none_or(|who| *who == what.who)
            && self.method.as_ref().is_none_or(|method| what.method.contains(method))
            && self.resource.as_ref().is_none_or(|resource| {
                let rest = what.resource.strip_prefix(resource.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    /// Reads a page, newest first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn page(&self, folder: &Path) -> Result<Page, Broken> {
        let limit = self.limit.clamp(1, limits::PAGE_MAX);
        let files =
            files(folder).map_err(|e| broken(folder, 0, format!("the folder cannot be listed: {e}")))?;
        let mut found = Vec::new();
        for (first, path) in files.iter().rev() {
            if self.before != 0 && *first >= self.before {
                continue;
            }
            let mut of_file = std::collections::VecDeque::new();
            each_line(path, |number, text| {
                let (entry, _) = parse(text).map_err(|problem| broken(path, number, problem))?;
                if self.matches(&entry) {
                    of_file.push_back(entry);
                    // One more than wanted tells whether there is another page.
                    if of_file.len() > limit + 1 {
                        of_file.pop_front();
                    }
                }
                Ok(())
            })?;
            found.extend(of_file.into_iter().rev());
            if found.len() > limit {
                break;
            }
        }
        let next = if found.len() > limit { found[limit - 1].number } else { 0 };
        found.truncate(limit);
        Ok(Page { entries: found, next })
    }
}
