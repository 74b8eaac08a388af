//! Flags as somebody writes them.

#![allow(clippy::unwrap_used)]

use remuda_flags::{EvaluationContext, FlagFile, Flags, Reason};

const FILE: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "flags": {
    "half": {
      "state": "ENABLED",
      "variants": { "a": "first", "b": "second" },
      "defaultVariant": "a",
      "targeting": { "fractional": [["a", 50], ["b", 50]] }
    },
    "tenth": {
      "state": "ENABLED",
      "variants": { "a": "first", "b": "second" },
      "defaultVariant": "a",
      "targeting": { "fractional": [{ "cat": [{ "var": "$flagd.flagKey" }, { "var": "targetingKey" }] }, ["b", 10], ["a", 90]] }
    },
    "staff": {
      "state": "ENABLED",
      "variants": { "true": true, "false": false },
      "defaultVariant": "false",
      "targeting": { "if": [{ "or": [
        { "ends_with": [{ "var": "email" }, "@example.org"] },
        { "and": [{ "in": [{ "var": "fleet" }, ["vienna", "graz"]] }, { ">=": [{ "var": "age" }, 18] }] }
      ] }, "true", null] }
    },
    "off": { "state": "DISABLED", "variants": { "x": 1 }, "defaultVariant": "x" },
    "plain": { "state": "ENABLED", "variants": { "x": 2.5 }, "defaultVariant": "x", "targeting": {} }
  }
}"#;

fn about(key: &str) -> EvaluationContext {
    EvaluationContext::about(key)
}

#[test]
fn rules_decide_and_everything_else_is_the_default() {
    let flags = Flags::from_json(FILE, "test").unwrap();
    let staff = |context: &EvaluationContext| {
        let answer = flags.boolean("staff", false, context);
        (answer.value, answer.reason)
    };
    assert_eq!(staff(&about("u")), (false, Reason::Default));
    assert_eq!(staff(&about("u").with("email", "ada@example.org")), (true, Reason::TargetingMatch));
    assert_eq!(staff(&about("u").with("fleet", "graz").with("age", 18)), (true, Reason::TargetingMatch));
    assert_eq!(staff(&about("u").with("fleet", "graz").with("age", 17)), (false, Reason::Default));
    assert_eq!(staff(&about("u").with("fleet", "linz").with("age", 18)), (false, Reason::Default));
    let off = flags.number("off", 7.0, &about("u"));
    assert_eq!((off.value, off.variant, off.reason), (7.0, None, Reason::Disabled));
    let plain = flags.number("plain", 7.0, &about("u"));
    assert_eq!((plain.value, plain.variant.as_deref(), plain.reason), (2.5, Some("x"), Reason::Static));
    assert_eq!(flags.boolean("plain", true, &about("u")).reason, Reason::Error, "of another type");
    assert_eq!(flags.string("missing", "mine", &about("u")).value, "mine");
}

#[test]
fn a_share_of_users_is_that_share_and_stays_who_it_is() {
    let flags = Flags::from_json(FILE, "test").unwrap();
    let share = |flag: &str| {
        (0..10_000).filter(|n| flags.string(flag, "", &about(&format!("user-{n}"))).value == "second").count()
    };
    assert!((4_700..=5_300).contains(&share("half")), "{}", share("half"));
    assert!((850..=1_150).contains(&share("tenth")), "{}", share("tenth"));
    // Pinned: whoever reads the file, now or later, in whatever language, must put them there.
    let of = |key: &str| flags.string("half", "", &about(key)).value;
    let seen: Vec<String> = ["ada", "bob", "cleo", "dora", "emil", "fritz"].map(of).to_vec();
    assert_eq!(seen, PINNED);
}

const PINNED: [&str; 6] = ["second", "second", "second", "first", "first", "first"];

#[test]
fn a_share_that_grows_loses_nobody() {
    let with = |percent: u32| {
        let text = FILE
            .replace(r#"["b", 10], ["a", 90]"#, &format!(r#"["b", {percent}], ["a", {}]"#, 100 - percent));
        let flags = Flags::from_json(&text, "test").unwrap();
        (0..2_000)
            .map(|n| flags.string("tenth", "", &about(&format!("user-{n}"))).value == "second")
            .collect::<Vec<_>>()
    };
    let (none, some, more, all) = (with(0), with(10), with(40), with(100));
    assert!(none.iter().all(|second| !second) && all.iter().all(|second| *second));
    assert!(some.iter().zip(&more).all(|(before, after)| !before || *after));
}

#[test]
fn what_is_wrong_is_told_at_once_and_whole() {
    let wrong = r#"{ "flags": {
        "a": { "state": "MAYBE", "variants": { "x": 1 }, "defaultVariant": "x" },
        "b": { "state": "ENABLED", "variants": {}, "defaultVariant": "x" },
        "c": { "state": "ENABLED", "variants": { "x": 1 }, "defaultVariant": "y" },
        "d": { "state": "ENABLED", "variants": { "x": 1 }, "defaultVariant": "x", "targeting": { "sem_ver": [] } },
        "e": { "state": "ENABLED", "variants": { "x": 1 }, "defaultVariant": "x", "targeting": { "fractional": [["x", -1]] } },
        "f": { "state": "ENABLED", "variants": { "x": 1 }, "defaultVariant": "x", "targeting": { "fractional": [["z", 1]] } },
        "g": { "state": "ENABLED", "variants": { "x": 1 }, "defaultVariant": "x", "targeting": { "fractional": [["x", 0]] } }
    } }"#;
    let told = Flags::from_json(wrong, "flags.json").unwrap_err().to_string();
    for says in [
        "flags.json",
        "`a`",
        "ENABLED or DISABLED",
        "`b`",
        "needs `variants`",
        "`c`",
        "defaultVariant",
        "`d`",
        "sem_ver",
        "`e`",
        "[variant, weight]",
        "`f`",
        "`z`",
        "`g`",
        "sum to zero",
    ] {
        assert!(told.contains(says), "{says} in {told}");
    }
    assert!(Flags::from_json("{", "x").unwrap_err().to_string().contains("not JSON"));
    assert!(Flags::from_json("{}", "x").unwrap_err().to_string().contains("`flags`"));
    let deep = format!("{}1{}", r#"{"!":["#.repeat(40), "]}".repeat(40));
    let deep = format!(
        r#"{{"flags":{{"a":{{"state":"ENABLED","variants":{{"x":1}},"defaultVariant":"x","targeting":{deep}}}}}}}"#
    );
    assert!(Flags::from_json(&deep, "x").unwrap_err().to_string().contains("nested"));
}

#[test]
fn a_file_may_change_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.json");
    std::fs::write(&path, FILE).unwrap();
    let file = FlagFile::open(&path).unwrap();
    assert!(!file.refresh().unwrap());
    std::fs::write(&path, "{").unwrap();
    file.refresh().unwrap_err();
    assert!(!file.refresh().unwrap(), "told once");
    assert_eq!(file.flags().names().count(), 5);
    std::fs::write(&path, r#"{ "flags": {} }"#).unwrap();
    assert!(file.refresh().unwrap());
    assert_eq!(file.flags().names().count(), 0);
    std::fs::remove_file(&path).unwrap();
    file.refresh().unwrap_err();
    assert!(FlagFile::open(&path).is_err());
}
