//! What can be done to a log behind its back, and how it shows.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use remuda_audit::{AuditLog, Outcome, Query, What, check};

fn what(n: u64) -> What {
    What {
        who: if n.is_multiple_of(2) { "ada" } else { "bob" }.into(),
        from: "127.0.0.1:5".into(),
        via: "account".into(),
        method: "/remuda.commands.v1.CommandService/CreateCommand".into(),
        reason: "a test".into(),
        resource: format!("organizations/default/vehicles/CAR{n}"),
        detail: format!("{{\"honk\":{n}}}"),
    }
}

/// A log of so many calls that began and ended.
fn log(folder: &Path, calls: u64) -> AuditLog {
    let log = AuditLog::open(folder).expect("it opens");
    for n in 0..calls {
        let begun = log.begin(what(n), n as i64).expect("written");
        log.end(begun, what(n), "OK", n as i64 + 1).expect("written");
    }
    log
}

fn only_file(folder: &Path) -> PathBuf {
    std::fs::read_dir(folder).expect("a folder").next().expect("a file").expect("readable").path()
}

#[test]
fn it_goes_on_after_a_restart_and_holds() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), 3);
    let again = log(folder.path(), 2);
    let checked = check(folder.path()).unwrap();
    assert_eq!((checked.entries, checked.head), (10, again.head().1));
}

#[test]
fn pages_go_back_and_can_be_narrowed() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 10);
    log.denied(what(11), "commands.give", 5).unwrap();
    let mut query = Query { limit: 8, ..Query::default() };
    let first = query.page(folder.path()).unwrap();
    assert_eq!(first.entries.len(), 8);
    assert_eq!(first.entries[0].number, 21);
    assert_eq!(first.entries[0].outcome, Outcome::Denied { permission: "commands.give".into() });
    query.before = first.next;
    assert_eq!(query.page(folder.path()).unwrap().entries[0].number, first.next - 1);
    let bobs = Query { who: Some("bob".into()), limit: 100, ..Query::default() }.page(folder.path()).unwrap();
    assert_eq!((bobs.entries.len(), bobs.next), (11, 0));
    let of = |resource: &str| {
        let query = Query { resource: Some(resource.into()), limit: 100, ..Query::default() };
        query.page(folder.path()).unwrap().entries.len()
    };
    assert_eq!((of("organizations/default"), of("organizations/default/vehicles/CAR1")), (21, 2));
}

#[test]
fn a_half_written_last_line_is_cut_off_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), 2);
    let path = only_file(folder.path());
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
    let again = AuditLog::open(folder.path()).unwrap();
    assert_eq!(again.head().0, 3);
    again.begin(what(9), 9).unwrap();
    assert_eq!(check(folder.path()).unwrap().entries, 4);
}

#[test]
fn a_missing_file_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), 2);
    let path = only_file(folder.path());
    std::fs::rename(&path, folder.path().join("audit-0000000000000003.jsonl")).unwrap();
    assert!(check(folder.path()).unwrap_err().to_string().contains("a file is missing"));
}

#[test]
fn only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), 1);
    assert_eq!(std::fs::metadata(only_file(folder.path())).unwrap().permissions().mode() & 0o777, 0o600);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A changed byte, a line taken out, doubled or moved: the check says so, or nothing whole is left after it.
    #[test]
    fn no_line_can_be_changed(at in 0_usize..10_000, byte in 1_u8..=255, line in 0_usize..9, kind in 0_u8..4) {
        let folder = tempfile::tempdir().unwrap();
        let head = log(folder.path(), 5).head().1;
        let path = only_file(folder.path());
        let mut bytes = std::fs::read(&path).unwrap();
        let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        match kind {
            0 => {
                let at = at % bytes.len();
                bytes[at] ^= byte;
            }
            1 => {
                lines.remove(line);
                bytes = lines.concat();
            }
            2 => {
                lines.insert(line, lines[line].clone());
                bytes = lines.concat();
            }
            _ => {
                lines.swap(line, line + 1);
                bytes = lines.concat();
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        // Only the loss of the end can look whole; the head that was kept elsewhere tells.
        let held = check(folder.path()).is_ok_and(|checked| checked.head == head);
        prop_assert!(!held);
    }
}
