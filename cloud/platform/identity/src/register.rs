//! The register: which vehicles there are, their tokens, their certificates, and who is refused.

use std::collections::HashMap;
use std::path::Path;

use parking_lot::{Mutex, RwLock};
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::broadcast;

use crate::certificate::{Certified, Serial, VehicleIdentity};
use crate::decision::{Decision, Who};
use crate::issuer::IssuedCertificate;
use crate::log::{Log, LogError};
use crate::token::{CaFingerprint, EnrolmentToken, TokenHash};

/// Longest display name and reason, bytes.
const TEXT_BYTES_MAX: usize = 200;
/// Most vehicles of one batch: a line of the register of a few megabytes.
const BATCH_MAX: usize = 10_000;
/// Certificates of one vehicle that have not ended: one that asks more often is broken, or worse.
const CERTIFICATES_MAX: usize = 128;
/// Longest life of a token, ms: 90 days.
const TOKEN_VALID_MS_MAX: i64 = 90 * 86_400_000;
/// Refusals that a slow listener may be behind before it has to look at every vehicle.
const REFUSALS_WAITING: usize = 1_024;

/// A vehicle that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVehicle {
    /// Which.
    pub vehicle: VehicleId,
    /// For people; at most 200 bytes.
    pub display_name: Option<String>,
}

/// A token, to be handed over once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// The token.
    pub token: EnrolmentToken,
    /// When it ends, Unix ms.
    pub expires_ms: i64,
}

/// That a vehicle is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Why, for people.
    pub reason: String,
    /// Who decided.
    pub who: Who,
}

/// What the register knows of a vehicle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Which, and whose.
    pub identity: VehicleIdentity,
    /// For people.
    pub display_name: Option<String>,
    /// Who created it.
    pub created: Who,
    /// When its present token ends, Unix ms, while it is unused.
    pub token_expires_ms: Option<i64>,
    /// When its newest certificate ends, Unix ms.
    pub certificate_not_after_ms: Option<i64>,
    /// That it is refused.
    pub revocation: Option<Revocation>,
}

/// Why the register says no. The codes are stable.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// It is there already.
    #[error("there is a vehicle {0} already")]
    VehicleExists(VehicleId),
    /// Twice in one batch.
    #[error("the vehicle {0} is named twice")]
    VehicleTwice(VehicleId),
    /// It is not there.
    #[error("there is no vehicle {0}; create it first")]
    NoSuchVehicle(VehicleId),
    /// It is refused already.
    #[error("the vehicle {0} is revoked already")]
    AlreadyRevoked(VehicleId),
    /// A text or number out of bounds.
    #[error("{0}")]
    Argument(&'static str),
    /// No such token, or void since a newer one was made or the vehicle was revoked.
    #[error("this enrolment token is not known, or no longer valid; ask for a new one")]
    TokenUnknown,
    /// Too late.
    #[error("this enrolment token has expired; ask for a new one")]
    TokenExpired,
    /// Used, with another key.
    #[error("this enrolment token was used already; ask for a new one")]
    TokenUsed,
    /// The vehicle is refused.
    #[error("the vehicle is revoked")]
    Revoked,
    /// This certificate is refused.
    #[error("the certificate is revoked")]
    CertificateRevoked,
    /// Its time is over.
    #[error("the certificate has expired; ask for a new enrolment token")]
    CertificateExpired,
    /// Somebody asks again and again.
    #[error("the vehicle has too many certificates that have not ended yet")]
    TooManyCertificates,
    /// The vehicle belongs to another organization than the certificate says.
    #[error("the certificate names another organization than the vehicle's")]
    ForeignOrganization,
    /// The authority.
    #[error(transparent)]
    Issue(#[from] crate::issuer::IssueError),
    /// The register's file.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The system has no random numbers.
    #[error("{0}")]
    Random(String),
}

impl RegisterError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::VehicleExists(_) => "vehicle_exists",
            Self::VehicleTwice(_) => "vehicle_twice",
            Self::NoSuchVehicle(_) => "vehicle_unknown",
            Self::AlreadyRevoked(_) => "already_revoked",
            Self::Argument(_) => "argument",
            Self::TokenUnknown => "token_unknown",
            Self::TokenExpired => "token_expired",
            Self::TokenUsed => "token_used",
            Self::Revoked => "vehicle_revoked",
            Self::CertificateRevoked => "certificate_revoked",
            Self::CertificateExpired => "certificate_expired",
            Self::TooManyCertificates => "too_many_certificates",
            Self::ForeignOrganization => "organization_foreign",
            Self::Issue(error) => error.code(),
            Self::Log(_) => "register_failed",
            Self::Random(_) => "no_random_numbers",
        }
    }
}

