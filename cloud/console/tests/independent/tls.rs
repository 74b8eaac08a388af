//! TLS on the console's port: one port for everything, client certificates, files that change, and clients that say nothing.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use remuda_access::{Accounts, CertifiedAccount};
use remuda_api::commands::v1::CreateCommandRequest;
use remuda_api::commands::v1::command_service_client::CommandServiceClient;
use remuda_api::vehicles::v1::vehicle_service_client::VehicleServiceClient;
use remuda_api::vehicles::v1::{ListVehiclesRequest, WatchVehiclesRequest, WatchVehiclesResponse};
use remuda_console::{
    Access, ClientTrust, Console, ConsoleSettings, ConsoleSources, ConsoleTls, ConsoleTlsFiles, Token,
};
use remuda_model::OrganizationId;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt;

use crate::PATIENCE;
use crate::support::{FakeFleet, sources};

const TOKEN: &str = "a-token-for-tests-0123456789";

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let (key, params) = (KeyPair::generate().unwrap(), Self::params(name));
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Another one, that this one vouches for.
    fn below(&self, name: &str, serial: u64) -> Self {
        let (key, mut params) = (KeyPair::generate().unwrap(), Self::params(name));
        params.serial_number = Some(SerialNumber::from(serial));
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// Certificate and key, PEM.
    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn client(&self, names: &[&str]) -> (String, String) {
        self.issue(|params| name(params, names))
    }

    /// The certificate of `ci`, with a number by which it can be revoked.
    fn numbered(&self, serial: u64) -> (String, String) {
        self.issue(|params| {
            name(params, &["uri:spiffe://example.com/ci"]);
            params.serial_number = Some(SerialNumber::from(serial));
        })
    }

    fn server(&self, host: &str) -> String {
        let (certificate, key) = self.issue(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = vec![SanType::DnsName(host.try_into().unwrap())];
        });
        format!("{certificate}{key}")
    }

    fn revocations(&self, serials: &[u64]) -> String {
        let now = OffsetDateTime::now_utc();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: now + time::Duration::days(1),
            crl_number: SerialNumber::from(serials.len() as u64 + 1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// `uri:`, `dns:`, `email:` and `cn:`, as accounts name them.
fn name(params: &mut CertificateParams, names: &[&str]) {
    for name in names {
        let (kind, name) = name.split_once(':').unwrap();
        match kind {
            "cn" => params.distinguished_name.push(DnType::CommonName, name),
            "uri" => params.subject_alt_names.push(SanType::URI(name.try_into().unwrap())),
            "dns" => params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap())),
            _ => params.subject_alt_names.push(SanType::Rfc822Name(name.try_into().unwrap())),
        }
    }
}

