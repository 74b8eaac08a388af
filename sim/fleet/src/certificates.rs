//! Certificates of simulated vehicles: each enrols as a real one does, with a key of its own and a one-time token.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use remuda_edge_agent::identity::{EnrolFault, new_key};
use remuda_edge_agent::{CommandKey, Credentials, Enroller, Identity, ServerUrl, Token, TrustAnchors};
use remuda_model::{OrganizationId, VehicleId};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::error::FleetError;
use crate::limits::ENROLMENTS_AT_ONCE;

/// In the folder of the outboxes, a line for each identity; of several of a vehicle the last one is in force.
const FILE: &str = "identities.jsonl";
/// Tries of an enrolment that the server was too busy for.
const TRIES_MAX: u32 = 50;
/// Pause between two of them.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// What each vehicle shows at the door. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Certificates(Arc<HashMap<VehicleId, Held>>);

/// What enrolment gave one vehicle.
#[derive(Debug, Clone)]
struct Held {
    credentials: Arc<Credentials>,
    command_key: Option<CommandKey>,
}

impl Certificates {
    /// A vehicle's.
    pub(crate) fn of(&self, vehicle: VehicleId) -> Option<Arc<Credentials>> {
        self.0.get(&vehicle).map(|held| Arc::clone(&held.credentials))
    }

    /// Whose commands a vehicle obeys; none: nobody's.
    pub(crate) fn command_key(&self, vehicle: VehicleId) -> Option<CommandKey> {
        self.0.get(&vehicle)?.command_key
    }
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    vehicle: VehicleId,
    organization: OrganizationId,
    server: ServerUrl,
    door: String,
    key: String,
    certificate: String,
    trust: String,
    #[serde(default)]
    command_key: Option<String>,
}

impl From<Identity> for Line {
    fn from(identity: Identity) -> Self {
        let Identity {
            vehicle,
            organization,
            server,
            door,
            key_pem,
            certificate_pem,
            trust_pem,
            command_key,
        } = identity;
        Self {
            vehicle,
            organization,
            server,
            door,
            key: key_pem,
            certificate: certificate_pem,
            trust: trust_pem,
            command_key,
        }
    }
}

impl From<Line> for Identity {
    fn from(line: Line) -> Self {
        let Line { vehicle, organization, server, door, key, certificate, trust, command_key } = line;
        Self {
            vehicle,
            organization,
            server,
            door,
            key_pem: key,
            certificate_pem: certificate,
            trust_pem: trust,
            command_key,
        }
    }
}

/// Answers a certificate for every vehicle: those that `data` keeps from earlier runs, and new ones for vehicles that
/// have none, or whose certificate should be renewed by now. For these `tokens` is asked, once, if there are any;
/// `progress` hears how many of how many are done.
///
/// # Errors
/// The first vehicle that cannot be enrolled, or the file; what was granted by then is kept.
pub async fn enrol(
    ids: &[VehicleId],
    data: &Path,
    server: &ServerUrl,
    tokens: impl AsyncFnOnce(Vec<VehicleId>) -> Result<HashMap<VehicleId, String>, String>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Certificates, FleetError> {
    let file = data.join(FILE);
    let mut known = read(&file)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    known.retain(|_, identity| identity.validity().is_ok_and(|validity| validity.renew_at() > now));
    let mut shared = HashMap::new();
    let mut certificates = HashMap::with_capacity(ids.len());
    let mut wanting = Vec::new();
    for id in ids {
        match known.remove(id) {
            Some(identity) => {
                certificates.insert(*id, held(&identity, &mut shared)?);
            }
            None => wanting.push(*id),
        }
    }
    let all = wanting.len();
    if all == 0 {
        return Ok(Certificates(Arc::new(certificates)));
    }
    let mut tokens = tokens(wanting.clone()).await.map_err(FleetError::Tokens)?;
    let mut kept = Kept::open(&file)?;
    let enroller = Enroller::new(server.clone());
    let (mut asking, mut wanting, mut done) = (JoinSet::new(), wanting.into_iter(), 0);
    loop {
        while asking.len() < ENROLMENTS_AT_ONCE
            && let Some(vehicle) = wanting.next()
        {
            let token = tokens.remove(&vehicle).ok_or(FleetError::NoToken { vehicle })?;
            asking.spawn(enrol_one(enroller.clone(), vehicle, token));
        }
        let Some(granted) = asking.join_next().await else { break };
        let identity = granted.map_err(|_| FleetError::Broken)??;
        certificates.insert(identity.vehicle, held(&identity, &mut shared)?);
        kept.append(identity)?;
        done += 1;
        progress(done, all);
    }
    kept.close()?;
    Ok(Certificates(Arc::new(certificates)))
}

async fn enrol_one(enroller: Enroller, vehicle: VehicleId, token: String) -> Result<Identity, FleetError> {
    let failed = |reason: String| FleetError::Enrolment { vehicle, reason };
    let token: Token =
        token.parse().map_err(|e: remuda_edge_agent::identity::TokenError| failed(e.to_string()))?;
    if token.vehicle() != vehicle {
        return Err(failed(format!("the token is for {}", token.vehicle())));
    }
    let key = new_key().map_err(failed)?;
    for _ in 1..TRIES_MAX {
        match enroller.enrol(&token, &key).await {
            Err(EnrolFault::Refused { status: 429 | 503, .. }) => tokio::time::sleep(BUSY_PAUSE).await,
            result => return result.map_err(|e| failed(e.to_string())),
        }
    }
    enroller.enrol(&token, &key).await.map_err(|e| failed(e.to_string()))
}

/// Trust anchors are the same for a whole fleet, and held once.
fn held(identity: &Identity, shared: &mut HashMap<String, TrustAnchors>) -> Result<Held, FleetError> {
    let failed = |e: remuda_edge_agent::identity::IdentityError| FleetError::Enrolment {
        vehicle: identity.vehicle,
        reason: e.to_string(),
    };
    let anchors = match shared.get(&identity.trust_pem) {
        Some(anchors) => anchors.clone(),
        None => {
            let anchors = TrustAnchors::from_pem(&identity.trust_pem).map_err(failed)?;
            shared.entry(identity.trust_pem.clone()).or_insert(anchors).clone()
        }
    };
    let credentials = Arc::new(Credentials::trusting(identity, &anchors).map_err(failed)?);
    Ok(Held { credentials, command_key: identity.command_key() })
}

fn read(file: &Path) -> Result<HashMap<VehicleId, Identity>, FleetError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(source) => return Err(FleetError::Identities { file: file.into(), source }),
    };
    // A line that a crash cut short is as good as none: its vehicle enrols again.
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    Ok(lines.map(|line| (line.vehicle, Identity::from(line))).collect())
}

