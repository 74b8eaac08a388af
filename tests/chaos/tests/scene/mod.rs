//! A disk that can lose power, and this test binary started again as a process on it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use remuda_chaos::disk::{Disk, Layer};

/// Where the child finds the disk's folder, and what it is to do there.
pub const FOLDER: &str = "REMUDA_TEST_DISK";
pub const ROLE: &str = "REMUDA_TEST_DISK_ROLE";

pub struct Scene {
    _folder: tempfile::TempDir,
    pub disk: Disk,
    pub root: PathBuf,
}

/// Compiled once for all tests.
fn layer() -> Layer {
    static LAYER: OnceLock<(tempfile::TempDir, Layer)> = OnceLock::new();
    let compile = || {
        let folder = tempfile::tempdir().expect("a folder");
        let layer = Layer::compile(folder.path()).expect("a C compiler");
        (folder, layer)
    };
    LAYER.get_or_init(compile).1.clone()
}

/// An empty disk.
pub fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a folder");
    let layer = layer();
    let root = folder.path().join("root");
    let disk = Disk::new(&layer, &root, &folder.path().join("beside")).expect("a disk");
    let root = disk.root().to_path_buf();
    Scene { _folder: folder, disk, root }
}

/// Starts the test named `child` of this binary on the disk, in a role.
pub fn start(scene: &Scene, role: &str) -> Child {
    Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "child", "--nocapture"])
        .envs(scene.disk.environment())
        .env(FOLDER, &scene.root)
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}
