//! A door with TLS and an authority of its own, and clients with certificates of all kinds.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256,
    SanType,
};
use remuda_identity::{EmbeddedCa, EnrolmentToken, Issuer, NewVehicle, Register, Who};
use remuda_ingress::{DoorSettings, TlsEntrance, TlsFiles, VehicleTls};
use remuda_model::OrganizationId;
use remuda_mqtt::codec::{Connect, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, ServerName,
};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SignatureScheme};

use crate::support::{Stack, bytes_of, loopback, open_with, soon, vehicle};

pub const DAY: Duration = Duration::from_secs(86_400);
pub const HOUR_MS: i64 = 3_600_000;

/// An authority, a register and a door.
pub struct Secured {
    pub folder: tempfile::TempDir,
    pub authority: Arc<EmbeddedCa>,
    pub register: Arc<Register>,
    pub tls: Arc<VehicleTls>,
    pub stack: Stack,
    pub address: SocketAddr,
    following: JoinHandle<()>,
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// A key with its certificate, as a client shows them.
#[derive(Clone)]
pub struct Shown {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Arc<KeyPair>,
}

pub async fn secured() -> Secured {
    secured_with(|settings| settings).await
}

pub async fn secured_with(change: impl FnOnce(DoorSettings) -> DoorSettings) -> Secured {
    let folder = tempfile::tempdir().expect("a folder");
    let authority =
        Arc::new(EmbeddedCa::open(folder.path(), 90 * DAY, SystemTime::now()).expect("an authority"));
    let register = Arc::new(Register::open(folder.path()).expect("a register"));
    let (file, _) = authority
        .keep_server_certificate(&["localhost".into(), "127.0.0.1".into()], SystemTime::now())
        .expect("a certificate");
    let files = TlsFiles { certificate: file.clone(), key: file, trust: authority.trust_file() };
    let tls = VehicleTls::open(files, Arc::clone(&register)).expect("read");
    let following = tls.follow();
    let entrance = TlsEntrance { listen: loopback(), tls: Arc::clone(&tls) };
    let settings = DoorSettings { plain_listen: Some(loopback()), ..DoorSettings::secured(entrance) };
    let stack = open_with(1_024, change(settings)).await;
    let address = stack.door.tls_addr().expect("it listens");
    Secured { folder, authority, register, tls, stack, address, following }
}

impl Secured {
    pub fn token(&self, id: &str) -> EnrolmentToken {
        let (organization, fingerprint) = (OrganizationId::default(), self.authority.fingerprint());
        let who = Who { by: "a test".into(), at_ms: now_ms() };
        if self.register.contains(&vehicle(id)) {
            let made = self.register.new_token(organization, vehicle(id), HOUR_MS, fingerprint, &who);
            return made.expect("made").token;
        }
        let new = [NewVehicle { vehicle: vehicle(id), display_name: None }];
        self.register.create(organization, &new, HOUR_MS, fingerprint, &who).expect("created").remove(0).token
    }

    /// An enrolled vehicle.
    pub fn enrolled(&self, id: &str) -> Shown {
        let key = p256();
        let csr = CertificateSigningRequestDer::from_pem_slice(csr_pem(&key).as_bytes()).expect("a request");
        let issue = |identity: &_| self.authority.issue(&csr, identity, SystemTime::now());
        let (_, issued) = self.register.enroll(&self.token(id), now_ms(), issue).expect("enrolled");
        Shown { chain: certificates(&issued.chain_pem), key: Arc::new(key) }
    }

    pub fn revoke(&self, id: &str) {
        let who = Who { by: "a test".into(), at_ms: now_ms() };
        self.register.revoke(OrganizationId::default(), vehicle(id), "stolen", &who).expect("revoked");
    }

    pub async fn open(&self, shown: Option<&Shown>) -> io::Result<Tls> {
        Tls::open(self.address, client_config(self.folder.path(), shown)).await
    }

