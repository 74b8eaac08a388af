//! The files of a lake in a bucket, for whoever backs them up: listed, read in pieces, put back.

use std::path::Path as FsPath;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::erasure::COPIES;
use crate::error::LakeError;
use crate::files::Files;
use crate::history::{FRESH, HISTORY, REPLACED, STAGED};
use crate::s3::S3Settings;

/// Where committed files lie, in the order in which they move on: whoever lists one folder after the other misses none.
const FOLDERS: [&str; 4] = [STAGED, FRESH, HISTORY, REPLACED];
/// Where a committed file is looked for; a compaction may be just moving it.
const PLACES: [&str; 3] = ["", REPLACED, STAGED];

/// A file in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketFile {
    /// Path as the manifest has it; of an erasure's copy its name.
    pub path: String,
    /// Whether it lies there, not in `staged/`, `replaced/` or `erasures/`.
    pub at_home: bool,
    /// Its length.
    pub bytes: u64,
    /// Its ETag, as the server has it.
    pub etag: Option<String>,
}

/// A lake's bucket. Opening one asks the server nothing.
#[derive(Clone)]
pub struct Bucket {
    address: String,
    store: Arc<dyn ObjectStore>,
    files: Files,
}

impl Bucket {
    /// The bucket of these settings.
    ///
    /// # Errors
    /// When they make no client.
    pub fn open(s3: &S3Settings) -> Result<Self, LakeError> {
        let (address, store) = (s3.address(), s3.store()?);
        let files = Files::on_store(FsPath::new(&address), Arc::clone(&store));
        Ok(Self { address, store, files })
    }

    /// `s3://bucket/folder`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lists every file that rounds and compactions wrote, committed or not.
    pub fn files(&self) -> BucketListing {
        BucketListing { store: Arc::clone(&self.store), left: FOLDERS.to_vec(), folder: "", listed: None }
    }

    /// Lists the copies of erasures by name; [`Bucket::erasure_path`] is the way back.
    pub fn erasures(&self) -> BucketListing {
        BucketListing { store: Arc::clone(&self.store), left: vec![COPIES], folder: "", listed: None }
    }

    /// The path of an erasure's copy by its name.
    pub fn erasure_path(name: &str) -> String {
        format!("{COPIES}{name}")
    }

    /// Reads a file, wherever a compaction is just moving it; `None` when it is nowhere.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read(&self, path: &str) -> Result<Option<BucketReading>, LakeError> {
        // Twice: it may be moved between a look here and a look there.
        for _ in 0..2 {
            for place in PLACES {
                match self.store.get(&Path::from(format!("{place}{path}"))).await {
                    Ok(got) => return Ok(Some(BucketReading(got.into_stream()))),
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(None)
    }

    /// Writes a new file; never over another. One that is there and the same is left as it is.
    ///
    /// # Errors
    /// When another file lies there, or the store fails.
    pub async fn create(&self, path: &str, bytes: Vec<u8>) -> Result<(), LakeError> {
        self.files.create(path, bytes).await
    }
}

/// A list of files, read page by page.
pub struct BucketListing {
    store: Arc<dyn ObjectStore>,
    left: Vec<&'static str>,
    folder: &'static str,
    listed: Option<BoxStream<'static, object_store::Result<ObjectMeta>>>,
}

impl BucketListing {
    /// The next file; `None` at the end.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_file(&mut self) -> Result<Option<BucketFile>, LakeError> {
        loop {
            if let Some(listed) = &mut self.listed {
                let next = listed.try_next().await?;
                if let Some(meta) = next {
                    return Ok(Some(self.file(meta)));
                }
                self.listed = None;
            }
            if self.left.is_empty() {
                return Ok(None);
            }
            self.folder = self.left.remove(0);
            self.listed = Some(self.store.list(Some(&Path::from(self.folder.trim_end_matches('/')))));
        }
    }

    fn file(&self, meta: ObjectMeta) -> BucketFile {
        let at = meta.location.to_string();
        let moving = [STAGED, REPLACED, COPIES].contains(&self.folder);
        let path = if moving { at.strip_prefix(self.folder).unwrap_or(&at).to_owned() } else { at };
        BucketFile { path, at_home: !moving, bytes: meta.size, etag: meta.e_tag }
    }
}

/// A file that is read piece by piece.
pub struct BucketReading(BoxStream<'static, object_store::Result<Bytes>>);

impl BucketReading {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, LakeError> {
        Ok(self.0.try_next().await?)
    }
}
