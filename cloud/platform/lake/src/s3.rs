//! A lake in an S3 bucket, or in whatever speaks S3.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::error::LakeError;
use crate::limits;

/// Where the bucket is, and how it is spoken to.
#[derive(Clone)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// Folder in it; empty: all of it is the lake's.
    pub prefix: String,
    /// Address of a server that is not Amazon's, such as `https://minio.example:9000`; `None`: Amazon's of the region.
    pub endpoint: Option<String>,
    /// Region, such as `eu-central-1`.
    pub region: String,
    /// Longest time that one request may take, ms.
    pub timeout_ms: u64,
    /// Variables `AWS_...` of the environment: keys, tokens, roles. Never shown.
    pub credentials: Vec<(String, String)>,
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, prefix, endpoint, region, timeout_ms, credentials: _ } = self;
        f.debug_struct("S3Settings")
            .field("bucket", bucket)
            .field("prefix", prefix)
            .field("endpoint", endpoint)
            .field("region", region)
            .field("timeout_ms", timeout_ms)
            .finish_non_exhaustive()
    }
}

impl S3Settings {
    /// A bucket and folder by their address.
    ///
    /// # Errors
    /// A sentence when it is no such address.
    pub fn parse(address: &str) -> Result<(String, String), String> {
        let wrong =
            || format!("{address} is no address of a bucket: write s3://bucket or s3://bucket/folder");
        let rest = address.strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let is_bucket =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        let is_folder = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_=".contains(&byte);
        let sound = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(is_bucket)
            && prefix.bytes().all(is_folder)
            && prefix.split('/').all(|part| prefix.is_empty() || !["", ".", ".."].contains(&part));
        if sound { Ok((bucket.to_owned(), prefix.to_owned())) } else { Err(wrong()) }
    }

    /// Its address.
    pub fn address(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket, self.prefix)
    }

    /// The store. What it answers is durable: S3 is consistent, and a PUT is whole or nothing.
    pub(crate) fn store(&self) -> Result<Arc<dyn ObjectStore>, LakeError> {
        let mut builder = AmazonS3Builder::new().with_bucket_name(&self.bucket);
        for (name, value) in &self.credentials {
            // The library knows these names in lower case; others are none of its business.
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        builder = builder.with_region(&self.region);
        let mut client = ClientOptions::new()
            .with_timeout(Duration::from_millis(self.timeout_ms))
            .with_connect_timeout(Duration::from_millis(self.timeout_ms.min(limits::S3_CONNECT_MS)));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
            // Whoever names an http address means it; the configuration allows it for loopback only.
            client = client.with_allow_http(endpoint.starts_with("http://"));
        }
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(limits::RETRY_MS_MIN),
                max_backoff: Duration::from_millis(limits::RETRY_MS_MAX),
                base: 2.0,
            },
            max_retries: limits::S3_RETRIES,
            retry_timeout: Duration::from_millis(self.timeout_ms.saturating_mul(4)),
        };
        let store = builder.with_client_options(client).with_retry(retry).build()?;
        Ok(match self.prefix.as_str() {
            "" => Arc::new(store),
            prefix => Arc::new(PrefixStore::new(store, prefix)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_a_folder() {
        let parsed = |address: &str| S3Settings::parse(address).ok();
        let some = |bucket: &str, prefix: &str| Some((bucket.to_owned(), prefix.to_owned()));
        assert_eq!(parsed("s3://fleet"), some("fleet", ""));
        assert_eq!(parsed("s3://fleet/a/lake/"), some("fleet", "a/lake"));
        for wrong in
            ["fleet", "s3://", "s3://ab", "s3://Fleet", "s3://fleet/a/../b", "s3://fleet/a b", "gs://fleet"]
        {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let settings = S3Settings {
            bucket: "fleet".into(),
            prefix: "lake".into(),
            endpoint: None,
            region: "eu-central-1".into(),
            timeout_ms: 1,
            credentials: vec![("AWS_SECRET_ACCESS_KEY".into(), "hush".into())],
        };
        assert!(!format!("{settings:?}").contains("hush"));
        assert_eq!(settings.address(), "s3://fleet/lake");
    }
}
