//! `remudactl geofences`.

mod geojson;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use prost_types::{Duration as Length, FieldMask, Timestamp};
use remuda_api::geofences::v1::geofence::{Part, Shape};
use remuda_api::geofences::v1::geofence_service_client::GeofenceServiceClient;
use remuda_api::geofences::v1::{
    Circle, CreateGeofenceRequest, DeleteGeofenceRequest, Geofence, GetGeofenceRequest, Kind,
    ListGeofencesRequest, ListVehiclesInGeofenceRequest, Point, Polygon, UpdateGeofenceRequest, Visit,
};
use remuda_api::{ChildName, MESSAGE_BYTES_MAX, OrganizationName};
use serde_json::{Value, json};
use tonic::Request;

use self::geojson::Feature;
use crate::args::{Global, OutputFormat};
use crate::client::{Service, open};
use crate::commands::seconds;
use crate::error::CtlError;
use crate::table::{Cell, cell, write};
use crate::text::{age_of, id, now_ms, rfc3339};

/// Geofences read at once when all are wanted: of 200 corners each they are well below what a message may have.
const WHOLE_PAGE: i32 = 250;

/// What can be done with geofences.
#[derive(Debug, Subcommand)]
pub enum GeofencesCommand {
    /// Lists geofences in order of their ids.
    List {
        /// Of this kind only.
        #[arg(long, value_enum)]
        kind: Option<KindWord>,
        /// Geofences read at once, 1 to 1000; all pages are printed.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(i32).range(1..=1000))]
        page_size: i32,
    },
    /// Shows one geofence.
    Get {
        /// Its id, or its whole resource name.
        geofence: String,
    },
    /// Makes a geofence.
    Create {
        /// Its id: a letter, then letters, digits and hyphens, all lower-case; one is made when none is given.
        geofence: Option<String>,
        /// What people call it; its id when it is not said.
        #[arg(long)]
        name: Option<String>,
        /// What it is for.
        #[arg(long, value_enum)]
        kind: KindWord,
        /// Where it is.
        #[command(flatten)]
        place: PlaceArgs,
        /// The rest of it.
        #[command(flatten)]
        rest: RestArgs,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Changes a geofence; what is not said stays.
    Update {
        /// Its id, or its whole resource name.
        geofence: String,
        /// What people call it.
        #[arg(long)]
        name: Option<String>,
        /// What it is for.
        #[arg(long, value_enum)]
        kind: Option<KindWord>,
        /// Where it is.
        #[command(flatten)]
        place: PlaceArgs,
        /// The rest of it.
        #[command(flatten)]
        rest: RestArgs,
        /// For every vehicle of the organization again.
        #[arg(long, conflicts_with_all = ["fleet", "depot"])]
        everybody: bool,
        /// Let things follow from it again.
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// The etag that you saw: nothing is done when the geofence was changed since.
        #[arg(long, default_value = "")]
        etag: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Deletes a geofence: vehicles are let go, its alerts end.
    Delete {
        /// Its id, or its whole resource name.
        geofence: String,
        /// The etag that you saw: nothing is done when the geofence was changed since.
        #[arg(long, default_value = "")]
        etag: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Lists the vehicles whose newest position is in a geofence.
    Vehicles {
        /// Its id, or its whole resource name.
        geofence: String,
    },
    /// Makes and changes geofences as a GeoJSON file says; others stay.
    Import {
        /// A FeatureCollection; `-` reads standard input.
        file: PathBuf,
        /// Check it and say what would become of it; change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Writes all geofences as a GeoJSON FeatureCollection.
    Export {
        /// Where to; standard output without it.
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

/// What a geofence is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindWord {
    /// Leaving raises an alert.
    KeepIn,
    /// Entering raises an alert.
    KeepOut,
    /// Being in it is good to know.
    Notify,
}

/// Where a geofence is.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct PlaceArgs {
    /// A circle: latitude, longitude and radius in metres, such as 60.17,24.94,250.
    #[arg(long, allow_hyphen_values = true, value_parser = circle)]
    circle: Option<Circle>,
    /// A polygon: latitudes and longitudes of its corners, such as '60.1,24.9 60.2,24.9 60.2,25.0'.
    #[arg(long, allow_hyphen_values = true, value_parser = polygon)]
    polygon: Option<Polygon>,
}

impl PlaceArgs {
    fn shape(self) -> Option<Shape> {
        self.circle.map(Shape::Circle).or(self.polygon.map(Shape::Polygon))
    }
}

/// What a geofence is besides.
#[derive(Debug, Args)]
pub struct RestArgs {
    /// For the vehicles of this fleet only.
    #[arg(long, conflicts_with = "depot")]
    fleet: Option<String>,
    /// For the vehicles of this depot only.
    #[arg(long)]
    depot: Option<String>,
    /// How long a vehicle must be in, or out, before it counts, such as 30s or 5m; 0s for at once.
    #[arg(long, value_parser = dwell_of)]
    dwell: Option<i64>,
    /// How far beyond the edge a vehicle must be to have left it, m.
    #[arg(long)]
    hysteresis: Option<u32>,
    /// Let nothing follow from it.
    #[arg(long)]
    disable: bool,
}

/// What every change takes.
#[derive(Debug, Args)]
pub struct How {
    /// Makes a repetition recognisable: the same one again changes nothing.
    #[arg(long, default_value = "")]
    request_id: String,
    /// Only say what would become of it.
    #[arg(long)]
    dry_run: bool,
}

fn dwell_of(text: &str) -> Result<i64, String> {
    if text == "0s" { Ok(0) } else { seconds(text) }
}

fn numbers(text: &str) -> Result<Vec<f64>, String> {
    let number = |part: &str| part.trim().parse().map_err(|_| format!("`{part}` is no number"));
    text.split(',').map(number).collect()
}

fn circle(text: &str) -> Result<Circle, String> {
    let [latitude, longitude, radius] = numbers(text)?[..] else {
        return Err("say LATITUDE,LONGITUDE,RADIUS".into());
    };
    // The server says which radius may be; it is told the one that was typed.
    let is_whole = radius.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&radius);
    let radius_m = is_whole.then_some(radius as u32);
    let radius_m = radius_m.ok_or_else(|| format!("`{radius}` is no whole number of metres"))?;
    Ok(Circle { center: Some(Point { latitude, longitude }), radius_m })
}

fn polygon(text: &str) -> Result<Polygon, String> {
    let point = |part: &str| match numbers(part)?[..] {
        [latitude, longitude] => Ok(Point { latitude, longitude }),
        _ => Err(format!("`{part}` is not LATITUDE,LONGITUDE")),
    };
    Ok(Polygon { points: text.split_whitespace().map(point).collect::<Result<_, _>>()? })
}

impl KindWord {
    const fn kind(self) -> Kind {
        match self {
            Self::KeepIn => Kind::KeepIn,
            Self::KeepOut => Kind::KeepOut,
            Self::Notify => Kind::Notify,
        }
    }
}

/// The word of a kind, as it is typed and stands in files.
fn word(kind: Kind) -> String {
    kind.as_str_name().trim_start_matches("KIND_").to_lowercase().replace('_', "-")
}

struct Session<'a> {
    client: GeofenceServiceClient<Service>,
    global: Global,
    out: &'a mut dyn Write,
    colours: bool,
}

/// Runs one of them.
pub(crate) async fn run(
    command: GeofencesCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    // Read before anything is sent.
    let features = match &command {
        GeofencesCommand::Import { file, .. } => Some(read(file)?),
        _ => None,
    };
    let client =
        GeofenceServiceClient::new(open(&global).await?).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut session = Session { client, global, out, colours };
    match command {
        GeofencesCommand::List { kind, page_size } => session.list(kind, page_size).await,
        GeofencesCommand::Get { geofence } => session.get(&geofence).await,
        GeofencesCommand::Create { geofence, name, kind, place, rest, how } => {
            session.create(geofence, name, kind, place, rest, how).await
        }
        GeofencesCommand::Update { geofence, name, kind, place, rest, everybody, enable, etag, how } => {
            let name_of = session.name(&geofence);
            let (changed, paths) = changed(name_of, name, kind, place, rest, (everybody, enable), etag)?;
            session.update(changed, paths, how).await
        }
        GeofencesCommand::Delete { geofence, etag, how } => session.delete(&geofence, etag, how).await,
        GeofencesCommand::Vehicles { geofence } => session.vehicles(&geofence).await,
        GeofencesCommand::Import { dry_run, .. } => {
            session.import(features.unwrap_or_default(), dry_run).await
        }
        GeofencesCommand::Export { file } => session.export(file.as_deref()).await,
    }?;
    session.out.flush()?;
    Ok(())
}

/// A geofence with what is said of it, and the fields that are.
fn changed(
    name: String,
    display_name: Option<String>,
    kind: Option<KindWord>,
    place: PlaceArgs,
    rest: RestArgs,
    (everybody, enable): (bool, bool),
    etag: String,
) -> Result<(Geofence, Vec<String>), CtlError> {
    let said = [
        ("display_name", display_name.is_some()),
        ("kind", kind.is_some()),
        ("shape", place.circle.is_some() || place.polygon.is_some()),
        ("part", everybody || rest.fleet.is_some() || rest.depot.is_some()),
        ("dwell", rest.dwell.is_some()),
        ("hysteresis_m", rest.hysteresis.is_some()),
        ("disabled", enable || rest.disable),
    ];
    let paths: Vec<String> =
        said.iter().filter(|(_, said)| *said).map(|(path, _)| (*path).to_owned()).collect();
    if paths.is_empty() {
        return Err(CtlError::Usage("say what is to change, such as --name or --circle"));
    }
    let kind = kind.map(KindWord::kind).unwrap_or_default();
    let display_name = display_name.unwrap_or_default();
    Ok((Geofence { name, etag, ..geofence(display_name, kind, place.shape(), rest) }, paths))
}

fn geofence(display_name: String, kind: Kind, shape: Option<Shape>, rest: RestArgs) -> Geofence {
    Geofence {
        display_name,
        kind: kind.into(),
        shape,
        part: rest.fleet.map(Part::Fleet).or(rest.depot.map(Part::Depot)),
        dwell: Some(Length { seconds: rest.dwell.unwrap_or_default(), nanos: 0 }),
        hysteresis_m: rest.hysteresis.unwrap_or_default(),
        disabled: rest.disable,
        ..Geofence::default()
    }
}

fn read(file: &Path) -> Result<Vec<Feature>, CtlError> {
    let failed = |source| CtlError::File { file: file.display().to_string(), source };
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        text
    } else {
        std::fs::read_to_string(file).map_err(failed)?
    };
    let problem = |problem| CtlError::Document { file: file.display().to_string(), problem };
    geojson::read(&text).map_err(problem)
}

impl Session<'_> {
    fn parent(&self) -> String {
        OrganizationName { organization: self.global.organization.clone() }.to_string()
    }

