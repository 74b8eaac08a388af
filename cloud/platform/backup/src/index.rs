//! A snapshot's index: what it holds, under one checksum.
//!
//! ```text
//! remuda-backup 2 sha256=<64 hex digits: of everything after this line>\n
//! { JSON: Index }
//! ```

use serde::{Deserialize, Serialize};

use crate::error::BackupError;
use crate::hashing::sha256;

/// What the first line begins with.
const MAGIC: &str = "remuda-backup";
/// The format this release writes, and the newest it reads.
/// 2: files that grow are stored in pieces. 3: files of the lake may lie in a bucket.
pub(crate) const FORMAT: u32 = 3;

/// Something stored, as it lies in the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its path below `objects/`.
    pub name: String,
    /// SHA-256 of it as it is stored.
    pub sha256: String,
    /// Bytes as it is stored.
    pub bytes: u64,
}

/// What a snapshot is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotKind {
    /// The whole node.
    Full,
    /// Keys and register alone: quick, so it can be taken often.
    Identity,
}

/// A journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalCopy {
    /// Its folder below the data folder.
    pub name: String,
    /// Its entries, sealed pieces, ascending by key.
    pub entries: Vec<Object>,
    /// Changes on top, sealed pieces, in order.
    pub changes: Vec<Object>,
    /// How many entries.
    pub entry_count: u64,
    /// How many changes.
    pub change_count: u64,
    /// Highest epoch of any shard.
    pub highest_epoch: u64,
    /// When its newest event was decided, ms since 1970 UTC.
    pub last_event_ms: Option<i64>,
}

/// A committed file of the lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeFileCopy {
    /// Path below the lake's folder.
    pub path: String,
    /// CRC-32C of the file, as the manifest has it.
    pub crc32c: u32,
    /// Its bytes.
    pub bytes: u64,
    /// Where it is; the same bytes, unless it is sealed.
    pub object: Object,
}

/// A committed file of the lake that was not copied: it lies in the lake's bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeReference {
    /// Path below the lake's folder.
    pub path: String,
    /// CRC-32C of the file, as the manifest has it.
    pub crc32c: u32,
    /// Its bytes.
    pub bytes: u64,
    /// Its ETag, where it lay at its path when the backup was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// The lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeCopy {
    /// Its folder below the data folder.
    pub name: String,
    /// The journal that holds its manifest.
    pub journal: String,
    /// Files of that manifest that were copied, by path.
    pub files: Vec<LakeFileCopy>,
    /// Whether the objects are sealed.
    pub sealed: bool,
    /// When its newest row was received, ms since 1970 UTC.
    pub last_row_ms: Option<i64>,
    /// The bucket that the lake lay in, `s3://bucket/folder`; none: it lay in a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Files of that manifest that were not copied, by path: they lie in that bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_place: Vec<LakeReference>,
}

impl LakeCopy {
    /// How many files that manifest has.
    pub fn count(&self) -> u64 {
        (self.files.len() + self.in_place.len()) as u64
    }

    /// Every file of that manifest: path, CRC-32C, bytes.
    pub fn manifest(&self) -> impl Iterator<Item = (&str, u32, u64)> {
        let copied = self.files.iter().map(|file| (file.path.as_str(), file.crc32c, file.bytes));
        let in_place = self.in_place.iter().map(|file| (file.path.as_str(), file.crc32c, file.bytes));
        copied.chain(in_place)
    }

    /// Whether its files are those of this bucket, and not copies.
    pub(crate) fn lies_in(&self, address: &str) -> bool {
        self.files.is_empty() && self.bucket.as_deref() == Some(address)
    }

    /// The name of the part that holds its erasures.
    pub(crate) fn erasures(&self) -> String {
        erasures_of(&self.name)
    }
}

/// The name of the part that holds the erasures of a lake.
pub(crate) fn erasures_of(lake: &str) -> String {
    format!("{lake}/erasures")
}

/// A folder of small files, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesCopy {
    /// The folder below the data folder.
    pub name: String,
    /// The small ones, one sealed object.
    pub object: Object,
    /// Pieces of the large ones, a sealed object each, in order: of a file that grows only the last one is new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<Object>,
    /// How many.
    pub count: u64,
    /// SHA-256 of the authority's certificate, where the folder has one: whose identities these are.
    pub authority: Option<String>,
}

/// All of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub id: String,
    /// What it is of.
    pub kind: SnapshotKind,
    /// When it was begun, ms since 1970 UTC.
    pub begun_ms: i64,
    /// The moment that its journals and its lake are of, ms since 1970 UTC.
    pub moment_ms: i64,
    /// When it was whole, ms since 1970 UTC.
    pub ended_ms: i64,
    /// The release that wrote it.
    pub release: String,
    /// To whom it is encrypted.
    pub recipients: Vec<String>,
    /// Journals.
    pub journals: Vec<JournalCopy>,
    /// The lake.
    pub lake: Option<LakeCopy>,
    /// Folders of small files.
    pub files: Vec<FilesCopy>,
}

impl Index {
    /// Every object it refers to, and whether that is sealed.
    pub fn objects(&self) -> impl Iterator<Item = (&Object, bool)> {
        let journals = self.journals.iter().flat_map(|j| j.entries.iter().chain(&j.changes));
        let lake = self.lake.iter().flat_map(|l| l.files.iter().map(|f| (&f.object, l.sealed)));
        let files = self.files.iter().flat_map(|f| std::iter::once(&f.object).chain(&f.pieces));
        journals.chain(files).map(|object| (object, true)).chain(lake)
    }

