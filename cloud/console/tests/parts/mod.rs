//! Who has a role on a fleet or a depot sees and does only what is of its vehicles: every method that such a role opens, asked
//! about a vehicle of another fleet of the same organisation.

mod trips;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use remuda_api::METHODS;
use remuda_audit::AuditLog;
use remuda_business::Business;
use remuda_contracts::alerts::AlertSeverity;
use remuda_contracts::business::BusinessDesk;
use remuda_contracts::business::feedback::GiveFeedback;
use remuda_contracts::business::vehicles::RecordDetails;
use serde_json::{Value as Json, json};

use super::support::alerts::FakeAlerts;
use super::support::history::FakeHistory;
use super::support::http::{Answer, ask, reason_of};
use super::*;
use crate::business;

/// In the fleet of the north; in that of the south, standing at the quay; on no record.
const NORTH: &str = "V000000";
const SOUTH: &str = "V000001";
const NOBODYS: &str = "V000002";
/// In none yet.
const LATE: &str = "V000003";
/// Who ride with those of the north, the south and the late one, and where.
const RIDERS: [&str; 3] = ["rider-0", "rider-1", "rider-2"];
const TRIPS: [&str; 3] = ["trip-0", "trip-1", "trip-2"];
const AT: &str = "/api/v1/organizations/default";

/// Longer than anything here takes; only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}

struct Parts {
    stage: Stage,
    alerts: Arc<FakeAlerts>,
    history: Arc<FakeHistory>,
    business: Business,
    desk: Arc<dyn BusinessDesk>,
    _records: tempfile::TempDir,
}

impl Parts {
    async fn call(&self, who: &str, verb: &str, path: &str, body: Option<&Json>) -> Answer {
        let bearer = format!("authorization: Bearer {who}-token-for-tests-0123");
        let body = body.map(Json::to_string);
        let path = if path.starts_with("/api/") { path.to_owned() } else { format!("{AT}{path}") };
        ask(self.stage.console.local_addr(), verb, &path, &[&bearer], body.as_deref()).await
    }

    /// An answer that is there at once, whatever it is.
    async fn json(&self, who: &str, verb: &str, path: &str, body: Option<&Json>) -> (u16, Json) {
        let answer = self.call(who, verb, path, body).await;
        (answer.status, answer.json().await)
    }

    async fn made(&self, verb: &str, path: &str, body: Json) -> Json {
        let (status, json) = self.json("whole", verb, path, Some(&body)).await;
        assert_eq!(status, 200, "{verb} {path}: {json}");
        json
    }