/// The register of a folder: everything that was decided about vehicles' identities, synced before it counts, readable
/// and writable by several processes at a time. Calls that write block for a sync; [`Register::admits`] does not.
pub struct Register {
    /// Held over a write. Taken before `state`.
    log: Mutex<Log>,
    state: RwLock<State>,
    /// Vehicles of which a certificate is refused that was not before, by whatever process this one has heard of.
    refusals: broadcast::Sender<VehicleId>,
}

#[derive(Default)]
struct State {
    vehicles: HashMap<VehicleId, Entry>,
}

struct Entry {
    organization: OrganizationId,
    display_name: Option<Box<str>>,
    created: Who,
    token: Option<Token>,
    /// Certificates that are admitted, and those that are refused, until they end.
    certificates: Vec<Certificate>,
    revocation: Option<Revocation>,
}

struct Token {
    hash: TokenHash,
    expires_ms: i64,
    used_with: Option<TokenHash>,
}

struct Certificate {
    serial: Serial,
    not_after_ms: i64,
    refused: bool,
}

impl Register {
    /// Opens the register in a folder; makes it when there is none.
    ///
    /// # Errors
    /// When the file cannot be used, or is damaged other than by a crash.
    pub fn open(folder: &Path) -> Result<Self, RegisterError> {
        let register = Self {
            log: Mutex::new(Log::open(folder)?),
            state: RwLock::default(),
            refusals: broadcast::Sender::new(REFUSALS_WAITING),
        };
        register.refresh()?;
        Ok(register)
    }

