//! The plain paths: `/vehicles`, `/trips` and so on, also below `/api/v1`. Each is a method of the API with the organization
//! filled in and its answer in a shape of its own; the method does the work.

use prost_reflect::DynamicMessage;
use remuda_model::OrganizationId;
use remuda_transcoder::{FieldMask, Path, Problem, Template, Verb};
use serde_json::Value as Json;
use tonic::{Code, Status};

use crate::rest::answer::json_of;
use crate::rest::errors::named;
use crate::rest::{feeds, shapes, sharing};
use crate::time::now_ms;

/// Pairs of a query.
pub(crate) type Pairs = Vec<(String, String)>;

/// How a method is asked and its answer shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Show {
    /// The content type of an answer that is not a stream.
    pub kind: &'static str,
    /// The answer's shape from the message's own; the second is the node's time, ms since 1970.
    shape: Option<fn(Json, i64) -> Json>,
    /// The method's query from the caller's; the second is the node's time, ms since 1970.
    ask: fn(Pairs, i64) -> Result<Pairs, Problem>,
    /// Pages are gathered into one answer.
    pub whole: bool,
    /// The query may say which fields of the method's own message are wanted: they are what is shown.
    pub masks: bool,
    /// A stream is server-sent events, whatever the caller accepts.
    pub events: bool,
}

fn as_asked(query: Pairs, _: i64) -> Result<Pairs, Problem> {
    Ok(query)
}