    /// Waits until a counter of the door is so high.
    pub async fn counted(&self, name: &str, label: &str, count: u64) {
        soon(label, async {
            while self.stack.metric(name, label) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

pub fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

pub fn csr_pem(key: &KeyPair) -> String {
    CertificateParams::default().serialize_request(key).expect("signed").pem().expect("written")
}

pub fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("certificates")
}

/// Names of a certificate that somebody else would sign: several of a kind are told apart by their position.
pub fn signed(
    authority: &Path,
    names: &[(&str, &str)],
    change: impl FnOnce(&mut CertificateParams),
) -> Shown {
    let key = KeyPair::from_pem(&fs::read_to_string(authority.join("ca.key")).expect("read")).expect("a key");
    let root = fs::read_to_string(authority.join("ca.pem")).expect("read");
    let issuer = rcgen::Issuer::from_ca_cert_pem(&root, key).expect("an authority");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_after = (SystemTime::now() + DAY).into();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (kind, text) in names {
        match *kind {
            "CN" => params.distinguished_name.push(DnType::CommonName, *text),
            "CN2" => params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), *text),
            "O" => params.distinguished_name.push(DnType::OrganizationName, *text),
            "O2" => params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), *text),
            "URI" => params.subject_alt_names.push(SanType::URI((*text).try_into().expect("ascii"))),
            other => panic!("{other}?"),
        }
    }
    change(&mut params);
    let own = p256();
    let certificate = params.signed_by(&own, &issuer).expect("signed");
    Shown { chain: vec![certificate.der().clone()], key: Arc::new(own) }
}

pub fn client_config(trust: &Path, shown: Option<&Shown>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for root in certificates(&fs::read_to_string(trust.join("ca.pem")).expect("read")) {
        roots.add(root).expect("a root");
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("1.3")
        .with_root_certificates(roots);
    match shown {
        None => config.with_no_client_auth(),
        Some(Shown { chain, key }) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
            let key = aws_lc_rs::sign::any_supported_type(&key).expect("a key");
            config.with_client_cert_resolver(Arc::new(Only(Arc::new(CertifiedKey::new(chain.clone(), key)))))
        }
    }
}

/// Shows a certificate, whether or not the key is its own.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesClientCert for Only {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A client over TLS, without opinions.
pub struct Tls {
    pub stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

impl Tls {
    pub async fn open(address: SocketAddr, config: ClientConfig) -> io::Result<Self> {
        Self::open_shared(address, Arc::new(config)).await
    }

    /// With a configuration that remembers sessions.
    pub async fn open_shared(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = soon("a handshake", TlsConnector::from(config).connect(name, stream)).await?;
        Ok(Self { stream, buffer: BytesMut::new() })
    }

    pub async fn say(&mut self, packets: &[Packet]) -> io::Result<()> {
        self.stream.write_all(&bytes_of(packets)).await?;
        self.stream.flush().await
    }

    /// The next packet; `Ok(None)`: the door said goodbye. An error: an alert, or a reset.
    pub async fn hear(&mut self) -> io::Result<Option<Packet>> {
        loop {
            if let Ok(packet) = Packet::read(&mut self.buffer, usize::MAX) {
                return Ok(Some(packet));
            }
            if soon("a packet", self.stream.read_buf(&mut self.buffer)).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether the door accepts this login.
    pub async fn login(&mut self, client_id: &str, username: &str) -> bool {
        let mut connect = Connect::new(client_id);
        if !username.is_empty() {
            connect.set_login(username, "");
        }
        connect.keep_alive = 60;
        if self.say(&[Packet::Connect(connect)]).await.is_err() {
            return false;
        }
        matches!(self.hear().await, Ok(Some(Packet::ConnAck(ack))) if ack.code as u8 == 0)
    }

    /// Waits for the end.
    pub async fn ended(&mut self) {
        while matches!(self.hear().await, Ok(Some(_))) {}
    }
}