    /// Learns what other processes wrote; cheap when they wrote nothing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn refresh(&self) -> Result<(), RegisterError> {
        let mut log = self.log.lock();
        let news = log.news()?;
        self.learn(news);
        Ok(())
    }

    /// Vehicles whose connections are to be looked at again with [`Register::admits`]. Who lags looks at all.
    pub fn refusals(&self) -> broadcast::Receiver<VehicleId> {
        self.refusals.subscribe()
    }

    /// Creates vehicles, each with a token that is valid for `token_valid_ms`; all or none.
    ///
    /// # Errors
    /// The first that is there already, is named twice, or has an odd name.
    pub fn create(
        &self,
        organization: OrganizationId,
        vehicles: &[NewVehicle],
        token_valid_ms: i64,
        fingerprint: CaFingerprint,
        who: &Who,
    ) -> Result<Vec<NewToken>, RegisterError> {
        if vehicles.len() > BATCH_MAX {
            return Err(RegisterError::Argument("a batch has at most 10000 vehicles; make several"));
        }
        check_token_valid(token_valid_ms)?;
        check_text(&who.by, "who decides is named in 1 to 200 bytes")?;
        let mut named = std::collections::HashSet::new();
        for new in vehicles {
            if !named.insert(new.vehicle) {
                return Err(RegisterError::VehicleTwice(new.vehicle));
            }
            if let Some(name) = &new.display_name {
                check_text(name, "a display name has 1 to 200 bytes, without control characters")?;
            }
        }
        self.decide(|state| {
            let (mut decisions, mut tokens) = (Vec::new(), Vec::new());
            for NewVehicle { vehicle, display_name } in vehicles {
                if state.vehicles.contains_key(vehicle) {
                    return Err(RegisterError::VehicleExists(*vehicle));
                }
                decisions.push(Decision::VehicleCreated {
                    vehicle: *vehicle,
                    organization,
                    display_name: display_name.clone(),
                    who: who.clone(),
                });
                let (made, token) = make_token(*vehicle, token_valid_ms, fingerprint, who)?;
                decisions.push(made);
                tokens.push(token);
            }
            Ok((decisions, tokens))
        })
    }

    /// A new token for a vehicle that is there; earlier ones are void. A revoked vehicle is admitted again once it has
    /// used it.
    ///
    /// # Errors
    /// When there is no such vehicle in the organization.
    pub fn new_token(
        &self,
        organization: OrganizationId,
        vehicle: VehicleId,
        token_valid_ms: i64,
        fingerprint: CaFingerprint,
        who: &Who,
    ) -> Result<NewToken, RegisterError> {
        check_token_valid(token_valid_ms)?;
        check_text(&who.by, "who decides is named in 1 to 200 bytes")?;
        self.decide(|state| {
            state.of(organization, vehicle)?;
            let (made, token) = make_token(vehicle, token_valid_ms, fingerprint, who)?;
            Ok((vec![made], token))
        })
    }

    /// Refuses a vehicle from now on, with all its certificates and its token.
    ///
    /// # Errors
    /// When there is no such vehicle, or it is revoked already.
    pub fn revoke(
        &self,
        organization: OrganizationId,
        vehicle: VehicleId,
        reason: &str,
        who: &Who,
    ) -> Result<(), RegisterError> {
        check_text(reason, "a revocation has a reason of 1 to 200 bytes")?;
        check_text(&who.by, "who decides is named in 1 to 200 bytes")?;
        self.decide(|state| {
            // Once more is a decision too where a token was made since: it must not be used any more.
            let entry = state.of(organization, vehicle)?;
            if entry.revocation.is_some() && entry.token.is_none() {
                return Err(RegisterError::AlreadyRevoked(vehicle));
            }
            let revoked = Decision::VehicleRevoked { vehicle, reason: reason.to_owned(), who: who.clone() };
            Ok((vec![revoked], ()))
        })
    }

    /// Takes a token for a certificate that `issue` makes. A token is used once; again only with the same key, for a
    /// vehicle that lost the answer. The certificate is registered, and synced, before it is answered.
    ///
    /// # Errors
    /// When the token does not hold, or `issue` fails.
    pub fn enroll(
        &self,
        token: &EnrolmentToken,
        now_ms: i64,
        issue: impl FnOnce(&VehicleIdentity) -> Result<IssuedCertificate, crate::issuer::IssueError>,
    ) -> Result<(VehicleIdentity, IssuedCertificate), RegisterError> {
        let (vehicle, hash) = (token.vehicle(), token.hash());
        self.decide(|state| {
            let entry = state.vehicles.get(&vehicle).ok_or(RegisterError::TokenUnknown)?;
            let known = entry.token.as_ref().filter(|known| known.hash == hash);
            let known = known.ok_or(RegisterError::TokenUnknown)?;
            if known.expires_ms <= now_ms {
                return Err(RegisterError::TokenExpired);
            }
            entry.check_room(now_ms)?;
            let identity = VehicleIdentity { organization: entry.organization, vehicle };
            let certificate = issue(&identity)?;
            let key = TokenHash(certificate.key_sha256);
            if known.used_with.is_some_and(|first| first != key) {
                return Err(RegisterError::TokenUsed);
            }
            let enrolled = Decision::Enrolled {
                vehicle,
                hash,
                key,
                serial: certificate.serial.clone(),
                not_after_ms: certificate.not_after_ms,
                at_ms: now_ms,
            };
            Ok((vec![enrolled], (identity, certificate)))
        })
    }

    /// A further certificate, made by `issue`, for the holder of one that is admitted.
    ///
    /// # Errors
    /// When the holder is not admitted any more, or `issue` fails.
    pub fn renew(
        &self,
        holder: &Certified,
        now_ms: i64,
        issue: impl FnOnce(&VehicleIdentity) -> Result<IssuedCertificate, crate::issuer::IssueError>,
    ) -> Result<IssuedCertificate, RegisterError> {
        self.decide(|state| {
            state.admits(holder)?;
            if holder.not_after_ms <= now_ms {
                return Err(RegisterError::CertificateExpired);
            }
            state.of(holder.identity.organization, holder.identity.vehicle)?.check_room(now_ms)?;
            let certificate = issue(&holder.identity)?;
            let renewed = Decision::Renewed {
                vehicle: holder.identity.vehicle,
                serial: certificate.serial.clone(),
                not_after_ms: certificate.not_after_ms,
                at_ms: now_ms,
            };
            Ok((vec![renewed], certificate))
        })
    }

    /// Whether the holder of a certificate, whose chain and times hold, is admitted. Reads memory only.
    ///
    /// # Errors
    /// When it is not: the vehicle is unknown or revoked, or this certificate is.
    pub fn admits(&self, holder: &Certified) -> Result<(), RegisterError> {
        self.state.read().admits(holder)
    }

    /// Whether there is such a vehicle, in whatever organization.
    pub fn contains(&self, vehicle: &VehicleId) -> bool {
        self.state.read().vehicles.contains_key(vehicle)
    }

    /// Whether a vehicle is revoked. One that is not there is not.
    pub fn is_revoked(&self, vehicle: &VehicleId) -> bool {
        self.state.read().vehicles.get(vehicle).is_some_and(|entry| entry.revocation.is_some())
    }

    /// Every vehicle that is refused, in order of their ids.
    pub fn revoked(&self) -> Vec<(VehicleIdentity, Revocation)> {
        let state = self.state.read();
        let refused = state.vehicles.iter().filter_map(|(vehicle, entry)| {
            let identity = VehicleIdentity { organization: entry.organization, vehicle: *vehicle };
            entry.revocation.clone().map(|revocation| (identity, revocation))
        });
        let mut refused: Vec<_> = refused.collect();
        refused.sort_unstable_by_key(|(identity, _)| identity.vehicle);
        refused
    }

    /// One vehicle of an organization.
    pub fn get(&self, organization: OrganizationId, vehicle: VehicleId) -> Option<Registered> {
        let state = self.state.read();
        state.of(organization, vehicle).ok().map(|entry| entry.shown(vehicle))
    }

    /// The vehicles of an organization after this one, in order of their ids, at most `most`.
    pub fn list(
        &self,
        organization: OrganizationId,
        after: Option<VehicleId>,
        most: usize,
    ) -> Vec<Registered> {
        let state = self.state.read();
        let mut ids: Vec<VehicleId> = state
            .vehicles
            .iter()
            .filter(|(id, entry)| {
                entry.organization == organization && after.is_none_or(|after| **id > after)
            })
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids.iter().take(most).filter_map(|id| state.vehicles.get(id).map(|entry| entry.shown(*id))).collect()
    }

    /// How many vehicles there are.
    pub fn len(&self) -> usize {
        self.state.read().vehicles.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decides on the newest state, under the lock of every process; what was decided is synced, then true.
    fn decide<T>(
        &self,
        decide: impl FnOnce(&State) -> Result<(Vec<Decision>, T), RegisterError>,
    ) -> Result<T, RegisterError> {
        let mut log = self.log.lock();
        let (decisions, answer) = log.append(|news| {
            self.learn(news);
            decide(&self.state.read())
        })?;
        self.learn(decisions);
        Ok(answer)
    }

    fn learn(&self, decisions: Vec<Decision>) {
        if decisions.is_empty() {
            return;
        }
        let mut state = self.state.write();
        let refused: Vec<VehicleId> =
            decisions.into_iter().filter_map(|decision| state.evolve(decision)).collect();
        drop(state);
        for vehicle in refused {
            // Without a door nobody listens.
            let _ = self.refusals.send(vehicle);
        }
    }
}

