//! The lake's part of the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use remuda_eventsourcing::Journal;
use remuda_lake::{LakeError, LakeSettings, Retention, S3Settings};
use remuda_model::SignalClass;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, within};

/// The lake: its rounds, its compaction, what it keeps and for how long.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lake {
    /// Where its files lie: empty: in `data_dir`; or a bucket, `s3://bucket` or `s3://bucket/folder`, whose keys come from
    /// the environment as the AWS tools take them (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, ...).
    pub store: String,
    /// Longest time between commits, ms, 10 to 60,000.
    pub round_interval_ms: u64,
    /// A round is closed early at this size, bytes, 64 KiB to 1 GiB.
    pub round_bytes_max: usize,
    /// Time between checkpoints, ms, 100 to 3,600,000.
    pub checkpoint_interval_ms: u64,
    /// Time between two looks for files that were never committed, ms, 100 to 86,400,000.
    pub sweep_interval_ms: u64,
    /// Time between two compactions of committed rows into `history/`, s, 1 to 86,400; 0: only by `remuda lake compact`.
    pub compact_interval_s: u64,
    /// Memory of a compaction, bytes, 1 MiB to 16 GiB; where it must go row by row, the files it reads and writes come to 128
    /// MiB more.
    pub compact_bytes_max: usize,
    /// Days that rows stay in `history/` after their hour, 1 to 36,500; 0: for ever.
    pub history_days: u32,
    /// Bytes of `history/`, 1 MiB to 1 EiB; beyond, the oldest hours go. 0: no bound.
    pub history_bytes_max: u64,
    /// Hours within which the files of an erasure are rewritten, 1 to 720; 0: by the next compaction. Readers filter from
    /// the request on.
    pub erase_within_h: u32,
    /// Days that values of a class of signals stay, where that is less than `history_days`: `position`,
    /// `driver-behaviour`, `cabin`, `technical`. A class that is not named stays as long as its rows.
    pub class_days: BTreeMap<SignalClass, u32>,
    /// How the bucket of `store` is spoken to.
    pub s3: S3,
}

/// How a bucket is spoken to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    /// Address of a server that speaks S3, `https://host:port`, or `http://` on this machine; empty: Amazon's.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// Longest time that a request may take, s, 1 to 300.
    pub timeout_s: u64,
}

impl Default for S3 {
    fn default() -> Self {
        Self { endpoint: String::new(), region: "us-east-1".into(), timeout_s: 30 }
    }
}

impl Default for Lake {
    fn default() -> Self {
        Self {
            store: String::new(),
            round_interval_ms: 1_000,
            round_bytes_max: 32 << 20,
            checkpoint_interval_ms: 60_000,
            sweep_interval_ms: 3_600_000,
            compact_interval_s: 300,
            compact_bytes_max: 256 << 20,
            history_days: 0,
            history_bytes_max: 0,
            erase_within_h: 24,
            class_days: BTreeMap::new(),
            s3: S3::default(),
        }
    }
}

impl Lake {
    /// What leaves the lake, and when.
    pub(crate) fn retention(&self) -> Retention {
        Retention {
            days: (self.history_days > 0).then_some(self.history_days),
            bytes_max: (self.history_bytes_max > 0).then_some(self.history_bytes_max),
            class_days: self.class_days.clone(),
        }
    }

    /// Opens it, wherever its files lie.
    pub(crate) async fn open(
        &self,
        data_dir: &std::path::Path,
        journal: Arc<dyn Journal>,
    ) -> Result<remuda_lake::Lake, LakeError> {
        let settings = LakeSettings {
            round_interval_ms: self.round_interval_ms,
            round_bytes_max: self.round_bytes_max,
            checkpoint_interval_ms: self.checkpoint_interval_ms,
            ..LakeSettings::new(data_dir.join("lake"))
        };
        match self.bucket() {
            Some(s3) => remuda_lake::Lake::open_s3(settings, &s3, journal).await,
            None => remuda_lake::Lake::open(settings, journal).await,
        }
    }

    /// The bucket, when it lies in one, for whoever backs it up.
    pub(crate) fn open_bucket(&self) -> Result<Option<remuda_lake::Bucket>, LakeError> {
        self.bucket().map(|s3| remuda_lake::Bucket::open(&s3)).transpose()
    }

    /// The bucket, when it lies in one.
    fn bucket(&self) -> Option<S3Settings> {
        let (bucket, prefix) = S3Settings::parse(&self.store).ok()?;
        Some(S3Settings {
            bucket,
            prefix,
            endpoint: (!self.s3.endpoint.is_empty()).then(|| self.s3.endpoint.clone()),
            region: self.s3.region.clone(),
            timeout_ms: self.s3.timeout_s.saturating_mul(1_000),
            credentials: std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect(),
        })
    }