    /// Bytes of everything it refers to, as stored.
    pub fn bytes(&self) -> u64 {
        self.objects().map(|(object, _)| object.bytes).sum()
    }

    /// Its bytes.
    ///
    /// # Errors
    /// Never, as far as is known: it holds nothing that JSON cannot say.
    pub fn encode(&self) -> Result<Vec<u8>, BackupError> {
        let body = serde_json::to_vec(self).map_err(|e| BackupError::damaged(&self.id, e.to_string()))?;
        let mut bytes = format!("{MAGIC} {FORMAT} sha256={}\n", sum_of(FORMAT, &body)).into_bytes();
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    pub(crate) fn decode(id: &str, bytes: &[u8]) -> Result<Self, BackupError> {
        let damaged = |what: &str| BackupError::damaged(&format!("snapshots/{id}/index"), what);
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("its index is cut"))?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| damaged("its index has no head"))?;
        let mut words = head.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(damaged("its index has no head"));
        }
        let format = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        if format > FORMAT {
            let path = format!("snapshots/{id}/index").into();
            return Err(BackupError::Format { path, format, known: FORMAT });
        }
        if format == 0 {
            return Err(damaged("its index has no head"));
        }
        let sum = words.next().and_then(|word| word.strip_prefix("sha256="));
        let body = &bytes[end + 1..];
        if sum != Some(sum_of(format, body).as_str()) {
            return Err(damaged("its index is not what was written: cut short, or changed"));
        }
        let index: Self = serde_json::from_slice(body).map_err(|e| damaged(&format!("its index: {e}")))?;
        // Its folder may have been renamed; what it says of itself is what is true.
        if index.id == id { Ok(index) } else { Err(damaged("its index is another snapshot's")) }
    }
}

/// The checksum in the head. From format 3 on the format is part of it: read as an older one, an index would lack what that did
/// not have.
fn sum_of(format: u32, body: &[u8]) -> String {
    if format < 3 { sha256(&[body]) } else { sha256(&[&format.to_le_bytes(), body]) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An index with one of everything.
    pub fn some(id: &str) -> Index {
        let object = |name: &str| Object { name: name.into(), sha256: "00".repeat(32), bytes: 7 };
        Index {
            id: id.into(),
            kind: SnapshotKind::Full,
            begun_ms: 1,
            moment_ms: 2,
            ended_ms: 3,
            release: "0.1.0".into(),
            recipients: vec!["age1".into()],
            journals: vec![JournalCopy {
                name: "journal".into(),
                entries: vec![object("chunks/aa/a")],
                changes: vec![object("chunks/bb/b")],
                entry_count: 1,
                change_count: 1,
                highest_epoch: 4,
                last_event_ms: Some(5),
            }],
            lake: Some(LakeCopy {
                name: "lake".into(),
                journal: "journal".into(),
                files: vec![LakeFileCopy {
                    path: "fresh/x-4-1.parquet".into(),
                    crc32c: 9,
                    bytes: 7,
                    object: object("lake/fresh/x-4-1.parquet"),
                }],
                sealed: false,
                last_row_ms: None,
                bucket: None,
                in_place: Vec::new(),
            }),
            files: vec![FilesCopy {
                name: "identity".into(),
                object: object("files/identity"),
                pieces: vec![object("files/register")],
                count: 2,
                authority: None,
            }],
        }
    }

    /// As release 0.1.0 wrote it: it is read for ever.
    #[test]
    fn an_index_of_format_1_is_read() {
        let mut index = some("S1");
        index.files[0].pieces.clear();
        let body = serde_json::to_vec(&index).expect("encodes");
        let text = String::from_utf8_lossy(&body);
        assert!(!["pieces", "bucket", "in_place"].iter().any(|key| text.contains(key)), "{text}");
        let mut bytes = format!("remuda-backup 1 sha256={}\n", sha256(&[&body])).into_bytes();
        bytes.extend(body);
        assert_eq!(Index::decode("S1", &bytes).expect("decodes"), index);
    }

    #[test]
    fn what_lies_in_a_bucket_is_no_object_of_the_repository() {
        let mut index = some("S1");
        let lake = index.lake.as_mut().expect("a lake");
        lake.bucket = Some("s3://fleet/lake".into());
        let file = lake.files.remove(0);
        let etag = Some("\"d41d\"".into());
        lake.in_place.push(LakeReference { path: file.path, crc32c: 9, bytes: 7, etag });
        assert!(lake.lies_in("s3://fleet/lake") && !lake.lies_in("s3://fleet/other"));
        assert_eq!(lake.manifest().collect::<Vec<_>>(), [("fresh/x-4-1.parquet", 9, 7)]);
        assert_eq!((index.objects().count(), index.bytes()), (4, 28));
        assert_eq!(Index::decode("S1", &index.encode().expect("encodes")).expect("decodes"), index);
    }

    #[test]
    fn an_index_is_read_back_and_every_change_to_it_is_noticed() {
        let index = some("S1");
        let bytes = index.encode().expect("encodes");
        assert_eq!(Index::decode("S1", &bytes).expect("decodes"), index);
        assert_eq!((index.objects().count(), index.bytes()), (5, 35));
        assert!(Index::decode("S2", &bytes).is_err(), "under another name");
        for cut in 0..bytes.len() {
            assert!(Index::decode("S1", &bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Index::decode("S1", &changed).is_err(), "changed at {at}");
        }
        let future = [b"remuda-backup 4 ", &bytes[16..]].concat();
        let sentence = Index::decode("S1", &future).expect_err("newer").to_string();
        assert!(sentence.contains("format 4"), "{sentence}");
    }
}