/// The file, open for appending.
struct Kept {
    path: PathBuf,
    out: io::BufWriter<std::fs::File>,
}

impl Kept {
    fn open(path: &Path) -> Result<Self, FleetError> {
        let opening = || {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            let mut file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
            // Ends a line that a crash cut short; empty ones are skipped.
            file.write_all(b"\n")?;
            Ok(io::BufWriter::new(file))
        };
        let out = opening().map_err(|source| FleetError::Identities { file: path.into(), source })?;
        Ok(Self { path: path.into(), out })
    }

    fn append(&mut self, identity: Identity) -> Result<(), FleetError> {
        // A token is spent already: the line is handed to the system at once.
        let writing = serde_json::to_writer(&mut self.out, &Line::from(identity))
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .and_then(|()| self.out.flush());
        writing.map_err(|source| FleetError::Identities { file: self.path.clone(), source })
    }

    fn close(self) -> Result<(), FleetError> {
        self.out
            .get_ref()
            .sync_all()
            .map_err(|source| FleetError::Identities { file: self.path.clone(), source })
    }
}

/// Tokens by vehicle out of a text: of each line the first field, between commas and blanks, that is one. So the CSV
/// of `remudactl vehicles provision` does, and a bare list.
///
/// # Errors
/// One sentence, when there is none in it.
pub fn tokens_in(text: &str) -> Result<HashMap<VehicleId, String>, String> {
    let field = |line: &str| {
        let mut fields = line.split([',', ' ', '\t', '"']).filter(|field| !field.is_empty());
        fields.find_map(|field| Some((field.parse::<Token>().ok()?.vehicle(), field.to_owned())))
    };
    let tokens: HashMap<_, _> = text.lines().filter_map(field).collect();
    if tokens.is_empty() {
        return Err("holds no enrolment token; make it with remudactl vehicles provision".to_owned());
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_a_csv_and_in_a_list() {
        let token = |vehicle: &str| format!("remuda1.{vehicle}.{}.{}", "0a".repeat(32), "0b".repeat(32));
        let text = format!("vehicle,token\nVAN1,\"{}\"\n\n{}\nVAN3,none\n", token("VAN1"), token("VAN2"));
        let tokens = tokens_in(&text).expect("two");
        let mut found: Vec<_> =
            tokens.into_iter().map(|(vehicle, text)| (vehicle.to_string(), text)).collect();
        found.sort();
        assert_eq!(found, [("VAN1".to_owned(), token("VAN1")), ("VAN2".to_owned(), token("VAN2"))]);
        assert!(tokens_in("vehicle,token\n").expect_err("none").contains("remudactl"));
    }
}