    /// Checks the bucket and its server.
    fn check_store(&self) -> Result<(), ConfigError> {
        if !self.store.is_empty() {
            S3Settings::parse(&self.store)
                .map_err(|what| ConfigError::Shape(format!("lake.store: {what}")))?;
        }
        within("lake.s3.timeout_s", self.s3.timeout_s, 1, 300, "1 to 300")?;
        let endpoint = self.s3.endpoint.as_str();
        let is_host = |host: &str| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
        };
        let safe = endpoint.strip_prefix("https://").map(|host| host.trim_end_matches('/'));
        let plain = endpoint.strip_prefix("http://").map(|host| host.trim_end_matches('/'));
        let at_home = |host: &str| ["127.", "localhost", "[::1]"].iter().any(|home| host.starts_with(home));
        if endpoint.is_empty()
            || safe.is_some_and(is_host)
            || plain.is_some_and(|host| at_home(host) && is_host(host))
        {
            return Ok(());
        }
        Err(ConfigError::Range {
            key: "lake.s3.endpoint",
            value: endpoint.to_owned(),
            must: "https://host:port, or http:// on this machine: what vehicles measured is not sent in the clear",
        })
    }

    /// Checks every value's range.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.check_store()?;
        within("lake.round_interval_ms", self.round_interval_ms, 10, 60_000, "10 to 60000")?;
        within("lake.round_bytes_max", self.round_bytes_max, 64 << 10, 1 << 30, "65536 to 1073741824")?;
        let checkpoint = self.checkpoint_interval_ms;
        within("lake.checkpoint_interval_ms", checkpoint, 100, 3_600_000, "100 to 3600000")?;
        within("lake.sweep_interval_ms", self.sweep_interval_ms, 100, 86_400_000, "100 to 86400000")?;
        within("lake.compact_interval_s", self.compact_interval_s, 0, 86_400, "0 (never), or 1 to 86400")?;
        within(
            "lake.compact_bytes_max",
            self.compact_bytes_max,
            1 << 20,
            16 << 30,
            "1048576 to 17179869184",
        )?;
        within("lake.history_days", self.history_days, 0, 36_500, "0 (for ever), or 1 to 36500")?;
        within(
            "lake.erase_within_h",
            self.erase_within_h,
            0,
            720,
            "0 (by the next compaction), or 1 to 720",
        )?;
        if self.history_bytes_max != 0 {
            let must = "0 (no bound), or 1048576 to 1152921504606846976";
            within("lake.history_bytes_max", self.history_bytes_max, 1 << 20, 1 << 60, must)?;
        }
        self.retention().check().map_err(|what| ConfigError::Shape(format!("lake.class_days: {what}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("remuda.toml");
        std::fs::write(&file, text).expect("written");
        Config::load(Some(&file))
    }

    #[test]
    fn classes_are_kept_as_long_as_is_said() {
        let config =
            load("[lake]\nhistory_days = 365\n[lake.class_days]\nposition = 30\ndriver-behaviour = 90\n");
        let config = config.expect("holds");
        let retention = config.lake.retention();
        let days: Vec<_> = retention.class_days.into_iter().collect();
        assert_eq!(days, [(SignalClass::Position, 30), (SignalClass::DriverBehaviour, 90)]);
        let printed = config.to_toml();
        assert_eq!(load(&printed).expect("what is printed can be read").to_toml(), printed);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, says) in [
            (
                "history_days = 30\n[lake.class_days]\nposition = 30",
                "position is kept 30 days, but every row only 30",
            ),
            ("[lake.class_days]\ncabin = 0", "cabin is kept 0 days"),
            ("[lake.class_days]\npositions = 3", "positions"),
            ("history_bytes_max = 5", "lake.history_bytes_max is 5"),
            ("erase_within_h = 1000", "lake.erase_within_h is 1000"),
            ("store = \"gs://fleet\"", "s3://bucket"),
            ("[lake.s3]\nendpoint = \"http://minio.example:9000\"", "lake.s3.endpoint"),
            ("[lake.s3]\nendpoint = \"https://\"", "lake.s3.endpoint"),
            ("[lake.s3]\ntimeout_s = 0", "lake.s3.timeout_s is 0"),
        ] {
            let sentence = load(&format!("[lake]\n{text}\n")).expect_err(says).to_string();
            assert!(sentence.contains(says), "{sentence}");
        }
    }
}