    fn name(&self, geofence: &str) -> String {
        if geofence.contains('/') {
            return geofence.to_owned();
        }
        let (organization, id) = (self.global.organization.clone(), geofence.to_owned());
        ChildName { organization, collection: "geofences", id }.to_string()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    async fn all(&mut self, kind: Option<KindWord>, page_size: i32) -> Result<Vec<Geofence>, CtlError> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let kind = kind.map(KindWord::kind).unwrap_or_default().into();
            let request =
                self.request(ListGeofencesRequest { parent: self.parent(), page_size, page_token, kind });
            let page = self.client.list_geofences(request).await?.into_inner();
            all.extend(page.geofences);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    async fn list(&mut self, kind: Option<KindWord>, page_size: i32) -> Result<(), CtlError> {
        let geofences = self.all(kind, page_size).await?;
        match self.global.output {
            OutputFormat::Json => {
                let documents: Vec<Value> = geofences.iter().map(geofence_json).collect();
                writeln!(self.out, "{:#}", json!({ "geofences": documents }))?;
            }
            _ if geofences.is_empty() => {
                eprintln!("no geofence yet; make one with `remudactl geofences create`")
            }
            _ => self.rows(&geofences)?,
        }
        Ok(())
    }

    fn rows(&mut self, geofences: &[Geofence]) -> Result<(), CtlError> {
        if self.global.output == OutputFormat::Name {
            for geofence in geofences {
                writeln!(self.out, "{}", geofence.name)?;
            }
            return Ok(());
        }
        let heads = ["GEOFENCE", "KIND", "FOR", "WHERE", "DWELL", "CHANGED", "NAME"];
        let rows: Vec<Vec<Cell>> = geofences.iter().map(row).collect();
        Ok(write(self.out, Some(&heads), &rows, &mut Vec::new(), self.colours)?)
    }

    fn show(&mut self, geofence: &Geofence) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => writeln!(self.out, "{:#}", geofence_json(geofence))?,
            _ => self.rows(std::slice::from_ref(geofence))?,
        }
        Ok(())
    }

    async fn get(&mut self, geofence: &str) -> Result<(), CtlError> {
        let request = self.request(GetGeofenceRequest { name: self.name(geofence) });
        let geofence = self.client.get_geofence(request).await?.into_inner();
        self.show(&geofence)
    }

    async fn create(
        &mut self,
        id: Option<String>,
        name: Option<String>,
        kind: KindWord,
        place: PlaceArgs,
        rest: RestArgs,
        how: How,
    ) -> Result<(), CtlError> {
        let shape = place.shape().ok_or(CtlError::Usage("say where it is: --circle or --polygon"))?;
        let geofence_id = id.unwrap_or_default();
        let display_name = name.or_else(|| (!geofence_id.is_empty()).then(|| geofence_id.clone()));
        let display_name = display_name.ok_or(CtlError::Usage("say an id, or --name"))?;
        let request = self.request(CreateGeofenceRequest {
            parent: self.parent(),
            geofence_id,
            geofence: Some(geofence(display_name, kind.kind(), Some(shape), rest)),
            request_id: how.request_id,
            validate_only: how.dry_run,
        });
        let made = self.client.create_geofence(request).await?.into_inner();
        self.show(&made)
    }

    async fn update(&mut self, geofence: Geofence, paths: Vec<String>, how: How) -> Result<(), CtlError> {
        let request = self.request(UpdateGeofenceRequest {
            geofence: Some(geofence),
            update_mask: Some(FieldMask { paths }),
            request_id: how.request_id,
            validate_only: how.dry_run,
        });
        let changed = self.client.update_geofence(request).await?.into_inner();
        self.show(&changed)
    }

    async fn delete(&mut self, geofence: &str, etag: String, how: How) -> Result<(), CtlError> {
        let (name, request_id, validate_only) = (self.name(geofence), how.request_id, how.dry_run);
        let request = self.request(DeleteGeofenceRequest { name, etag, request_id, validate_only });
        let gone = self.client.delete_geofence(request).await?.into_inner();
        self.show(&gone)
    }

    async fn vehicles(&mut self, geofence: &str) -> Result<(), CtlError> {
        let (mut visits, mut page_token): (Vec<Visit>, _) = (Vec::new(), String::new());
        loop {
            let name = self.name(geofence);
            let request = self.request(ListVehiclesInGeofenceRequest { name, page_size: 1_000, page_token });
            let page = self.client.list_vehicles_in_geofence(request).await?.into_inner();
            visits.extend(page.visits);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        match self.global.output {
            OutputFormat::Json => {
                let visit = |visit: &Visit| {
                    let since = visit.enter_time.as_ref().map(rfc3339);
                    json!({ "vehicle": visit.vehicle, "counts": visit.counts, "enterTime": since })
                };
                let visits: Vec<Value> = visits.iter().map(visit).collect();
                writeln!(self.out, "{:#}", json!({ "visits": visits }))?;
            }
            OutputFormat::Name => {
                for visit in &visits {
                    writeln!(self.out, "{}", visit.vehicle)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                let row = |visit: &Visit| {
                    let counts = if visit.counts { "yes" } else { "not yet" };
                    let since = age_of(visit.enter_time.as_ref(), now_ms());
                    vec![cell(id(&visit.vehicle)), cell(counts), cell(since).right()]
                };
                let rows: Vec<Vec<Cell>> = visits.iter().map(row).collect();
                write(self.out, Some(&["VEHICLE", "COUNTS", "SINCE"]), &rows, &mut Vec::new(), self.colours)?;
            }
        }
        Ok(())
    }

    async fn import(&mut self, features: Vec<Feature>, dry_run: bool) -> Result<(), CtlError> {
        let known = self.all(None, WHOLE_PAGE).await?;
        let known: BTreeMap<String, String> =
            known.into_iter().map(|geofence| (geofence.name, geofence.etag)).collect();
        let (mut created, mut updated, mut same, mut failed) = (0, 0, 0, 0);
        for Feature { id: geofence_id, geofence, said } in features {
            let name = self.name(&geofence_id);
            let done = match known.get(&name) {
                Some(_) => {
                    let geofence = Some(Geofence { name: name.clone(), ..geofence });
                    // What the file does not say stays: a fence of a fleet is not one of all for want of a word.
                    let paths = said.into_iter().map(str::to_owned).collect();
                    let request = self.request(UpdateGeofenceRequest {
                        geofence,
                        update_mask: Some(FieldMask { paths }),
                        request_id: String::new(),
                        validate_only: dry_run,
                    });
                    self.client.update_geofence(request).await
                }
                None => {
                    let request = self.request(CreateGeofenceRequest {
                        parent: self.parent(),
                        geofence_id: geofence_id.clone(),
                        geofence: Some(geofence),
                        request_id: String::new(),
                        validate_only: dry_run,
                    });
                    self.client.create_geofence(request).await
                }
            };
            match (done, known.get(&name)) {
                (Ok(_), None) => created += 1,
                (Ok(done), Some(etag)) if done.get_ref().etag == *etag => same += 1,
                (Ok(_), Some(_)) => updated += 1,
                (Err(status), _) => {
                    failed += 1;
                    eprintln!("{geofence_id}: {}", CtlError::from(status));
                }
            }
        }
        match self.global.output {
            OutputFormat::Json => {
                let counts =
                    json!({ "created": created, "updated": updated, "unchanged": same, "failed": failed });
                writeln!(self.out, "{counts:#}")?;
            }
            OutputFormat::Name => {}
            OutputFormat::Table | OutputFormat::Wide => {
                let would = if dry_run { "would be " } else { "" };
                writeln!(
                    self.out,
                    "{would}created {created}, updated {updated}, unchanged {same}, failed {failed}"
                )?;
            }
        }
        if failed > 0 { Err(CtlError::Features(failed)) } else { Ok(()) }
    }

    async fn export(&mut self, file: Option<&Path>) -> Result<(), CtlError> {
        let collection = geojson::write(&self.all(None, WHOLE_PAGE).await?);
        match file {
            None => writeln!(self.out, "{collection:#}")?,
            Some(file) => {
                let failed = |source| CtlError::File { file: file.display().to_string(), source };
                std::fs::write(file, format!("{collection:#}\n")).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn part(geofence: &Geofence) -> String {
    match &geofence.part {
        None => "all".into(),
        Some(Part::Fleet(fleet)) => format!("fleet {fleet}"),
        Some(Part::Depot(depot)) => format!("depot {depot}"),
    }
}

fn place(geofence: &Geofence) -> String {
    match &geofence.shape {
        Some(Shape::Circle(circle)) => {
            let Point { latitude, longitude } = circle.center.unwrap_or_default();
            format!("{latitude:.5},{longitude:.5} {} m", circle.radius_m)
        }
        Some(Shape::Polygon(polygon)) => format!("{} corners", polygon.points.len()),
        None => "-".into(),
    }
}

fn dwell(geofence: &Geofence) -> i64 {
    geofence.dwell.map_or(0, |dwell| dwell.seconds)
}

fn row(geofence: &Geofence) -> Vec<Cell> {
    let kind = word(geofence.kind());
    vec![
        cell(id(&geofence.name)),
        cell(if geofence.disabled { format!("{kind} (disabled)") } else { kind }),
        cell(part(geofence)),
        cell(place(geofence)),
        cell(format!("{} s", dwell(geofence))).right(),
        cell(age_of(geofence.update_time.as_ref(), now_ms())).right(),
        cell(geofence.display_name.clone()),
    ]
}

fn geofence_json(geofence: &Geofence) -> Value {
    let time = |time: Option<&Timestamp>| time.map(rfc3339);
    let point = |point: &Point| json!({ "latitude": point.latitude, "longitude": point.longitude });
    let (circle, polygon) = match &geofence.shape {
        Some(Shape::Circle(circle)) => {
            let center = circle.center.as_ref().map(point);
            (Some(json!({ "center": center, "radiusM": circle.radius_m })), None)
        }
        Some(Shape::Polygon(polygon)) => {
            let points: Vec<Value> = polygon.points.iter().map(point).collect();
            (None, Some(json!({ "points": points })))
        }
        None => (None, None),
    };
    let (fleet, depot) = match &geofence.part {
        Some(Part::Fleet(fleet)) => (Some(fleet), None),
        Some(Part::Depot(depot)) => (None, Some(depot)),
        None => (None, None),
    };
    json!({
        "name": geofence.name,
        "etag": geofence.etag,
        "displayName": geofence.display_name,
        "kind": word(geofence.kind()),
        "circle": circle,
        "polygon": polygon,
        "fleet": fleet,
        "depot": depot,
        "dwellS": dwell(geofence),
        "hysteresisM": geofence.hysteresis_m,
        "disabled": geofence.disabled,
        "createTime": time(geofence.create_time.as_ref()),
        "updateTime": time(geofence.update_time.as_ref()),
        "updatedBy": geofence.updated_by,
    })
}