/// A query with what it does not say.
pub(crate) fn or_else(mut query: Pairs, defaults: impl IntoIterator<Item = (&'static str, String)>) -> Pairs {
    for (name, value) in defaults {
        let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
        if !query.iter().any(|(said, _)| plain(said) == plain(name)) {
            query.push((name.to_owned(), value));
        }
    }
    query
}

impl Show {
    /// The JSON mapping of the message.
    pub const AS_IT_IS: Self = Self {
        kind: "application/json",
        shape: None,
        ask: as_asked,
        whole: false,
        masks: true,
        events: false,
    };

    /// What a show of another shape begins with: it has no fields of the method's own message.
    const IN_A_SHAPE: Self = Self { masks: false, ..Self::AS_IT_IS };

    const fn shaped(shape: fn(Json, i64) -> Json) -> Self {
        Self { shape: Some(shape), ..Self::IN_A_SHAPE }
    }

    /// How one page of what is gathered is asked for: as its message is, and all of it, as its token is needed for the next.
    pub const fn of_a_page(self) -> Self {
        Self { ask: self.ask, ..Self::IN_A_SHAPE }
    }

    /// The method's query.
    pub fn query(&self, query: Pairs) -> Result<Pairs, Problem> {
        (self.ask)(query, now_ms())
    }

    /// An answer's JSON, of the wanted fields.
    pub fn of(&self, message: &DynamicMessage, wanted: Option<&FieldMask>) -> Result<Vec<u8>, Status> {
        let json = json_of(message)?;
        if self.shape.is_none() && wanted.is_none() {
            return Ok(json);
        }
        let mut json =
            serde_json::from_slice(&json).map_err(|_| named(Code::Internal, "ANSWER_BROKEN", "not JSON"))?;
        if let Some(wanted) = wanted {
            wanted.prune(&mut json);
        }
        Ok(self.shaped_value(json).to_string().into_bytes())
    }

    /// An answer's JSON in its shape.
    pub fn shaped_value(&self, json: Json) -> Json {
        match self.shape {
            Some(shape) => shape(json, now_ms()),
            None => json,
        }
    }
}

/// A plain path.
pub(crate) struct View {
    verb: Verb,
    template: Template,
    /// `/{package}.{service}/{method}`.
    pub rpc: &'static str,
    /// The field that the organization is filled into, and what behind it.
    field: &'static str,
    below: &'static str,
    pub show: Show,
}

/// What a path is.
pub(crate) enum Found<'a> {
    /// A view, with what its path says.
    View(&'a View, Pairs),
    /// Known, but not with this verb; these it has.
    OtherVerbs(Vec<Verb>),
    /// Unknown.
    Nothing,
}

/// All plain paths.
pub(crate) struct Views {
    all: Vec<View>,
    organization: OrganizationId,
}

/// A line of the table: verb, path, method, field, what stands behind the organization in it, shape.
pub(crate) type Line = (Verb, &'static str, &'static str, &'static str, &'static str, Show);

const VEHICLES: &str = "/remuda.vehicles.v1.VehicleService/ListVehicles";

/// The table. What is not there yet is answered by the console: UNIMPLEMENTED, with the method's name.
#[rustfmt::skip]
pub(crate) const VIEWS: &[Line] = &[
    (Verb::Get, "/vehicles", VEHICLES, "parent", "", Show::shaped(shapes::vehicles)),
    (Verb::Get, "/vehicles/{id}", "/remuda.vehicles.v1.VehicleService/GetVehicle", "name", "/vehicles/", Show::shaped(shapes::vehicle)),
    (Verb::Get, "/fleet/status", "/remuda.vehicles.v1.VehicleService/GetFleetStatus", "parent", "", Show::AS_IT_IS),
    (Verb::Get, "/diagnostics", "/remuda.diagnostics.v1.DiagnosticsService/ListTroubleCodes", "parent", "", Show::AS_IT_IS),
    (Verb::Get, "/trips", "/remuda.trips.v1.TripService/ListTrips", "parent", "", Show::shaped(shapes::with_ids)),
    (Verb::Post, "/trips", "/remuda.trips.v1.TripService/BookTrip", "parent", "", Show::shaped(shapes::with_ids)),
    (Verb::Get, "/trips/{id}", "/remuda.trips.v1.TripService/GetTrip", "name", "/trips/", Show::shaped(shapes::with_ids)),
    (Verb::Post, "/trips/{id}:cancel", "/remuda.trips.v1.TripService/CancelTrip", "name", "/trips/", Show::shaped(shapes::with_ids)),
    (Verb::Get, "/tracking/{id}", sharing::TRACK, "name", "/trips/", Show { events: true, ..Show::AS_IT_IS }),
    (Verb::Get, "/routes", "/remuda.telemetry.v1.TelemetryService/ListJourneys", "parent", "",
        Show { ask: shapes::last_day, shape: Some(shapes::routes), ..Show::IN_A_SHAPE }),
    (Verb::Get, "/users", "/remuda.users.v1.UserService/ListUsers", "parent", "", Show::shaped(shapes::with_ids)),
    (Verb::Post, "/users", "/remuda.users.v1.UserService/CreateUser", "parent", "", Show::shaped(shapes::with_ids)),
    (Verb::Get, "/users/{id}", "/remuda.users.v1.UserService/GetUser", "name", "/users/", Show::shaped(shapes::with_ids)),
    (Verb::Get, "/notifications", "/remuda.notifications.v1.NotificationService/ListNotifications", "parent", "", Show::shaped(shapes::with_ids)),
    (Verb::Get, "/feedback", "/remuda.trips.v1.FeedbackService/ListFeedback", "parent", "", Show::shaped(shapes::with_ids)),
    (Verb::Post, "/feedback", "/remuda.trips.v1.FeedbackService/CreateFeedback", "parent", "", Show::shaped(shapes::with_ids)),
    (Verb::Get, "/rfms/vehiclepositions", VEHICLES, "parent", "",
        Show { kind: feeds::RFMS_POSITIONS, ask: feeds::rfms_query, shape: Some(feeds::rfms_positions), ..Show::IN_A_SHAPE }),
    (Verb::Get, "/rfms/vehiclestatuses", VEHICLES, "parent", "",
        Show { kind: feeds::RFMS_STATUSES, ask: feeds::rfms_query, shape: Some(feeds::rfms_statuses), ..Show::IN_A_SHAPE }),
    (Verb::Get, "/gbfs/vehicle_status.json", VEHICLES, "parent", "",
        Show { whole: true, ask: feeds::all, shape: Some(feeds::gbfs_vehicles), ..Show::IN_A_SHAPE }),
];

impl Views {
    /// The views of an organization.
    pub fn new(organization: OrganizationId) -> Self {
        let view = |&(verb, path, rpc, field, below, show): &Line| {
            let below_api =
                if path.starts_with("/rfms") || path.starts_with("/gbfs") { None } else { Some("/api/v1") };
            [Some(""), below_api].into_iter().flatten().filter_map(move |prefix| {
                // Each is a template: a test reads all of them.
                let template = Template::parse(&format!("{prefix}{path}")).ok()?;
                Some(View { verb, template, rpc, field, below, show })
            })
        };
        Self { all: VIEWS.iter().flat_map(view).collect(), organization }
    }

    /// Whether a path begins as some view does: what is not there is missed by a program, not by a person.
    pub fn begins(path: &str) -> bool {
        let first = path.trim_start_matches('/').split(['/', ':']).next().unwrap_or_default();
        VIEWS.iter().any(|(_, view, ..)| view.trim_start_matches('/').split(['/', ':']).next() == Some(first))
    }

    /// What a path is.
    pub fn find(&self, verb: Option<Verb>, path: &Path) -> Found<'_> {
        let mut others = Vec::new();
        for view in &self.all {
            let Some(fields) = view.template.fits(path) else { continue };
            if Some(view.verb) != verb {
                others.push(view.verb);
                continue;
            }
            let id = fields.into_iter().next().map(|(_, id)| id).unwrap_or_default();
            let name = format!("organizations/{}{}{id}", self.organization, view.below);
            return Found::View(view, vec![(view.field.to_owned(), name)]);
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherVerbs(others) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_template_and_is_found_at_both_places() {
        let views = Views::new(OrganizationId::default());
        assert_eq!(views.all.len(), VIEWS.len() * 2 - 3);
        for prefix in ["", "/api/v1"] {
            let path = Path::parse(&format!("{prefix}/vehicles/V1")).expect("a path");
            let Found::View(view, fields) = views.find(Some(Verb::Get), &path) else { panic!("{prefix}") };
            assert_eq!(view.rpc, "/remuda.vehicles.v1.VehicleService/GetVehicle");
            assert_eq!(fields, [("name".to_owned(), "organizations/default/vehicles/V1".to_owned())]);
            assert!(
                matches!(views.find(Some(Verb::Delete), &path), Found::OtherVerbs(verbs) if verbs == [Verb::Get])
            );
        }
        assert!(
            Views::begins("/vehicles/%00") && Views::begins("/gbfs/x") && !Views::begins("/vehicles.html")
        );
        let nothing = Path::parse("/vehicles/V1/x").expect("a path");
        assert!(matches!(views.find(Some(Verb::Get), &nothing), Found::Nothing));
    }

    #[test]
    fn only_a_methods_own_message_has_its_fields() {
        const { assert!(Show::AS_IT_IS.masks) };
        for (_, path, .., show) in VIEWS {
            assert_eq!(show.masks, show.shape.is_none() && !show.whole, "{path}");
            assert!(!show.of_a_page().masks, "{path}");
        }
    }

    #[test]
    fn a_query_goes_before_what_is_asked_otherwise() {
        let sizes = || [("page_size", "1000".to_owned())];
        assert_eq!(or_else(Vec::new(), sizes()), [("page_size".to_owned(), "1000".to_owned())]);
        let said = vec![("pageSize".to_owned(), "7".to_owned())];
        assert_eq!(or_else(said.clone(), sizes()), said);
    }
}