    /// A vehicle has an alert and asks a question; the question's id.
    async fn calls(&self, vehicle: &str, alert: &str) -> String {
        self.alerts.raise(vehicle, alert, AlertSeverity::Info, 1_000);
        self.stage.said.say(vehicle, assistance::asked());
        within("it is asked", async {
            loop {
                let all = self.json("whole", "GET", "/assistanceRequests", None).await.1;
                let mut all = all["assistanceRequests"].as_array().unwrap().iter();
                if let Some(asked) = all.find(|asked| id_in(&asked["vehicle"]) == vehicle) {
                    return id_in(&asked["name"]).to_owned();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    /// A vehicle goes to another fleet.
    async fn moves(&self, vehicle: &str, fleet: &str) {
        let details = RecordDetails {
            manufacturer: "Acme".into(),
            model: "Box".into(),
            year: 2026,
            powertrain: "electric".into(),
            seats: 4,
            licence_class: "B".into(),
            fleet: Some(fleet.into()),
            ..RecordDetails::default()
        };
        let asker = business::asker(&format!("{vehicle}-to-{fleet}"));
        self.desk.change_vehicle(&business::HOME(), vehicle, details, asker).await.unwrap();
    }

    /// Somebody rides in it to the end, and says how it was.
    async fn rides(&self, vehicle: &str, n: usize) {
        let (home, trip) = (business::HOME(), TRIPS[n]);
        for (hundreds, kmh, state) in
            [(1, 30.0, "arriving"), (3, 0.0, "boarding"), (8, 50.0, "under-way"), (23, 0.0, "completed")]
        {
            business::put(&self.stage.fleet, vehicle, hundreds, kmh);
            within(state, async {
                while self.desk.trip(&home, trip).await.unwrap().state != state {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
        }
        let wish = GiveFeedback { trip: trip.into(), rider: RIDERS[n].into(), stars: 5, comment: None };
        self.desk.give_feedback(&home, wish, business::asker(trip)).await.unwrap();
    }

    async fn stop(self) {
        self.stage.stop().await;
        self.business.stop().await;
    }
}

async fn parts() -> Parts {
    let records = tempfile::tempdir().unwrap();
    let fleet = Arc::new(FakeFleet::new(4));
    for vehicle in [NORTH, SOUTH, NOBODYS, LATE] {
        fleet.change(vehicle, |line| line.presence = Presence::Online);
        business::put(&fleet, vehicle, 0, 0.0);
    }
    let business = business::start(records.path(), &fleet).await;
    let desk = business.desk();
    business::vehicle(&desk, NORTH, Some("north"), None).await;
    business::vehicle(&desk, SOUTH, Some("south"), Some("quay")).await;
    for (n, vehicle) in [NORTH, SOUTH].into_iter().enumerate() {
        business::rider(&desk, RIDERS[n]).await;
        business::book(&desk, TRIPS[n], RIDERS[n], vehicle).await;
    }
    business.settle(Duration::from_secs(60)).await.unwrap();
    let grants = [
        ("whole", vec!["admin"]),
        ("north", vec!["default/fleets/north:admin"]),
        ("quay", vec!["default/depots/quay:admin"]),
        ("empty", vec!["default/fleets/west:admin"]),
        ("mixed", vec!["viewer", "default/fleets/north:operator"]),
        ("elsewhere", vec!["another/fleets/north:admin"]),
    ];
    let (history, alerts) = (Arc::new(FakeHistory::default()), Arc::new(FakeAlerts::default()));
    let (given, past, raised) = (Arc::clone(&desk), Arc::clone(&history), Arc::clone(&alerts));
    let audit = records.path().join("audit");
    let stage = stage_with(fleet, &grants, move |sources| {
        sources.business = Some(given);
        sources.history = past;
        sources.alerts = raised;
        sources.audit = Arc::new(AuditLog::open(&audit).unwrap());
    })
    .await;
    Parts { stage, alerts, history, business, desk, _records: records }
}

/// What there is of one vehicle, made by somebody who may do all.
struct Made {
    vehicle: &'static str,
    trip: &'static str,
    rider: &'static str,
    command: String,
    share: String,
    group: String,
    approval: String,
    fence: String,
    alert: String,
    question: String,
}

/// The last part of a name.
fn id_in(name: &Json) -> &str {
    name.as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default()
}

async fn made(parts: &Parts, vehicle: &'static str, n: usize) -> Made {
    let command = |action: &str| json!({ "action": { action: true }, "reason": "a drill" });
    let honk = parts.made("POST", &format!("/vehicles/{vehicle}/commands"), command("honk")).await;
    let mut reboot = command("reboot");
    reboot["requestId"] = "a-longer-request-id".into();
    let reboot = parts.made("POST", &format!("/vehicles/{vehicle}/commands"), reboot).await;
    let group =
        json!({ "action": { "honk": true }, "reason": "a drill", "filter": format!("vehicle = {vehicle}") });
    let group = parts.made("POST", "/commandGroups", group).await;
    let trip = TRIPS[n];
    let share = parts.made("POST", &format!("/trips/{trip}:share"), json!({})).await;
    let trouble = json!({ "ecu": "engine", "code": "P0420", "severity": "info" });
    parts.made("POST", &format!("/vehicles/{vehicle}/troubleCode:report"), trouble).await;
    // Its name says which vehicle it is there for.
    let fleet = ["north", "south", "north"][n];
    let round = json!({
        "displayName": format!("Around {vehicle}"),
        "kind": "KIND_NOTIFY",
        "circle": { "center": { "latitude": 60.1, "longitude": 24.9 }, "radiusM": 500 },
        "fleet": fleet,
    });
    let fence = format!("fence-{n}");
    parts.made("POST", &format!("/geofences?geofenceId={fence}"), round).await;
    let alert = format!("harsh-{n}");
    let question = parts.calls(vehicle, &alert).await;
    let id = |name: &Json| id_in(name).to_owned();
    Made {
        vehicle,
        trip,
        rider: RIDERS[n],
        command: id(&honk["name"]),
        share: id(&share["share"]["name"]),
        group: id(&group["name"]),
        approval: id(&reboot["approval"]),
        fence,
        alert,
        question,
    }
}

type Case = (&'static str, &'static str, String, Option<Json>, &'static str);

/// Every method about one thing, asked about these; the reason with which it is refused when it is not there.
fn cases(of: &Made) -> Vec<Case> {
    let Made { vehicle, trip, rider, command, share, group, approval, fence, alert, question } = of;
    let (f, q) = ("GEOFENCE_NOT_FOUND", "ASSISTANCE_REQUEST_NOT_FOUND");
    let because = || Some(json!({ "reason": "a drill" }));
    let (v, t, g, a) =
        ("VEHICLE_NOT_FOUND", "TRIP_NOT_FOUND", "COMMAND_GROUP_NOT_FOUND", "APPROVAL_NOT_FOUND");
    let name = format!("organizations/default/vehicles/{vehicle}");
    let times = "start_time=2023-01-01T00:00:00Z&end_time=2023-01-01T00:00:03Z";
    let code = json!({ "ecu": "engine", "code": "P0420", "severity": "info", "note": "seen" });
    let with = |fields: [&str; 3]| {
        let fields = fields.into_iter().map(|field| (field.to_owned(), code[field].clone()));
        Some(Json::Object(fields.collect()))
    };
    let honk = json!({ "action": { "honk": true }, "reason": "a drill" });
    let hash = json!({ "contentHash": "0", "reason": "a drill" });
    let (times, vehicle) = (times.to_owned(), format!("/vehicles/{vehicle}"));
    vec![
        ("GetVehicle", "GET", vehicle.clone(), None, v),
        ("WatchVehicle", "GET", format!("{vehicle}:watch"), None, v),
        ("CreateCommand", "POST", format!("{vehicle}/commands"), Some(honk), v),
        ("ListCommands", "GET", format!("{vehicle}/commands"), None, v),
        ("GetCommand", "GET", format!("{vehicle}/commands/{command}"), None, v),
        ("WatchCommand", "GET", format!("{vehicle}/commands/{command}:watch"), None, v),
        ("CancelCommand", "POST", format!("{vehicle}/commands/{command}:cancel"), because(), v),
        ("GetTroubleCode", "GET", format!("{vehicle}/troubleCode?ecu=engine&code=P0420"), None, v),
        (
            "ReportTroubleCode",
            "POST",
            format!("{vehicle}/troubleCode:report"),
            with(["ecu", "code", "severity"]),
            v,
        ),
        (
            "AcknowledgeTroubleCode",
            "POST",
            format!("{vehicle}/troubleCode:acknowledge"),
            with(["ecu", "code", "note"]),
            v,
        ),
        ("GetRecord", "GET", format!("{vehicle}/record"), None, v),
        (
            "PlanService",
            "POST",
            format!("{vehicle}/record:planService"),
            Some(json!({ "plan": { "everyDays": 30 } })),
            v,
        ),
        (
            "RecordService",
            "POST",
            format!("{vehicle}/record:service"),
            Some(json!({ "odometerM": "5", "note": "x" })),
            v,
        ),
        ("SetVehicleService", "POST", format!("{vehicle}:setService"), Some(json!({ "inService": true })), v),
        ("GetAlert", "GET", format!("{vehicle}/alerts/{alert}"), None, v),
        (
            "AcknowledgeAlert",
            "POST",
            format!("{vehicle}/alerts/{alert}:acknowledge"),
            Some(json!({ "note": "seen" })),
            v,
        ),
        (
            "SnoozeAlert",
            "POST",
            format!("{vehicle}/alerts/{alert}:snooze"),
            Some(json!({ "duration": "600s" })),
            v,
        ),
        ("UnsnoozeAlert", "POST", format!("{vehicle}/alerts/{alert}:unsnooze"), Some(json!({})), v),
        ("ClearAlert", "POST", format!("{vehicle}/alerts/{alert}:clear"), because(), v),
        ("GetAssistanceRequest", "GET", format!("/assistanceRequests/{question}"), None, q),
        ("TakeAssistanceRequest", "POST", format!("/assistanceRequests/{question}:take"), Some(json!({})), q),
        (
            "AnswerAssistanceRequest",
            "POST",
            format!("/assistanceRequests/{question}:answer"),
            Some(json!({ "option": 1, "reason": "a drill" })),
            q,
        ),
        ("ReleaseAssistanceRequest", "POST", format!("/assistanceRequests/{question}:release"), because(), q),
        ("QueryHistory", "GET", format!("/history?vehicles={name}&signals=Vehicle.Speed&{times}"), None, v),
        ("QueryPositions", "GET", format!("/positions?vehicles={name}&{times}"), None, v),
        ("ListJourneys", "GET", format!("/journeys?vehicles={name}&{times}"), None, v),
        ("GetTrip", "GET", format!("/trips/{trip}"), None, t),
        ("TrackTrip", "GET", format!("/trips/{trip}:track"), None, t),
        ("ListShares", "GET", format!("/trips/{trip}/shares"), None, t),
        ("ShareTrip", "POST", format!("/trips/{trip}:share"), Some(json!({})), t),
        ("RevokeShare", "POST", format!("/trips/{trip}/shares/{share}:revoke"), Some(json!({})), t),
        (
            "CreateFeedback",
            "POST",
            "/feedback".into(),
            Some(json!({ "trip": trip, "rider": rider, "stars": 5 })),
            t,
        ),
        ("GetFeedback", "GET", format!("/feedback/{trip}"), None, t),
        ("GetGeofence", "GET", format!("/geofences/{fence}"), None, f),
        (
            "UpdateGeofence",
            "PATCH",
            format!("/geofences/{fence}?updateMask=hysteresisM"),
            Some(json!({ "hysteresisM": 20 })),
            f,
        ),
        ("ListVehiclesInGeofence", "GET", format!("/geofences/{fence}/vehicles"), None, f),
        ("DeleteGeofence", "DELETE", format!("/geofences/{fence}"), None, f),
        ("GetCommandGroup", "GET", format!("/commandGroups/{group}"), None, g),
        ("WatchCommandGroup", "GET", format!("/commandGroups/{group}:watch"), None, g),
        ("PauseCommandGroup", "POST", format!("/commandGroups/{group}:pause"), because(), g),
        ("ResumeCommandGroup", "POST", format!("/commandGroups/{group}:resume"), because(), g),
        ("AbortCommandGroup", "POST", format!("/commandGroups/{group}:abort"), because(), g),
        ("GetApproval", "GET", format!("/approvals/{approval}"), None, a),
        ("Approve", "POST", format!("/approvals/{approval}:approve"), Some(hash), a),
        ("Deny", "POST", format!("/approvals/{approval}:deny"), because(), a),
        ("CancelTrip", "POST", format!("/trips/{trip}:cancel"), because(), t),
        ("GetRegistration", "GET", format!("{vehicle}/registration"), None, v),
        ("CreateEnrolmentToken", "POST", format!("{vehicle}:createEnrolmentToken"), Some(json!({})), v),
        ("RevokeVehicle", "POST", format!("{vehicle}:revoke"), because(), v),
    ]
}

/// Methods that list, or choose: what they show is in the other test.
const LISTS: [&str; 19] = [
    "CreateCommandGroup",
    // Of one's own parts, see below.
    "CreateGeofence",
    // Its items are held against the same, see `feeds.rs`.
    "FollowFeed",
    "GetFleetStatus",
    "ListAlerts",
    "ListApprovals",
    "ListAssistanceRequests",
    "ListCommandGroups",
    "ListFeedback",
    "ListGeofences",
    "ListRecords",
    "ListRegistrations",
    "ListTrips",
    "ListTroubleCodes",
    "ListVehicles",
    // Of one's own, see `trips.rs`.
    "QueryFigures",
    "WatchAlerts",
    "WatchAssistanceRequests",
    "WatchVehicles",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_another_fleet_is_not_there_and_what_is_of_ones_own_is() {
    let parts = parts().await;
    let new = json!({ "vehicles": [{ "vehicle": NORTH }, { "vehicle": SOUTH }] });
    parts.made("POST", "/vehicles:batchCreate", new).await;
    let (own, other) = (made(&parts, NORTH, 0).await, made(&parts, SOUTH, 1).await);
    let nothing = Made {
        vehicle: "V999999",
        trip: "trip-9",
        rider: "rider-1",
        command: other.command.clone(),
        share: "0".repeat(16),
        group: "0".repeat(32),
        approval: "0".repeat(32),
        fence: "fence-9".into(),
        alert: other.alert.clone(),
        question: "0".repeat(32),
    };
    // Every method is here or among the lists: one that is given to fleets later must come here first.
    let listed = LISTS.into_iter();
    let tried: BTreeSet<&str> = cases(&other).iter().map(|case| case.0).chain(listed).collect();
    let there = METHODS.iter().filter(|method| method.parts);
    let there: BTreeSet<&str> = there.map(|method| method.path.rsplit('/').next().unwrap()).collect();
    assert_eq!(tried, there);

    for ((method, verb, path, body, reason), missing) in cases(&other).into_iter().zip(cases(&nothing)) {
        for who in ["north", "empty"] {
            let (status, refusal) = parts.json(who, verb, &path, body.as_ref()).await;
            assert_eq!((status, reason_of(&refusal)), (404, reason), "{method} as {who}: {refusal}");
            // In the words for what is not there at all.
            let gone = parts.json(who, missing.1, &missing.2, missing.3.as_ref()).await;
            let plain = |refusal: &Json, of: &Made| {
                // The longest first: a command's id may hold its vehicle's.
                let ids = [of.approval.as_str(), &of.group, &of.question, of.trip, &of.fence, of.vehicle];
                ids.iter().fold(refusal.to_string(), |text, id| text.replace(*id, "ID"))
            };
            assert_eq!(
                (gone.0, plain(&gone.1, &nothing)),
                (404, plain(&refusal, &other)),
                "{method} as {who}"
            );
        }
        let answer = parts.call("elsewhere", verb, &path, body.as_ref()).await;
        assert_eq!(answer.status, 403, "{method} in another organisation");
    }
    // What was wanted of it stands in the audit log: changes all of them, reads some.
    let (status, entries) = parts.json("whole", "GET", "/auditEntries?pageSize=1000", None).await;
    assert_eq!(status, 200, "{entries}");
    let entries = entries["entries"].as_array().unwrap();
    let of = |entry: &&Json, method: &str| {
        let named = entry["method"].as_str().unwrap().ends_with(&format!("/{method}"));
        named
            && entry["who"] == "account/north"
            && entry["resource"].as_str().is_some_and(|of| of.contains(SOUTH))
    };
    let changes =
        ["CreateCommand", "CancelCommand", "PlanService", "ReportTroubleCode", "RevokeVehicle", "ClearAlert"];
    for method in changes {
        let of = entries.iter().filter(|entry| of(entry, method)).collect::<Vec<_>>();
        let outcomes = of.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect::<BTreeSet<_>>();
        assert_eq!(outcomes, BTreeSet::from(["OUTCOME_BEGUN", "OUTCOME_ENDED"]), "{method}: {of:?}");
        assert!(of.iter().any(|entry| entry["status"] == "NOT_FOUND"), "{method}: {of:?}");
    }
    let read = entries.iter().find(|entry| of(entry, "GetVehicle"));
    let read = read.expect("the first denials of a caller are written");
    assert_eq!((&read["outcome"], &read["status"]), (&json!("OUTCOME_DENIED"), &json!("vehicles.read")));
    // Nothing of it was done.
    assert_eq!(parts.desk.trip(&business::HOME(), "trip-1").await.unwrap().state, "assigned");
    let alert = format!("/vehicles/{SOUTH}/alerts/{}", other.alert);
    let question = format!("/assistanceRequests/{}", other.question);
    for (path, state) in [(&alert, "STATE_OPEN"), (&question, "ASSISTANCE_STATE_ASKED")] {
        assert_eq!(parts.json("whole", "GET", path, None).await.1["state"], state, "{path}");
    }
    let theirs =
        |view: &&CommandView| ["account/north", "account/empty"].contains(&view.requested_by.as_str());
    assert_eq!(parts.stage.desk.given.lock().iter().filter(theirs).count(), 0);

    for (method, verb, path, body, reason) in cases(&own) {
        let answer = parts.call("north", verb, &path, body.as_ref()).await;
        let status = answer.status;
        assert!(![401, 403, 501].contains(&status), "{method}: {status}");
        if status != 200 {
            let refusal = answer.json().await;
            assert_ne!(reason_of(&refusal), reason, "{method}: {refusal}");
        }
    }
    // A depot is a part as a fleet is.
    assert_eq!(parts.json("quay", "GET", &format!("/vehicles/{SOUTH}/record"), None).await.0, 200);
    assert_eq!(parts.json("quay", "GET", &format!("/vehicles/{NORTH}/record"), None).await.0, 404);
    // Nobody makes a geofence for others, nor gives theirs away.
    let round = |part: Json| {
        let mut round = json!({
            "displayName": "Round",
            "kind": "KIND_KEEP_OUT",
            "circle": { "center": { "latitude": 60.1, "longitude": 24.9 }, "radiusM": 500 },
        });
        round.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        round
    };
    for part in [json!({}), json!({ "fleet": "south" }), json!({ "depot": "quay" })] {
        let (status, refusal) = parts.json("north", "POST", "/geofences", Some(&round(part))).await;
        assert_eq!((status, reason_of(&refusal)), (403, "GRANT_TOO_NARROW"), "{refusal}");
    }
    let theirs = round(json!({ "fleet": "north" }));
    let (status, made) = parts.json("north", "POST", "/geofences?geofenceId=theirs", Some(&theirs)).await;
    assert_eq!((status, &made["updatedBy"]), (200, &json!("account/north")), "{made}");
    let away = json!({ "fleet": "south" });
    let given = parts.json("north", "PATCH", "/geofences/theirs?updateMask=part", Some(&away)).await;
    assert_eq!((given.0, reason_of(&given.1)), (403, "GRANT_TOO_NARROW"), "{given:?}");
    // A viewer of all who operates the north.
    let honk = json!({ "action": { "honk": true }, "reason": "a drill", "requestId": "m-1" });
    assert_eq!(parts.json("mixed", "GET", &format!("/vehicles/{SOUTH}"), None).await.0, 200);
    assert_eq!(parts.json("mixed", "POST", &format!("/vehicles/{SOUTH}/commands"), Some(&honk)).await.0, 404);
    assert_eq!(parts.json("mixed", "POST", &format!("/vehicles/{NORTH}/commands"), Some(&honk)).await.0, 200);
    for (path, act) in [(&alert, "acknowledge"), (&question, "take")] {
        assert_eq!(parts.json("mixed", "GET", path, None).await.0, 200, "{path}");
        let acted = parts.json("mixed", "POST", &format!("{path}:{act}"), Some(&json!({}))).await;
        assert_eq!(acted.0, 404, "{path}:{act}: {}", acted.1);
    }
    parts.stop().await;
}

/// Bytes of what is hexadecimal; none of what is not.
fn unhexed(text: &[u8]) -> Vec<u8> {
    let digits: Option<Vec<u8>> =
        text.iter().map(|digit| Some(char::from(*digit).to_digit(16)? as u8)).collect();
    digits.unwrap_or_default().chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_a_vehicle_changes_nothing_of_it_any_more_and_sees_nothing_new() {
    let parts = parts().await;
    let own = made(&parts, NORTH, 0).await;
    let everyone = |request_id: &str| json!({ "action": { "honk": true }, "reason": "a drill", "allVehicles": true, "requestId": request_id });
    // Two callers who call their requests the same get a group each.
    let north = parts.json("north", "POST", "/commandGroups", Some(&everyone("one"))).await.1;
    let quay = parts.json("quay", "POST", "/commandGroups", Some(&everyone("one"))).await.1;
    assert_ne!(north["name"], quay["name"], "{north} {quay}");
    for (group, who) in [(&north, "account/north"), (&quay, "account/quay")] {
        assert_eq!((&group["requestedBy"], &group["counts"]["vehicles"]), (&json!(who), &json!(1)));
    }
    let again = parts.json("north", "POST", "/commandGroups", Some(&everyone("one"))).await.1;
    assert_eq!(again["name"], north["name"]);

    let mut tracked = parts.call("north", "GET", &format!("/trips/{}:track", own.trip), None).await;
    let command = format!("/vehicles/{NORTH}/commands/{}:watch", own.command);
    let mut command = parts.call("north", "GET", &command, None).await;
    for stream in [&mut tracked, &mut command] {
        let first: Json = serde_json::from_str(&stream.line().await).unwrap();
        assert!(first["state"].is_string(), "{first}");
    }
    // It goes; what was seen of it is believed for two seconds more, where nothing is changed.
    assert_eq!(parts.json("north", "GET", "/vehicles", None).await.1["totalSize"], 1);
    parts.moves(NORTH, "south").await;
    within("it is seen no more", async {
        while parts.call("north", "GET", &format!("/vehicles/{NORTH}"), None).await.status == 200 {}
    })
    .await;
    let changes = [
        "CancelTrip",
        "ShareTrip",
        "RevokeShare",
        "CreateFeedback",
        "PauseCommandGroup",
        "Approve",
        "Deny",
        "AcknowledgeAlert",
        "SnoozeAlert",
        "ClearAlert",
        "TakeAssistanceRequest",
        "AnswerAssistanceRequest",
        "ReleaseAssistanceRequest",
    ];
    for (method, verb, path, body, reason) in cases(&own) {
        if changes.contains(&method) {
            let (status, refusal) = parts.json("north", verb, &path, body.as_ref()).await;
            assert_eq!((status, reason_of(&refusal)), (404, reason), "{method}: {refusal}");
        }
    }
    let (status, refusal) = parts.json("north", "POST", "/commandGroups", Some(&everyone("two"))).await;
    assert_eq!((status, reason_of(&refusal)), (400, "NO_VEHICLES"), "{refusal}");
    let (status, refusal) = parts.json("north", "POST", "/commandGroups", Some(&everyone("one"))).await;
    assert_eq!((status, reason_of(&refusal)), (404, "COMMAND_GROUP_NOT_FOUND"), "{refusal}");
    assert_eq!(parts.desk.trip(&business::HOME(), own.trip).await.unwrap().state, "assigned");

    parts.stage.desk.answer();
    business::put(&parts.stage.fleet, NORTH, 1, 30.0);
    for (mut stream, reason) in [(tracked, "TRIP_NOT_FOUND"), (command, "VEHICLE_NOT_FOUND")] {
        let last: Json = serde_json::from_str(&stream.line().await).unwrap();
        assert_eq!(reason_of(&last), reason, "{last}");
    }
    parts.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_the_vehicles_of_ones_fleets_only_and_follow_where_they_go() {
    let parts = parts().await;
    let new = json!({ "vehicles": [{ "vehicle": NORTH }, { "vehicle": SOUTH }, { "vehicle": NOBODYS }] });
    parts.made("POST", "/vehicles:batchCreate", new).await;
    made(&parts, NORTH, 0).await;
    let other = made(&parts, SOUTH, 1).await;
    let both = json!({ "action": { "honk": true }, "reason": "a drill", "filter": format!("vehicle = {NORTH} OR vehicle = {SOUTH}") });
    let both = parts.made("POST", "/commandGroups", both).await;
    let times = "start_time=2023-01-01T00:00:00Z&end_time=2023-01-01T00:00:03Z";
    let all = "filter=vehicle%20%3D%20%2A";
    let lists = [
        "/vehicles".to_owned(),
        "/records".to_owned(),
        "/registrations".to_owned(),
        "/troubleCodes".to_owned(),
        format!("/troubleCodes?vehicle={SOUTH}"),
        "/trips".to_owned(),
        "/feedback".to_owned(),
        "/commandGroups".to_owned(),
        "/approvals".to_owned(),
        "/geofences".to_owned(),
        "/alerts".to_owned(),
        format!("/alerts?filter=vehicle%20%3D%20{SOUTH}"),
        "/assistanceRequests".to_owned(),
        "/assistanceRequests?waitingOnly=true".to_owned(),
        format!("/journeys?{all}&{times}"),
    ];
    for path in &lists {
        let (status, shown) = parts.json("north", "GET", path, None).await;
        let shown = shown.to_string();
        assert_eq!(status, 200, "{path}: {shown}");
        for hidden in [SOUTH, NOBODYS, "V000003", "rider-1", "trip-1", both["name"].as_str().unwrap()] {
            assert!(!shown.contains(hidden), "{path} shows {hidden}: {shown}");
        }
        if !["/feedback", "/approvals", "/commandGroups"].contains(&path.as_str()) && !path.contains(SOUTH) {
            assert!(shown.contains(NORTH) || path.starts_with("/journeys"), "{path}: {shown}");
        }
        let empty = parts.json("empty", "GET", path, None).await.1.to_string();
        assert!(!empty.contains("V0000") && !empty.contains("\"commandGroups/"), "{path}: {empty}");
        let whole = parts.json("whole", "GET", path, None).await.1.to_string();
        assert!(whole.len() >= shown.len(), "{path}");
    }
    let count = async |who: &str, path: &str, list: &str| {
        parts.json(who, "GET", path, None).await.1[list].as_array().unwrap().len()
    };
    assert_eq!(count("north", "/commandGroups", "commandGroups").await, 1);
    assert_eq!(count("whole", "/commandGroups", "commandGroups").await, 3);
    assert_eq!(
        (count("north", "/approvals", "approvals").await, count("whole", "/approvals", "approvals").await),
        (1, 2)
    );
    assert_eq!(parts.json("north", "GET", "/vehicles", None).await.1["totalSize"], 1);
    let status = parts.json("north", "GET", "/fleetStatus", None).await.1;
    assert_eq!((&status["total"], &status["online"]), (&json!(1), &json!(1)), "{status}");
    // Questions about all are questions about one's own.
    for path in [format!("/history?{all}&signals=Vehicle.Speed&{times}"), format!("/positions?{all}&{times}")]
    {
        assert_eq!(parts.call("north", "GET", &path, None).await.status, 200);
        let asked = parts.history.asked.lock().take().unwrap().vehicles;
        assert_eq!(asked.iter().map(|vehicle| vehicle.as_str()).collect::<Vec<_>>(), [NORTH], "{path}");
    }
    // So is a command to all of them.
    let everyone =
        json!({ "action": { "honk": true }, "reason": "a drill", "allVehicles": true, "validateOnly": true });
    let preview = parts.json("north", "POST", "/commandGroups", Some(&everyone)).await.1;
    assert_eq!(
        preview["preview"]["vehicles"],
        json!([format!("organizations/default/vehicles/{NORTH}")]),
        "{preview}"
    );

    // Another of one's own, behind those of others: there is something to leave out between two lines.
    business::vehicle(&parts.desk, LATE, Some("north"), None).await;
    business::rider(&parts.desk, RIDERS[2]).await;
    business::book(&parts.desk, TRIPS[2], RIDERS[2], LATE).await;
    parts.made("POST", "/vehicles:batchCreate", json!({ "vehicles": [{ "vehicle": LATE }] })).await;
    made(&parts, LATE, 2).await;
    for (n, vehicle) in [NORTH, SOUTH, LATE].into_iter().enumerate() {
        parts.rides(vehicle, n).await;
    }
    parts.business.settle(Duration::from_secs(60)).await.unwrap();
    within("there are two", async {
        while parts.json("north", "GET", "/vehicles", None).await.1["totalSize"] != 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    // The whole of a list, a line at a time: all that is one's own comes, and no token says what was left out.
    let lines = |shown: &Json| {
        let lines = shown.as_object().unwrap().values().find_map(Json::as_array).cloned().unwrap_or_default();
        lines.iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let hidden = [SOUTH, NOBODYS, TRIPS[1], RIDERS[1], &other.question, both["name"].as_str().unwrap()];
    let hidden = hidden.map(|name| name.rsplit('/').next().unwrap());
    for path in lists.iter().filter(|path| !path.starts_with("/journeys")) {
        let (mut token, mut pages, mut all) = (String::new(), 0, Vec::new());
        let sign = if path.contains('?') { '&' } else { '?' };
        let made_up = loop {
            let page = format!("{AT}{path}{sign}pageSize=1&pageToken={token}");
            let (status, shown) = parts.json("north", "GET", &page, None).await;
            assert_eq!(status, 200, "{page}: {shown}");
            assert!(!hidden.iter().any(|id| shown.to_string().contains(id)), "{path}: {shown}");
            all.extend(lines(&shown));
            token = shown["nextPageToken"].as_str().unwrap_or_default().to_owned();
            let plain = token.as_bytes().split(|byte| *byte == b'.').flat_map(unhexed).collect::<Vec<_>>();
            for text in [token.clone(), String::from_utf8_lossy(&plain).into_owned()] {
                assert!(!hidden.iter().any(|id| text.contains(id)), "{path} tells {text}");
            }
            pages += 1;
            if token.is_empty() {
                // One that was given out to somebody who sees everything.
                let page = format!("{AT}{path}{sign}pageSize=1");
                break parts.json("whole", "GET", &page, None).await.1["nextPageToken"].clone();
            }
        };
        let once = lines(&parts.json("north", "GET", path, None).await.1);
        assert_eq!((&all, all.len()), (&once, if path.contains(SOUTH) { 0 } else { 2 }), "{path}");
        assert!(pages < 20, "{path}: {pages}");
        // Nobody asks what comes after an id that they made up, but in lists that are cut after what is others' was left out.
        let made_up = made_up.as_str().unwrap_or_default();
        let cut_after = ["/vehicles", "/geofences", "/alerts"].contains(&path.as_str());
        if !made_up.is_empty() && !cut_after {
            let page = format!("{AT}{path}{sign}pageSize=1&pageToken={made_up}");
            let (status, refusal) = parts.json("north", "GET", &page, None).await;
            assert_eq!((status, reason_of(&refusal)), (400, "FIELD_INVALID"), "{path}: {refusal}");
        }
    }

    // A watcher sees what comes into the fleet, and loses what leaves it, within moments.
    let mut watch = parts.call("north", "GET", "/vehicles:watch?intervalMs=100", None).await;
    let first: Json = serde_json::from_str(&watch.line().await).unwrap();
    assert_eq!((first["vehicles"].as_array().unwrap().len(), &first["totalSize"]), (2, &json!(2)), "{first}");
    parts.moves(SOUTH, "north").await;
    parts.moves(NORTH, "south").await;
    let (mut came, mut left) = (false, false);
    while !(came && left) {
        let line = within("one came and one left", watch.line()).await;
        let seen: Json = serde_json::from_str(&line).unwrap();
        came |= seen["vehicles"].to_string().contains(SOUTH);
        left |= seen["removed"].to_string().contains(NORTH);
        assert!(!seen["vehicles"].to_string().contains(NOBODYS), "{seen}");
    }
    assert_eq!(parts.json("north", "GET", &format!("/vehicles/{NORTH}"), None).await.0, 404);
    assert_eq!(parts.json("north", "GET", &format!("/vehicles/{SOUTH}"), None).await.0, 200);
    parts.stop().await;
}

/// What a watch tells next; one that has nothing to tell says so now and then.
async fn told(stream: &mut Answer, list: &str) -> Json {
    within("something is told", async {
        loop {
            let told: Json = serde_json::from_str(&stream.line().await).unwrap();
            let some = |field: &str| told[field].as_array().is_some_and(|all| !all.is_empty());
            if some(list) || some("removed") {
                return told;
            }
        }
    })
    .await
}

fn ids_in(told: &Json, list: &str) -> Vec<String> {
    told[list].as_array().unwrap().iter().map(|one| id_in(&one["name"]).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_questions_are_followed_as_far_as_ones_fleet_reaches() {
    const QUESTIONS: &str = "assistanceRequests";
    let parts = parts().await;
    let own = parts.calls(NORTH, "harsh-0").await;
    let other = parts.calls(SOUTH, "harsh-1").await;
    let mut alerts = parts.call("north", "GET", "/alerts:watch", None).await;
    let mut questions = parts.call("north", "GET", "/assistanceRequests:watch", None).await;
    let first = told(&mut alerts, "alerts").await;
    assert_eq!((ids_in(&first, "alerts"), &first["fullState"]), (vec!["harsh-0".to_owned()], &json!(true)));
    let asked = told(&mut questions, QUESTIONS).await;
    assert_eq!(ids_in(&asked, QUESTIONS), [own.as_str()]);

    // What happens to others is not told, nor how much it is.
    let note = json!({ "note": "seen" });
    parts.alerts.raise(SOUTH, "low-1", AlertSeverity::Warning, 0);
    parts.made("POST", &format!("/vehicles/{SOUTH}/alerts/harsh-1:acknowledge"), note.clone()).await;
    parts.made("POST", &format!("/assistanceRequests/{other}:take"), json!({})).await;
    parts.made("POST", &format!("/vehicles/{NORTH}/alerts/harsh-0:acknowledge"), note).await;
    parts.made("POST", &format!("/assistanceRequests/{own}:take"), json!({})).await;
    let next = told(&mut alerts, "alerts").await;
    assert_eq!((ids_in(&next, "alerts"), &next["fullState"]), (vec!["harsh-0".to_owned()], &json!(false)));
    assert_eq!(next["resumeToken"], first["resumeToken"]);
    let next = told(&mut questions, QUESTIONS).await;
    assert_eq!(ids_in(&next, QUESTIONS), [own.as_str()]);

    // Nor is it to who comes back with their token, or with one that they made up.
    for (list, first) in [("alerts", &first), (QUESTIONS, &asked)] {
        let path = format!("/{list}:watch?resumeToken={}", first["resumeToken"].as_str().unwrap());
        let again = told(&mut parts.call("north", "GET", &path, None).await, list).await;
        assert_eq!(ids_in(&again, list), ids_in(first, list), "{again}");
    }
    for (who, status) in [("north", 400), ("whole", 200)] {
        let path = "/assistanceRequests:watch?resumeToken=1.0";
        assert_eq!(parts.call(who, "GET", path, None).await.status, status, "{who}");
    }

    // What is of a vehicle that comes is told, and nothing more of one that leaves.
    parts.moves(SOUTH, "north").await;
    parts.moves(NORTH, "south").await;
    let (mut came, mut left) = (BTreeSet::new(), false);
    while came.len() < 2 || !left {
        let next = told(&mut alerts, "alerts").await;
        came.extend(ids_in(&next, "alerts"));
        left |= next["removed"].to_string().contains(NORTH);
    }
    assert_eq!(came.iter().map(String::as_str).collect::<Vec<_>>(), ["harsh-1", "low-1"]);
    let next = told(&mut questions, QUESTIONS).await;
    assert_eq!(ids_in(&next, QUESTIONS), [other.as_str()], "it waits since before");
    within("the other is seen no more", async {
        while parts.json("north", "GET", "/assistanceRequests", None).await.1.to_string().contains(NORTH) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for question in [&own, &other] {
        let release = format!("/assistanceRequests/{question}:release");
        parts.made("POST", &release, json!({ "reason": "a drill" })).await;
    }
    let next = told(&mut questions, QUESTIONS).await;
    assert_eq!(ids_in(&next, QUESTIONS), [other.as_str()], "{next}");
    parts.stop().await;
}
