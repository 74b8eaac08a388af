//! The lake's files: in memory, slow, and failing before or after the deed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use crate::ground::Ground;

/// See the module. One for all processes of a world.
#[derive(Clone)]
pub(crate) struct FaultyStore {
    ground: Arc<Ground>,
    files: Arc<InMemory>,
}

impl FaultyStore {
    /// Empty.
    pub fn new(ground: Arc<Ground>) -> Self {
        Self { ground, files: Arc::new(InMemory::new()) }
    }

    /// The files themselves, for who checks.
    pub fn files(&self) -> &InMemory {
        &self.files
    }

    async fn before(&self) -> Result<()> {
        self.ground.dawdle(self.ground.plan.store_ms.clone()).await;
        self.maybe("store fails before")
    }

    async fn after(&self) -> Result<()> {
        self.maybe("store fails after")?;
        self.ground.dawdle(self.ground.plan.store_ms.clone()).await;
        Ok(())
    }

    fn maybe(&self, name: &'static str) -> Result<()> {
        if self.ground.fault(name, self.ground.plan.store_fails) {
            return Err(Error::Generic { store: "simulated", source: name.into() });
        }
        Ok(())
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.before().await?;
        let put = self.files.put_opts(location, payload, opts).await?;
        self.ground.note(format_args!("store: a file is there"));
        self.after().await?;
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.before().await?;
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.before().await?;
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.before().await?;
        self.files.rename_opts(from, to, options).await
    }
}
