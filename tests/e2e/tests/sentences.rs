//! Every bad input gets one sentence that says what to do, and exit code 1 (or 2 for usage).

use std::io::Write;
use std::process::{Command, Output};

use remuda_e2e::binary;
use remuda_e2e::cloud::CloudPlace;

fn remuda(args: &[&str]) -> Output {
    Command::new(binary("remuda")).args(args).output().expect("remuda runs")
}

fn sentence(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn an_unknown_configuration_key() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"[console]\nportt = 1\n").expect("written");
    let path = file.path().to_string_lossy().into_owned();
    let text = sentence(&remuda(&["config", "check", "--config", &path]), 1);
    assert!(text.contains("portt") && text.contains("console"), "{text}");
}

#[test]
fn an_unreadable_map() {
    let mut file = tempfile::NamedTempFile::with_suffix(".osm.pbf").expect("a file");
    file.write_all(b"this is not a map").expect("written");
    let path = file.path().to_string_lossy().into_owned();
    let text = sentence(&remuda(&["demo", "--map", &path, "--for", "1s"]), 1);
    assert!(text.contains(&path), "{text}");
    let text = sentence(&remuda(&["demo", "--map", "no-such-map.osm.pbf", "--for", "1s"]), 1);
    assert!(text.contains("no-such-map.osm.pbf"), "{text}");
}

#[test]
fn a_port_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path());
    let first = place.start("");
    let other = tempfile::tempdir().expect("a folder");
    let output = Command::new(binary("remuda"))
        .args(["serve", "--data"])
        .arg(other.path())
        .env("REMUDA__DOOR__LISTEN", &first.tls_door)
        .env("REMUDA__ENROLMENT__LISTEN", "127.0.0.1:0")
        .env("REMUDA__CONSOLE__LISTEN", "127.0.0.1:0")
        .output()
        .expect("remuda runs");
    let text = sentence(&output, 1);
    assert!(text.contains(&first.tls_door) && text.contains("in use"), "{text}");
}

#[test]
fn a_console_in_plain_text_outside_of_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let serve = |settings: &[(&str, &str)]| {
        let mut serve = Command::new(binary("remuda"));
        serve.args(["serve", "--data"]).arg(folder.path());
        serve.envs(settings.iter().copied()).output().expect("remuda runs")
    };
    let text = sentence(&serve(&[("REMUDA__CONSOLE__LISTEN", "0.0.0.0:0")]), 1);
    for part in ["console.listen is 0.0.0.0:0", "console.tls.mode", "console.allow_plain_text"] {
        assert!(text.contains(part), "{text}");
    }
    let missing = [
        ("REMUDA__CONSOLE__LISTEN", "127.0.0.1:0"),
        ("REMUDA__DOOR__LISTEN", "127.0.0.1:0"),
        ("REMUDA__ENROLMENT__LISTEN", "127.0.0.1:0"),
        ("REMUDA__CONSOLE__TLS__MODE", "files"),
        ("REMUDA__CONSOLE__TLS__CERTIFICATE_FILE", "no-such-certificate.pem"),
        ("REMUDA__CONSOLE__TLS__KEY_FILE", "no-such-key.pem"),
    ];
    let text = sentence(&serve(&missing), 1);
    assert!(text.contains("no-such-certificate.pem") && text.contains("[console.tls]"), "{text}");
}

#[test]
fn a_data_folder_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path());
    let _first = place.start("");
    let output = Command::new(binary("remuda"))
        .args(["serve", "--data"])
        .arg(place.data())
        .env("REMUDA__DOOR__LISTEN", "127.0.0.1:0")
        .env("REMUDA__ENROLMENT__LISTEN", "127.0.0.1:0")
        .env("REMUDA__CONSOLE__LISTEN", "127.0.0.1:0")
        .output()
        .expect("remuda runs");
    let text = sentence(&output, 1);
    assert!(text.contains("in use by another process"), "{text}");
}

#[test]
fn too_few_file_handles() {
    let script = format!("ulimit -n 64; exec {} demo --vehicles 500 --for 1s", binary("remuda").display());
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    let text = sentence(&output, 1);
    assert!(text.contains("file handles") && text.contains("ulimit"), "{text}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    sentence(&remuda(&["demo", "--vehicles", "many"]), 2);
    sentence(&remuda(&["nonsense"]), 2);
}
