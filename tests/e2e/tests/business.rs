//! The ride business by hand: riders, credits, trips and sagas with `remudactl`, by role, through a kill of the node.

use std::process::{Command, Output};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, binary, wait_until};
use serde_json::Value;

/// SHA-256 of `viewer-token`.
const VIEWER_SHA256: &str = "d036bd6d01a1cae081d39a2f8dab751dc042de814fd60df31fcb553170950f29";

fn ctl_as(cloud: &Cloud, token: &str, args: &[&str]) -> Output {
    Command::new(binary("remudactl"))
        .args(args)
        .args(["-o", "json"])
        .env("REMUDA_SERVER", format!("http://{}", cloud.console))
        .env("REMUDA_TOKEN", token)
        .output()
        .expect("remudactl runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(cloud: &Cloud, args: &[&str]) -> Value {
    let output = ctl_as(cloud, &cloud.token, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn refused(cloud: &Cloud, args: &[&str]) -> String {
    let output = ctl_as(cloud, &cloud.token, args);
    assert!(!output.status.success(), "{args:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn riders_book_trips_and_nothing_is_forgotten_by_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let accounts = format!("[{{name=\"night\", token_sha256=\"{VIEWER_SHA256}\", grants=[\"viewer\"]}}]");
    let mut place = CloudPlace::new(folder.path()).with("CONSOLE__ACCOUNTS", &accounts);
    let mut cloud = place.start("");

    let rita =
        json(&cloud, &["users", "create", "rita", "--name", "Rita Rider", "--email", "rita@example.com"]);
    assert_eq!(rita["users"][0]["availableMinor"], 0);
    let pay = ["users", "add-credits", "rita", "5000", "--request-id", "payment-1"];
    json(&cloud, &pay);
    let again = json(&cloud, &pay);
    assert_eq!(again["users"][0]["availableMinor"], 5_000, "the same payment counts once");
    let nobody = refused(&cloud, &["trips", "book", "rita", "60.17,24.94", "60.18,24.95"]);
    assert!(nobody.contains("no vehicle"), "{nobody}");

    // A vehicle that is named can be booked wherever it is; it only has to be in service.
    json_or_nothing(&cloud, &["trips", "serve", "VAN1"]);
    let book = [
        "trips",
        "book",
        "rita",
        "60.17,24.94",
        "60.18,24.95",
        "--vehicle",
        "VAN1",
        "--request-id",
        "ride-1",
    ];
    let trip = &json(&cloud, &book)["trips"][0];
    assert_eq!(
        (trip["state"].as_str(), trip["vehicle"].as_str()),
        (Some("assigned"), Some("VAN1")),
        "{trip}"
    );
    let held = json(&cloud, &["users", "get", "rita"])["users"][0]["heldMinor"].as_i64().expect("a number");
    assert!(held > 0);

    cloud.process.kill();
    cloud = place.start("");
    let same = &json(&cloud, &book)["trips"][0];
    assert_eq!(same["state"], "assigned", "the same booking is the same trip: {same}");
    let second = &json(
        &cloud,
        &[
            "trips",
            "book",
            "rita",
            "60.17,24.94",
            "60.18,24.95",
            "--vehicle",
            "VAN1",
            "--request-id",
            "ride-2",
        ],
    )["trips"][0];
    assert_eq!(second["state"], "not-booked", "the vehicle is taken: {second}");
    let saga = json(&cloud, &["sagas", "get", "ride-2"]);
    assert_eq!(saga["saga"]["state"], "compensated");
    let told: Vec<&str> =
        saga["history"].as_array().expect("lines").iter().filter_map(|line| line["what"].as_str()).collect();
    assert!(told.iter().any(|what| what.contains("vehicle-reserved")), "{told:?}");
    let erase = ["users", "erase", "rita", "--reason", "she asked", "--forfeit-credits"];
    let rides = refused(&cloud, &erase);
    assert!(rides.contains("held") || rides.contains("trip"), "{rides}");
    json(&cloud, &["trips", "cancel", "ride-1", "--reason", "a change of plan"]);
    wait_until("her credits are hers again", || {
        let rita = &json(&cloud, &["users", "get", "rita"])["users"][0];
        rita["heldMinor"] == 0 && rita["availableMinor"] == 5_000
    });
    let erased = json(&cloud, &erase);
    assert_eq!(erased["users"][0]["state"], "erased");
    assert_eq!(
        json(&cloud, &["trips", "list", "--state", "cancelled"])["trips"].as_array().map(Vec::len),
        Some(1)
    );

    // Every change stands in the audit log, and nothing personal does.
    let log = json(&cloud, &["audit", "list", "--limit", "1000"]);
    let entries = log["entries"].as_array().expect("entries");
    let methods: Vec<&str> = entries.iter().filter_map(|entry| entry["method"].as_str()).collect();
    for wanted in ["CreateUser", "AddCredits", "BookTrip", "CancelTrip", "EraseUser", "SetVehicleService"] {
        assert!(methods.iter().any(|method| method.ends_with(wanted)), "{wanted} is missing");
    }
    assert!(!log.to_string().contains("Rita Rider") && !log.to_string().contains("rita@example.com"));
    let checked = json(&cloud, &["audit", "verify"]);
    assert_eq!(checked["entries"].as_u64(), Some(entries.len() as u64));
    assert!(cloud.process.stop(), "{}", cloud.process.log_end());
}

/// A command that prints nothing when it is done.
fn json_or_nothing(cloud: &Cloud, args: &[&str]) {
    let output = ctl_as(cloud, &cloud.token, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
}

#[test]
fn an_account_may_do_what_its_role_permits() {
    let folder = tempfile::tempdir().expect("a folder");
    let accounts = format!("[{{name=\"night\", token_sha256=\"{VIEWER_SHA256}\", grants=[\"viewer\"]}}]");
    let mut place = CloudPlace::new(folder.path()).with("CONSOLE__ACCOUNTS", &accounts);
    let mut cloud = place.start("");
    let viewer = "viewer-token";
    assert!(ctl_as(&cloud, viewer, &["vehicles", "list"]).status.success());
    let denied = ctl_as(&cloud, viewer, &["trips", "serve", "VAN1"]);
    assert!(!denied.status.success());
    let sentence = text(&denied.stderr);
    assert!(sentence.contains("trips.change") && sentence.contains("dispatcher"), "{sentence}");
    assert!(!ctl_as(&cloud, "another-token", &["vehicles", "list"]).status.success());
    let log = json(&cloud, &["audit", "list"]);
    let first = &log["entries"][0];
    assert_eq!(first["who"], "account/night");
    assert!(first["outcome"].as_str().is_some_and(|outcome| outcome.contains("trips.change")), "{first}");
    assert!(cloud.process.stop(), "{}", cloud.process.log_end());
}

#[test]
fn operators_look_after_money_messages_vehicles_and_readers() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path());
    let mut cloud = place.start("");
    json(&cloud, &["users", "create", "rita", "--name", "Rita Rider"]);
    json(&cloud, &["users", "add-credits", "rita", "5000", "--request-id", "payment-1"]);

    let readers = json(&cloud, &["reactors", "list"]);
    let readers = readers["reactors"].as_array().expect("readers");
    let names: Vec<&str> = readers.iter().filter_map(|reader| reader["name"].as_str()).collect();
    for wanted in ["billing-calculate", "post-credits", "trip-lists"] {
        assert!(names.iter().any(|name| name.ends_with(wanted)), "{wanted} is not among {names:?}");
    }
    assert_eq!(json(&cloud, &["reactors", "list", "--stopped"])["reactors"], Value::Array(vec![]));
    let skip = refused(&cloud, &["reactors", "skip", "billing-calculate", "1", "1", "--reason", "a test"]);
    assert!(skip.contains("did not stop there"), "{skip}");

    wait_until("her credits stand in the ledger", || {
        let balances = json(&cloud, &["ledger", "balances"]);
        let accounts = balances["accounts"].as_array().expect("accounts");
        let owed = accounts.iter().find(|account| account["account"] == "credits-liability");
        owed.is_some_and(|owed| owed["minorUnits"] == -5_000) && balances["imbalanceMinor"] == 0
    });
    let statement = folder.path().join("bank.csv");
    std::fs::write(&statement, "# what the bank says\npayment-1,5000,EUR\n").expect("written");
    let statement = statement.to_string_lossy().into_owned();
    let compare = ["ledger", "reconcile", "--from", "-1h", "--statement", &statement];
    assert_eq!(json(&cloud, &compare)["differences"], Value::Array(vec![]));
    std::fs::write(&statement, "payment-1,4999,EUR\n").expect("written");
    assert!(refused(&cloud, &compare).contains("1 movements differ"));

    let acme = ["--manufacturer", "Acme", "--model", "Box", "--year", "2026"];
    json(&cloud, &[&["vehicles", "register", "VAN1"][..], &acme[..]].concat());
    let planned = json(&cloud, &["vehicles", "plan-service", "VAN1", "--every-km", "20000"]);
    assert_eq!(planned["records"][0]["servicePlan"]["everyM"], 20_000_000);
    wait_until("its record is listed", || {
        json(&cloud, &["vehicles", "records"])["records"].as_array().map(Vec::len) == Some(1)
    });
    json(&cloud, &["diagnostics", "report", "VAN1", "engine", "P0420", "--signal", "Vehicle.Speed=523"]);
    wait_until("its trouble code is listed", || {
        json(&cloud, &["diagnostics", "list"])["troubleCodes"].as_array().map(Vec::len) == Some(1)
    });
    let seen = json(&cloud, &["diagnostics", "acknowledge", "VAN1", "engine", "P0420", "--note", "Monday"]);
    assert_eq!(seen["troubleCodes"][0]["note"], "Monday");

    json_or_nothing(&cloud, &["trips", "serve", "VAN1"]);
    let route = ["60.17,24.94", "60.18,24.95", "--vehicle", "VAN1", "--request-id", "ride-1"];
    json(&cloud, &[&["trips", "book", "rita"][..], &route[..]].concat());
    wait_until("she was told", || {
        let told = json(&cloud, &["notifications", "list", "--recipient", "rita"]);
        told["notifications"][0]["kind"] == "booking-confirmed"
    });
    let told = json(&cloud, &["notifications", "list", "--recipient", "rita"]);
    let name = told["notifications"][0]["name"].as_str().expect("a name").to_owned();
    assert_eq!(json(&cloud, &["notifications", "get", &name])["notifications"][0]["recipient"], "rita");
    assert!(refused(&cloud, &["notifications", "resend", &name, "--reason", "a test"]).contains("given up"));
    json(&cloud, &["trips", "cancel", "ride-1", "--reason", "a change of plan"]);
    wait_until("the ride is charged", || {
        let payments = json(&cloud, &["payments", "list", "--payer", "rita"]);
        payments["payments"][0]["name"].as_str().is_some_and(|name| name.ends_with("/ride-1"))
    });
    let refund = ["payments", "refund", "ride-1", "100", "--reason", "sorry", "--request-id", "refund-1"];
    // Until its hold is let go, an operation of the payment is under way.
    wait_until("nothing can be given back", || refused(&cloud, &refund).contains("can be given back"));
    assert_eq!(json(&cloud, &["payments", "list", "--needs-attention"])["payments"], Value::Array(vec![]));
    assert_eq!(
        json(&cloud, &["analytics", "--by", "day"])["rows"],
        Value::Array(vec![]),
        "nobody has driven"
    );
    assert!(refused(&cloud, &["invoices", "get", "1999-000001"]).contains("no invoice"));
    assert!(cloud.process.stop(), "{}", cloud.process.log_end());
}