/// Writes the files of a console whose server and people have authorities of their own.
fn files_of(folder: &Path, server: &Authority, people: &Authority) -> ConsoleTlsFiles {
    let file = |name: &str, text: &str| -> PathBuf {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let both = file("server.pem", &server.server("localhost"));
    let clients = ClientTrust {
        roots: file("people.pem", &people.pem),
        revoked: Some(file("revoked.pem", &people.revocations(&[]))),
    };
    ConsoleTlsFiles { certificate: both.clone(), key: both, clients: Some(clients) }
}

/// A console over TLS, its authorities and its files.
struct Stage {
    console: Console,
    tls: Arc<ConsoleTls>,
    server: Authority,
    people: Authority,
    fleet: Arc<FakeFleet>,
    folder: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let (server, people) = (Authority::new("servers"), Authority::new("people"));
        let folder = tempfile::tempdir().unwrap();
        let files = files_of(folder.path(), &server, &people);
        let account = |name: &str, certificate: &str, grant: &str| CertifiedAccount {
            name: name.into(),
            certificates: vec![certificate.parse().unwrap()],
            grants: vec![grant.parse().unwrap()],
        };
        let accounts = Accounts::default().with_certificates(vec![
            account("ci", "uri:spiffe://example.com/ci", "operator"),
            account("night-shift", "cn:night-shift", "viewer"),
            account("gateway", "dns:gateway.example.com", "operator"),
        ]);
        let settings = ConsoleSettings {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: Token::new(TOKEN).unwrap(),
            organization: OrganizationId::default(),
            access: Access { accounts: Arc::new(accounts.unwrap()), ..Access::default() },
        };
        let tls = ConsoleTls::open(files).unwrap();
        let fleet = Arc::new(FakeFleet::new(3));
        let console = Console::secured(settings, Arc::clone(&tls), sources(&fleet)).await.unwrap();
        Self { console, tls, server, people, fleet, folder }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// A gRPC channel, by the client's certificate if it has one.
    async fn channel(&self, client: Option<&(String, String)>) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.server.pem));
        if let Some((certificate, key)) = client {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let address = format!("https://localhost:{}", self.console.local_addr().port());
        Channel::from_shared(address).unwrap().tls_config(tls).unwrap().connect().await
    }

    /// Lists vehicles by a certificate, a token, both or neither.
    async fn list(&self, client: Option<&(String, String)>, token: Option<&str>) -> Result<usize, Status> {
        let channel = self.channel(client).await.map_err(|e| Status::unavailable(e.to_string()))?;
        list(channel, token).await
    }

    fn config(&self, client: Option<&(String, String)>, alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.server.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    async fn connect(&self, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.console.local_addr()).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    /// What a request in plain text is answered over TLS, and the protocol that was agreed on.
    async fn http(&self, config: ClientConfig, request: &str) -> io::Result<(Option<Vec<u8>>, String)> {
        let mut stream = self.connect(config).await?;
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let read =
            tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time");
        // A server that closes need not say so.
        read.or_else(|e| if e.kind() == io::ErrorKind::UnexpectedEof { Ok(0) } else { Err(e) })?;
        Ok((agreed, String::from_utf8_lossy(&answer).into_owned()))
    }

    async fn get(
        &self,
        client: Option<&(String, String)>,
        path: &str,
        headers: &str,
    ) -> (Option<Vec<u8>>, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        self.http(self.config(client, &["http/1.1"]), &request).await.unwrap()
    }

    async fn metrics(&self) -> String {
        self.get(None, "/metrics", "").await.1
    }
}

async fn list(channel: Channel, token: Option<&str>) -> Result<usize, Status> {
    let mut request = Request::new(ListVehiclesRequest {
        parent: "organizations/default".into(),
        ..ListVehiclesRequest::default()
    });
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let page = VehicleServiceClient::new(channel).list_vehicles(request).await?;
    Ok(page.into_inner().vehicles.len())
}

fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn one_port_speaks_everything_over_tls() {
    let stage = Stage::set().await;
    // It listens on 127.0.0.1; the certificate is for another name.
    assert!(stage.console.url().starts_with("https://localhost:"), "{}", stage.console.url());
    assert_eq!(stage.list(None, Some(TOKEN)).await.unwrap(), 3, "gRPC");
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let (agreed, rest) = stage.get(None, "/vehicles/V000001", &bearer).await;
    assert_eq!(agreed.as_deref(), Some(&b"http/1.1"[..]));
    assert!(rest.starts_with("HTTP/1.1 200") && rest.contains(r#""id":"V000001""#), "{rest}");
    assert!(stage.get(None, "/", "").await.1.contains("<!doctype html>"), "the web page");
    // gRPC-Web: an empty ListVehicles, whose parent is missing, is refused by its handler.
    let web = format!(
        "POST /remuda.vehicles.v1.VehicleService/ListVehicles HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{bearer}\
         content-type: application/grpc-web+proto\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0"
    );
    let (_, web) = stage.http(stage.config(None, &["http/1.1"]), &web).await.unwrap();
    assert!(
        web.contains("application/grpc-web") && web.replace(": ", ":").contains("grpc-status:3"),
        "{web}"
    );
    // Whoever can do both speaks HTTP/2; who asks for nothing gets HTTP/1.1.
    let request = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let both = stage.connect(stage.config(None, &["h2", "http/1.1"])).await.unwrap();
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (agreed, plain) = stage.http(stage.config(None, &[]), request).await.unwrap();
    assert!(agreed.is_none() && plain.starts_with("HTTP/1.1 200"), "{plain}");
    // Who speaks plain text is told what is wrong.
    let mut tcp = TcpStream::connect(stage.console.local_addr()).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut told = String::new();
    // What it wrote is not read, so that the system may cut the connection behind the answer.
    let _ = tokio::time::timeout(PATIENCE, tcp.read_to_string(&mut told)).await.expect("an answer in time");
    assert!(told.contains("400 Bad Request") && told.contains("https://"), "{told}");
    stage.console.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_an_account() {
    let stage = Stage::set().await;
    let (ci, night) =
        (stage.people.client(&["uri:spiffe://example.com/ci"]), stage.people.client(&["cn:night-shift"]));
    assert_eq!(stage.list(Some(&ci), None).await.unwrap(), 3);
    assert_eq!(stage.list(Some(&night), None).await.unwrap(), 3);
    let rest = stage.get(Some(&ci), "/vehicles", "").await.1;
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
    // Its role is its account's.
    let mut commands = CommandServiceClient::new(stage.channel(Some(&night)).await.unwrap());
    let refused = commands.create_command(CreateCommandRequest::default()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason_of(&refused).as_str()),
        (Code::PermissionDenied, "PERMISSION_MISSING")
    );
    let mut commands = CommandServiceClient::new(stage.channel(Some(&ci)).await.unwrap());
    let refused = commands.create_command(CreateCommandRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    // A certificate that nobody's account has, and one of two accounts.
    let unknown = stage.people.client(&["cn:somebody", "uri:spiffe://example.com/other"]);
    let two = stage.people.client(&["cn:night-shift", "uri:spiffe://example.com/ci"]);
    let nameless = stage.people.client(&[]);
    for (client, reason) in [
        (&unknown, "CERTIFICATE_UNKNOWN"),
        (&nameless, "CERTIFICATE_UNKNOWN"),
        (&two, "CERTIFICATE_AMBIGUOUS"),
    ] {
        let refused = stage.list(Some(client), None).await.unwrap_err();
        assert_eq!((refused.code(), reason_of(&refused).as_str()), (Code::Unauthenticated, reason));
    }
    // A token counts more than a certificate, also a wrong one.
    assert_eq!(stage.list(Some(&unknown), Some(TOKEN)).await.unwrap(), 3);
    let refused = stage.list(Some(&ci), Some("another-token-0123456789")).await.unwrap_err();
    assert_eq!(reason_of(&refused), "TOKEN_INVALID");
    assert_eq!(reason_of(&stage.list(None, None).await.unwrap_err()), "TOKEN_INVALID");
    stage.console.stop().await.unwrap();
}

#[tokio::test]
async fn what_the_authority_does_not_vouch_for_ends_the_handshake() {
    let stage = Stage::set().await;
    let of = |change: fn(&mut CertificateParams)| {
        stage.people.issue(|params| {
            name(params, &["uri:spiffe://example.com/ci"]);
            change(params);
        })
    };
    let expired = of(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let of_a_server = of(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let stranger = Authority::new("people").client(&["uri:spiffe://example.com/ci"]);
    for (client, reason) in [
        (&expired, "certificate_expired"),
        (&stranger, "certificate_foreign"),
        (&of_a_server, "certificate_bad"),
    ] {
        let refused = stage.list(Some(client), Some(TOKEN)).await.unwrap_err();
        assert!(matches!(refused.code(), Code::Unknown | Code::Unavailable), "{reason}: {refused:?}");
        let metrics = stage.metrics().await;
        assert!(metrics.contains(&format!("{{reason=\"{reason}\"}}")), "{reason} in {metrics}");
    }
    let good = of(|_| ());
    assert_eq!(stage.list(Some(&good), None).await.unwrap(), 3);
    stage.console.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_is_revoked_stops_on_open_connections_too() {
    let stage = Stage::set().await;
    let (stolen, kept) = (stage.people.numbered(4_711), stage.people.numbered(4_712));
    let (open, other) =
        (stage.channel(Some(&stolen)).await.unwrap(), stage.channel(Some(&kept)).await.unwrap());
    assert_eq!(list(open.clone(), None).await.unwrap(), 3);
    stage.write("revoked.pem", &stage.people.revocations(&[4_711]));
    stage.tls.reload().unwrap();
    let refused = list(open, None).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason_of(&refused).as_str()),
        (Code::Unauthenticated, "CERTIFICATE_REVOKED")
    );
    assert!(reason_of(&stage.list(Some(&stolen), None).await.unwrap_err()).is_empty(), "no new connection");
    assert_eq!(list(other.clone(), None).await.unwrap(), 3, "nobody else pays for it");
    assert_eq!(stage.list(Some(&kept), None).await.unwrap(), 3);
    // Other people are trusted from now on.
    stage.write("people.pem", &Authority::new("others").pem);
    stage.tls.reload().unwrap();
    assert_eq!(reason_of(&list(other, None).await.unwrap_err()), "CERTIFICATE_FOREIGN");
    stage.console.stop().await.unwrap();
}

/// Vehicles that change, as long as somebody wants to know.
async fn watch(channel: Channel, token: Option<&str>) -> Streaming<WatchVehiclesResponse> {
    let mut request = Request::new(WatchVehiclesRequest {
        parent: "organizations/default".into(),
        interval_ms: 100,
        ..WatchVehiclesRequest::default()
    });
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let mut stream = VehicleServiceClient::new(channel).watch_vehicles(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some(), "it begins");
    stream
}

/// How a stream ends.
async fn end_of(mut stream: Streaming<WatchVehiclesResponse>) -> (Code, String) {
    let end = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return (Code::Ok, String::new()),
                Err(status) => return (status.code(), reason_of(&status)),
            }
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("it ends")
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_opened_it() {
    let stage = Stage::set().await;
    let drives = tokio::spawn(Arc::clone(&stage.fleet).drive(Duration::from_millis(50)));
    let (stolen, kept) = (stage.people.numbered(4_711), stage.people.numbered(4_712));
    let (open, other) =
        (stage.channel(Some(&stolen)).await.unwrap(), stage.channel(Some(&kept)).await.unwrap());
    let by_certificate = watch(open.clone(), None).await;
    let mut by_token = watch(open, Some(TOKEN)).await;
    let mut of_another = watch(other, None).await;
    // The same over HTTP/1.1: lines of JSON, and gRPC-Web.
    let begun = async |request: String| {
        let mut stream = stage.connect(stage.config(Some(&stolen), &["http/1.1"])).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.windows(7).any(|bytes| bytes == b"V000001") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
        }
        stream
    };
    let host = "host: localhost\r\nconnection: close\r\n";
    let lines =
        format!("GET /api/v1/organizations/default/vehicles:watch?intervalMs=100 HTTP/1.1\r\n{host}\r\n");
    let asked = WatchVehiclesRequest { parent: "organizations/default".into(), ..Default::default() };
    let asked = String::from_utf8(asked.encode_to_vec()).unwrap();
    let web = format!(
        "POST /remuda.vehicles.v1.VehicleService/WatchVehicles HTTP/1.1\r\n{host}content-type: application/grpc-web+proto\r\n\
         content-length: {}\r\n\r\n\0\0\0\0{}{asked}",
        asked.len() + 5,
        char::from(u8::try_from(asked.len()).unwrap()),
    );
    let texts = [begun(lines).await, begun(web).await];

    stage.write("revoked.pem", &stage.people.revocations(&[4_711]));
    let revoked = (Code::Unauthenticated, "CERTIFICATE_REVOKED".to_owned());
    assert_eq!(end_of(by_certificate).await, revoked);
    for (mut text, says) in texts.into_iter().zip(["\"reason\":\"CERTIFICATE_REVOKED\"", "grpc-status:16"]) {
        let mut read = Vec::new();
        let end = tokio::time::timeout(PATIENCE, text.read_to_end(&mut read)).await.expect("it ends");
        let read = String::from_utf8_lossy(&read);
        // As HTTP/1.1 ends what it sends in chunks: nothing was cut off.
        assert!(read.contains(says) && read.ends_with("\r\n0\r\n\r\n"), "{end:?}: {read}");
    }
    // Whoever shows a token beside it, or another certificate, reads on: also what is said from now on.
    let now_s = OffsetDateTime::now_utc().unix_timestamp();
    for stream in [&mut by_token, &mut of_another] {
        let reads_on =
            async { while stream.message().await.unwrap().unwrap().server_time.unwrap().seconds <= now_s {} };
        tokio::time::timeout(PATIENCE, reads_on).await.expect("it goes on");
    }
    drives.abort();
    stage.console.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_when_its_certificate_does() {
    let stage = Stage::set().await;
    let brief = stage.people.issue(|params| {
        name(params, &["uri:spiffe://example.com/ci"]);
        params.not_after = OffsetDateTime::now_utc() + time::Duration::seconds(4);
    });
    // Nothing is driven: it ends though nothing is said.
    let stream = watch(stage.channel(Some(&brief)).await.unwrap(), None).await;
    assert_eq!(end_of(stream).await, (Code::Unauthenticated, "CERTIFICATE_EXPIRED".to_owned()));
    stage.console.stop().await.unwrap();
}

#[tokio::test]
async fn an_authority_between_that_is_revoked_vouches_for_nobody() {
    let stage = Stage::set().await;
    let between = stage.people.below("night", 77);
    let (leaf, key) = between.client(&["uri:spiffe://example.com/ci"]);
    let client = (format!("{leaf}{}", between.pem), key);
    assert!(stage.list(Some(&client), None).await.is_err(), "nobody knows what it has taken back");
    let lists = |revoked: &[u64]| stage.people.revocations(revoked) + &between.revocations(&[]);
    stage.write("revoked.pem", &lists(&[]));
    stage.tls.reload().unwrap();
    let open = stage.channel(Some(&client)).await.unwrap();
    assert_eq!(list(open.clone(), None).await.unwrap(), 3);
    stage.write("revoked.pem", &lists(&[77]));
    stage.tls.reload().unwrap();
    assert_eq!(reason_of(&list(open, None).await.unwrap_err()), "CERTIFICATE_REVOKED");
    assert!(stage.list(Some(&client), None).await.is_err(), "no new connection");
    let metrics = stage.metrics().await;
    for reason in ["certificate_unlisted", "certificate_revoked"] {
        assert!(metrics.contains(&format!("{{reason=\"{reason}\"}}")), "{reason} in {metrics}");
    }
    stage.console.stop().await.unwrap();
}

#[tokio::test]
async fn files_of_the_server_that_are_broken_keep_no_revocation_out() {
    let stage = Stage::set().await;
    let stolen = stage.people.numbered(4_711);
    let open = stage.channel(Some(&stolen)).await.unwrap();
    assert_eq!(list(open.clone(), None).await.unwrap(), 3);
    stage.write("server.pem", "half a file");
    stage.write("revoked.pem", &stage.people.revocations(&[4_711]));
    let error = stage.tls.reload().unwrap_err().to_string();
    assert!(error.contains("server.pem"), "{error}");
    assert_eq!(reason_of(&list(open, None).await.unwrap_err()), "CERTIFICATE_REVOKED");
    let refused = stage.list(Some(&stolen), None).await.unwrap_err();
    assert!(reason_of(&refused).is_empty(), "its handshake fails: {refused:?}");
    let metrics = stage.metrics().await;
    assert!(metrics.contains("{reason=\"certificate_revoked\"}"), "{metrics}");
    // And a broken list keeps no new certificate of the server out.
    let presented = async || {
        let stream = stage.connect(stage.config(None, &[])).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let before = presented().await;
    stage.write("revoked.pem", "half a file");
    stage.write("server.pem", &stage.server.server("localhost"));
    let error = stage.tls.reload().unwrap_err().to_string();
    assert!(error.contains("revoked.pem"), "{error}");
    assert_ne!(presented().await, before);
    stage.console.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_ends_opens_nothing_more_on_an_open_connection() {
    let stage = Stage::set().await;
    // Enough to connect on a machine that has much else to do.
    let brief = stage.people.issue(|params| {
        name(params, &["uri:spiffe://example.com/ci"]);
        params.not_after = OffsetDateTime::now_utc() + time::Duration::seconds(4);
    });
    let open = stage.channel(Some(&brief)).await.unwrap();
    assert_eq!(list(open.clone(), None).await.unwrap(), 3);
    let ended = async {
        loop {
            match list(open.clone(), None).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(refused) => break refused,
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    assert_eq!(
        (refused.code(), reason_of(&refused).as_str()),
        (Code::Unauthenticated, "CERTIFICATE_EXPIRED")
    );
    stage.console.stop().await.unwrap();
}

#[tokio::test]
async fn the_console_looks_itself_whether_its_files_have_changed() {
    let stage = Stage::set().await;
    let server_of = async |stage: &Stage| {
        let stream = stage.connect(stage.config(None, &[])).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let first = server_of(&stage).await;
    // Nobody reloads by hand: the console looks itself.
    stage.write("server.pem", &format!("{}\n", stage.server.server("localhost")));
    let taken = async {
        while server_of(&stage).await == first {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("the new certificate is taken");
    stage.console.stop().await.unwrap();
}

#[test]
fn files_that_change_are_taken_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let (server, people) = (Authority::new("servers"), Authority::new("people"));
    let (files, good) = (files_of(folder.path(), &server, &people), server.server("localhost"));
    let tls = ConsoleTls::open(files).unwrap();
    assert!(!tls.reload().unwrap(), "nothing has changed");
    // A key of another certificate: half of a change.
    let (certificate, _) = server.issue(|_| ());
    let (_, key) = server.issue(|_| ());
    for (name, text, says) in [
        ("server.pem", "half a file", "server.pem does not hold certificates in PEM"),
        ("server.pem", &format!("{certificate}{key}"), "server.pem cannot be used"),
        ("people.pem", "half a file", "people.pem does not hold certificates in PEM"),
        ("revoked.pem", "half a file", "revoked.pem does not hold certificate revocation lists in PEM"),
    ] {
        let before = fs::read_to_string(folder.path().join(name)).unwrap();
        write(name, text);
        for _ in 0..2 {
            let error = tls.reload().unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
        write(name, &before);
        assert!(tls.reload().unwrap(), "{name} is whole again");
        assert!(!tls.reload().unwrap());
    }
    write("server.pem", "half a file");
    write("people.pem", "half a file");
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("server.pem") && error.contains("people.pem"), "{error}");
    write("server.pem", &good);
    let error = tls.reload().unwrap_err().to_string();
    assert!(!error.contains("server.pem") && error.contains("people.pem"), "{error}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let server = Authority::new("servers");
    fs::write(at("server.pem"), server.server("localhost")).unwrap();
    fs::write(at("text.pem"), "text").unwrap();
    fs::write(at("roots.pem"), &server.pem).unwrap();
    let files = |certificate: &str, key: &str, roots: &str, revoked: &str| ConsoleTlsFiles {
        certificate: at(certificate),
        key: at(key),
        clients: Some(ClientTrust { roots: at(roots), revoked: Some(at(revoked)) }),
    };
    for (files, says) in [
        (files("none.pem", "server.pem", "roots.pem", "text.pem"), "none.pem cannot be read"),
        (files("text.pem", "server.pem", "roots.pem", "text.pem"), "text.pem does not hold certificates"),
        (files("server.pem", "roots.pem", "roots.pem", "text.pem"), "roots.pem does not hold a private key"),
        (files("server.pem", "server.pem", "text.pem", "text.pem"), "text.pem does not hold certificates"),
        (files("server.pem", "server.pem", "roots.pem", "roots.pem"), "does not hold certificate revocation"),
    ] {
        let error = ConsoleTls::open(files).unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_does_not_act_with_a_visitors_certificate() {
    let stage = Stage::set().await;
    let client = stage.people.client(&["uri:spiffe://example.com/ci"]);
    for (headers, status) in [
        ("", "200"),
        ("sec-fetch-site: same-origin\r\norigin: https://localhost\r\n", "200"),
        ("sec-fetch-site: none\r\n", "200"),
        ("origin: https://localhost\r\n", "200"),
        ("sec-fetch-site: cross-site\r\n", "401"),
        ("sec-fetch-site: same-site\r\n", "401"),
        ("origin: https://evil.example\r\n", "401"),
        ("origin: null\r\n", "401"),
        (&format!("origin: https://evil.example\r\nauthorization: Bearer {TOKEN}\r\n"), "200"),
    ] {
        let answer = stage.get(Some(&client), "/vehicles", headers).await.1;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers}: {answer}");
    }
    stage.console.stop().await.unwrap();
}

/// The first bytes of a TLS handshake, and no more.
const HALF_A_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_nothing_hold_up_nobody() {
    let stage = Stage::set().await;
    let addr = stage.console.local_addr();
    let mut silent = Vec::new();
    for n in 0..400 {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        // Fewer than the handshakes that one address may have at a time.
        if n < 100 {
            tcp.write_all(HALF_A_HELLO).await.unwrap();
        }
        silent.push(tcp);
    }
    // Long before any of them is given up.
    let begun = std::time::Instant::now();
    for _ in 0..5 {
        assert_eq!(stage.list(None, Some(TOKEN)).await.unwrap(), 3);
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // One address cannot have more handshakes than its share: who is over it is closed.
    let mut over = JoinSet::new();
    for _ in 0..60 {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        tcp.write_all(HALF_A_HELLO).await.unwrap();
        over.spawn(async move { tcp.read(&mut [0; 64]).await });
    }
    for mut tcp in silent {
        let end = tokio::time::timeout(PATIENCE, tcp.read(&mut [0; 64])).await.expect("it is given up");
        // An alert, an end, or a cut.
        drop(end);
    }
    while over.join_next().await.is_some() {}
    let metrics = stage.metrics().await;
    for reason in ["tls_timeout", "handshakes_exhausted"] {
        assert!(metrics.contains(&format!("reason=\"{reason}\"")), "{reason} in {metrics}");
    }
    assert_eq!(stage.list(None, Some(TOKEN)).await.unwrap(), 3);
    stage.console.stop().await.unwrap();
}

/// A console over TLS for programs that are not ours: its port, and the file with its authority.
pub async fn serve(folder: &Path, settings: ConsoleSettings, sources: ConsoleSources) -> (Console, PathBuf) {
    let authority = Authority::new("servers");
    let (both, root) = (folder.join("server.pem"), folder.join("ca.pem"));
    fs::write(&both, authority.server("localhost")).unwrap();
    fs::write(&root, &authority.pem).unwrap();
    let tls =
        ConsoleTls::open(ConsoleTlsFiles { certificate: both.clone(), key: both, clients: None }).unwrap();
    (Console::secured(settings, tls, sources).await.unwrap(), root)
}