impl State {
    fn of(&self, organization: OrganizationId, vehicle: VehicleId) -> Result<&Entry, RegisterError> {
        let entry = self.vehicles.get(&vehicle).filter(|entry| entry.organization == organization);
        entry.ok_or(RegisterError::NoSuchVehicle(vehicle))
    }

    fn admits(&self, holder: &Certified) -> Result<(), RegisterError> {
        let VehicleIdentity { organization, vehicle } = holder.identity;
        let entry = self.vehicles.get(&vehicle).ok_or(RegisterError::NoSuchVehicle(vehicle))?;
        if entry.organization != organization {
            return Err(RegisterError::ForeignOrganization);
        }
        if entry.revocation.is_some() {
            return Err(RegisterError::Revoked);
        }
        let refused = entry.certificates.iter().any(|known| known.refused && known.serial == holder.serial);
        if refused { Err(RegisterError::CertificateRevoked) } else { Ok(()) }
    }

    /// Cannot fail: what was decided is so. A line about a vehicle that is not there says nothing. Answers the vehicle if
    /// one of its certificates is refused from now on.
    fn evolve(&mut self, decision: Decision) -> Option<VehicleId> {
        match decision {
            Decision::VehicleCreated { vehicle, organization, display_name, who } => {
                self.vehicles.entry(vehicle).or_insert_with(|| Entry {
                    organization,
                    display_name: display_name.map(String::into_boxed_str),
                    created: who,
                    token: None,
                    certificates: Vec::new(),
                    revocation: None,
                });
                None
            }
            Decision::TokenMade { vehicle, hash, expires_ms, .. } => {
                self.vehicles.get_mut(&vehicle)?.token = Some(Token { hash, expires_ms, used_with: None });
                None
            }
            Decision::Enrolled { vehicle, hash, key, serial, not_after_ms, at_ms } => {
                let entry = self.vehicles.get_mut(&vehicle)?;
                if let Some(token) = entry.token.as_mut().filter(|token| token.hash == hash) {
                    token.used_with = Some(key);
                }
                // Whoever held an earlier key is refused: the token makes this key the vehicle's.
                let refused = entry.refuse_all();
                entry.revocation = None;
                entry.add(serial, not_after_ms, at_ms);
                refused.then_some(vehicle)
            }
            Decision::Renewed { vehicle, serial, not_after_ms, at_ms } => {
                self.vehicles.get_mut(&vehicle)?.add(serial, not_after_ms, at_ms);
                None
            }
            Decision::VehicleRevoked { vehicle, reason, who } => {
                let entry = self.vehicles.get_mut(&vehicle)?;
                entry.refuse_all();
                entry.token = None;
                entry.revocation = Some(Revocation { reason, who });
                Some(vehicle)
            }
        }
    }
}

