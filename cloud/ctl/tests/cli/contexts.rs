//! Contexts: kept in a file that only its owner reads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{TOKEN, ended, start};

/// `remudactl` that knows nothing but its contexts.
pub fn plain(file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remudactl"));
    command.env_clear().env("REMUDA_CONTEXTS", file).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it; what it writes must not hold the token.
pub async fn said(file: &Path, arguments: &[&str]) -> (i32, String, String) {
    let (code, out, errors) = ended(plain(file, arguments)).await;
    assert!(!out.contains(TOKEN) && !errors.contains(TOKEN), "a token is printed: {out}{errors}");
    (code, out, errors)
}

#[tokio::test]
async fn contexts_are_kept_chosen_and_forgotten() {
    let addr = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("remuda/contexts.toml");
    let server = format!("http://{addr}");
    let (code, _, errors) = said(&file, &["contexts", "list"]).await;
    assert!(code == 0 && errors.contains("no context yet"), "{errors}");
    assert_eq!(said(&file, &["contexts", "current"]).await.0, 1);

    // A printed address has everything in it.
    let printed = format!("{server}/#token={TOKEN}");
    let (code, out, errors) = said(&file, &["contexts", "set", "here", "--server", &printed]).await;
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(out, format!("the context here is for {server}\n"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(said(&file, &["contexts", "current"]).await.1, "here\n");
    let (code, names, errors) = said(&file, &["vehicles", "list", "-o", "name", "--limit", "2"]).await;
    assert_eq!((code, names.lines().count()), (0, 2), "{errors}");

    // A token out of standard input, in no list of processes.
    let other = [
        "contexts",
        "set",
        "other",
        "--server",
        "http://127.0.0.1:1",
        "--token-stdin",
        "--organization",
        "acme",
    ];
    let mut child = plain(&file, &other).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{TOKEN}\n").as_bytes()).await.unwrap();
    assert!(child.wait().await.unwrap().success());
    let (_, table, _) = said(&file, &["contexts", "list"]).await;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["*", "here", &server, "default", "token"], "{table}");
    assert_eq!(lines[2], ["other", "http://127.0.0.1:1", "acme", "token"], "{table}");

    let (code, _, errors) = said(&file, &["vehicles", "list", "--context", "other"]).await;
    assert!(code == 1 && errors.contains("cannot connect to http://127.0.0.1:1"), "{errors}");
    assert_eq!(said(&file, &["contexts", "use", "other"]).await.0, 0);
    let (_, json, _) = said(&file, &["contexts", "list", "-o", "json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["contexts"][1]["current"], true);
    // The environment counts more than the current context.
    let mut by_env = plain(&file, &["vehicles", "list", "-o", "name", "--limit", "1"]);
    let (code, names, errors) = ended({
        by_env.env("REMUDA_CONTEXT", "here");
        by_env
    })
    .await;
    assert_eq!((code, names.lines().count()), (0, 1), "{errors}");
    // Another server gets none of the token.
    assert_eq!(said(&file, &["contexts", "set", "other", "--server", &server]).await.0, 0);
    let (code, _, errors) = said(&file, &["vehicles", "list"]).await;
    assert!(code == 2 && errors.contains("a token is wanted"), "{errors}");

    assert_eq!(said(&file, &["contexts", "delete", "other"]).await.0, 0);
    assert_eq!(said(&file, &["contexts", "list", "-o", "name"]).await.1, "here\n");
    assert_eq!(said(&file, &["contexts", "current"]).await.0, 1);
    assert!(!fs::read_to_string(&file).unwrap().contains("acme"));
}

#[tokio::test]
async fn what_is_wrong_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("contexts.toml");
    for (arguments, code, sentence) in [
        (&["contexts", "use", "nobody"][..], 2, "there is no context `nobody`; make one"),
        (&["contexts", "delete", "nobody"], 2, "there is no context `nobody`"),
        (&["contexts", "set", "a b", "--server", "https://h"], 2, "a context's name"),
        (&["contexts", "set", "a"], 2, "a new context needs a --server"),
        (&["contexts", "set", "a", "--server", "ftp://h"], 2, "is not a server address"),
        (
            &["contexts", "set", "a", "--server", "https://h", "--ca", "/nowhere"],
            2,
            "/nowhere cannot be read",
        ),
        (&["contexts", "set", "a", "--server", "https://h", "--cert", "Cargo.toml"], 2, "--cert and --key"),
        (
            &["contexts", "set", "a", "--server", "https://h", "--token-stdin"],
            2,
            "no token on standard input",
        ),
        (&["vehicles", "list", "--context", "nobody"], 2, "there is no context `nobody`"),
        (&["vehicles", "list", "--context", "a", "--server", "https://h"], 2, "do not go together"),
        (&["login"], 2, "needs a --server"),
        (&["login", "--server", "https://h"], 2, "--issuer and --client-id"),
    ] {
        let (got, out, errors) = said(&file, arguments).await;
        assert_eq!((got, out.as_str()), (code, ""), "{arguments:?}: {errors}");
        assert!(errors.contains(sentence), "{arguments:?}: {errors}");
        assert!(!file.exists(), "{arguments:?} has written a file");
    }
    assert_eq!(said(&file, &["contexts", "set", "a", "--server", "https://h"]).await.0, 0);
    // A file that somebody wrote by hand: what is advised helps.
    let by_hand = fs::read_to_string(&file).unwrap().replace("current = \"a\"", "current = \"gone\"");
    fs::write(&file, by_hand).unwrap();
    for arguments in [&["vehicles", "list"][..], &["contexts", "current"]] {
        let (code, _, errors) = said(&file, arguments).await;
        assert!(code == 2 && errors.contains("there is no context `gone`; there are: a"), "{errors}");
    }
    assert_eq!(said(&file, &["contexts", "use", "a"]).await.0, 0);
    assert_eq!(said(&file, &["contexts", "current"]).await.1, "a\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    for arguments in [&["contexts", "list"][..], &["vehicles", "list"], &["contexts", "set", "b"]] {
        let (code, _, errors) = said(&file, arguments).await;
        assert!(code == 2 && errors.contains("chmod 600"), "{errors}");
    }
    // Who names a server needs no contexts.
    let (code, _, errors) =
        said(&file, &["vehicles", "list", "--server", "http://127.0.0.1:1", "--token", "t"]).await;
    assert!(code == 1 && errors.contains("cannot connect"), "{errors}");
}
