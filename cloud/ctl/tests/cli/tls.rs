//! TLS: who vouches for the server, and client certificates.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use super::contexts::said;
use super::{Fake, TOKEN, serve};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, host: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

struct Files(tempfile::TempDir);

impl Files {
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.at(name), text).unwrap();
        self.at(name).display().to_string()
    }
}

async fn run(contexts: &Path, more: &[&str]) -> (i32, String, String) {
    said(contexts, &[&["vehicles", "list", "-o", "name", "--limit", "1"], more].concat()).await
}

#[tokio::test]
async fn a_server_is_believed_by_its_authority_and_a_client_by_its_certificate() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let (certificate, key) = authority.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(&authority.pem))
        .client_auth_optional(true);
    let server = Server::builder().tls_config(tls).unwrap();
    let port = serve(server, Fake { certificates: true, ..Fake::default() }).await.port();
    let server = format!("https://localhost:{port}");
    let files = Files(tempfile::tempdir().unwrap());
    let contexts = files.at("contexts.toml");
    let (ca, foreign) = (files.write("ca.pem", &authority.pem), files.write("other.pem", &other.pem));
    let token = ["--server", &server, "--token", TOKEN];

    let (code, names, errors) = run(&contexts, &[&token[..], &["--ca", &ca]].concat()).await;
    assert_eq!((code, names.lines().count(), errors.as_str()), (0, 1, ""));
    let (code, _, errors) = run(&contexts, &[&token[..], &["--ca", &foreign]].concat()).await;
    assert!(
        code == 1 && errors.contains("UnknownIssuer") && errors.contains("--ca names the file"),
        "{errors}"
    );

    let (certificate, key) = authority.issue("ci", ExtendedKeyUsagePurpose::ClientAuth);
    let (cert, key) = (files.write("ci.pem", &certificate), files.write("ci.key", &key));
    let by = |cert: &str, key: &str| {
        ["--server", &server, "--ca", &ca, "--cert", cert, "--key", key].map(str::to_owned)
    };
    let with = async |flags: [String; 8]| run(&contexts, &flags.each_ref().map(String::as_str)).await;
    let (code, names, errors) = with(by(&cert, &key)).await;
    assert_eq!((code, names.lines().count(), errors.as_str()), (0, 1, ""), "no token is needed");
    let (certificate, strangers) = other.issue("ci", ExtendedKeyUsagePurpose::ClientAuth);
    let (stranger, strangers) = (files.write("s.pem", &certificate), files.write("s.key", &strangers));
    let refused = by(&stranger, &strangers);
    let refused = [refused.each_ref().map(String::as_str).as_slice(), &["--timeout", "2"]].concat();
    let (code, _, errors) = run(&contexts, &refused).await;
    assert!(code == 1 && errors.contains("--cert"), "{errors}");
    for (cert, key, says) in [
        (&cert, &cert, "ci.pem does not hold a private key"),
        (&key, &key, "ci.key does not hold certificates"),
        (&cert, &"/nowhere".to_owned(), "/nowhere cannot be read"),
    ] {
        let (code, _, errors) = with(by(cert, key)).await;
        assert!(code == 2 && errors.contains(says), "{errors}");
    }

    // All of it in a context.
    let set = ["contexts", "set", "prod", "--server", &server, "--ca", &ca, "--cert", &cert, "--key", &key];
    assert_eq!(said(&contexts, &set).await.0, 0);
    let (code, names, errors) = run(&contexts, &[]).await;
    assert_eq!((code, names.lines().count(), errors.as_str()), (0, 1, ""));
    let (_, table, _) = said(&contexts, &["contexts", "list"]).await;
    assert!(table.contains("certificate"), "{table}");

    // Plain text where TLS is spoken, and the other way round.
    let plain = server.replace("https", "http");
    let (code, _, errors) = run(&contexts, &["--server", &plain, "--token", TOKEN, "--timeout", "2"]).await;
    assert!(code == 1 && errors.contains("its address begins with https://"), "{errors}");
    let bare = serve(Server::builder(), Fake::default()).await.port();
    let bare = format!("https://localhost:{bare}");
    let (code, _, errors) = run(&contexts, &["--server", &bare, "--token", TOKEN, "--ca", &ca]).await;
    assert!(code == 1 && errors.contains("does it speak TLS?"), "{errors}");
}