impl Entry {
    /// Answers whether there was anything to refuse.
    fn refuse_all(&mut self) -> bool {
        self.certificates.iter_mut().for_each(|known| known.refused = true);
        !self.certificates.is_empty()
    }

    fn check_room(&self, now_ms: i64) -> Result<(), RegisterError> {
        let present = self.certificates.iter().filter(|known| known.not_after_ms > now_ms).count();
        if present < CERTIFICATES_MAX { Ok(()) } else { Err(RegisterError::TooManyCertificates) }
    }

    fn add(&mut self, serial: Serial, not_after_ms: i64, at_ms: i64) {
        // Those that have ended are refused by their time.
        self.certificates.retain(|known| known.not_after_ms > at_ms);
        self.certificates.push(Certificate { serial, not_after_ms, refused: false });
    }

    fn shown(&self, vehicle: VehicleId) -> Registered {
        let admitted = self.certificates.iter().filter(|known| !known.refused);
        Registered {
            identity: VehicleIdentity { organization: self.organization, vehicle },
            display_name: self.display_name.as_deref().map(str::to_owned),
            created: self.created.clone(),
            token_expires_ms: self
                .token
                .as_ref()
                .filter(|token| token.used_with.is_none())
                .map(|token| token.expires_ms),
            certificate_not_after_ms: admitted.map(|known| known.not_after_ms).max(),
            revocation: self.revocation.clone(),
        }
    }
}

fn make_token(
    vehicle: VehicleId,
    valid_ms: i64,
    fingerprint: CaFingerprint,
    who: &Who,
) -> Result<(Decision, NewToken), RegisterError> {
    let token = EnrolmentToken::random(vehicle, fingerprint).map_err(RegisterError::Random)?;
    let expires_ms = who.at_ms.saturating_add(valid_ms);
    let made = Decision::TokenMade { vehicle, hash: token.hash(), expires_ms, who: who.clone() };
    Ok((made, NewToken { token, expires_ms }))
}

fn check_token_valid(valid_ms: i64) -> Result<(), RegisterError> {
    if (1..=TOKEN_VALID_MS_MAX).contains(&valid_ms) {
        Ok(())
    } else {
        Err(RegisterError::Argument("an enrolment token is valid for up to 90 days"))
    }
}

fn check_text(text: &str, must: &'static str) -> Result<(), RegisterError> {
    let fits = (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(RegisterError::Argument(must)) }
}
