//! TLS on the console's port, out of the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use remuda_console::{ClientTrust, ConsoleTls, ConsoleTlsError, ConsoleTlsFiles};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, Console};

/// Whose certificate the console shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// None: it speaks plain text.
    #[default]
    Off,
    /// One of the embedded authority's, for `identity.server_names`; renewed by itself.
    Embedded,
    /// That of `certificate_file` and `key_file`.
    Files,
}

/// TLS on the console's port.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleTlsConfig {
    /// `off`, `embedded` or `files`.
    pub mode: TlsMode,
    /// The server's certificate chain, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// Its key, PEM; may be the same file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Certificates of the authorities whose client certificates are believed, PEM. None: clients are not asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_trust_file: Option<PathBuf>,
    /// Revocation lists, PEM: one of each authority above a client's certificate, the root among them. None: nothing is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_revoked_file: Option<PathBuf>,
}

/// Checks what the console's section says of TLS.
pub(crate) fn check(console: &Console) -> Result<(), ConfigError> {
    let wrong = |key, value: &str, must| Err(ConfigError::Range { key, value: value.to_owned(), must });
    let tls = &console.tls;
    if tls.mode == TlsMode::Off && !console.listen.ip().is_loopback() && !console.allow_plain_text {
        return wrong(
            "console.listen",
            &console.listen.to_string(),
            "a loopback address such as 127.0.0.1:7070 while console.tls.mode is off; set console.tls.mode to `embedded` or \
             `files`, or console.allow_plain_text to true where a proxy in front ends TLS",
        );
    }
    let files = (&tls.certificate_file, &tls.key_file);
    match (tls.mode, files) {
        (TlsMode::Files, (Some(_), Some(_))) | (TlsMode::Off | TlsMode::Embedded, (None, None)) => {}
        (TlsMode::Files, _) => {
            let must = "named together with console.tls.key_file when console.tls.mode is `files`";
            return wrong("console.tls.certificate_file", "missing, or alone", must);
        }
        _ => {
            let must = "named only when console.tls.mode is `files`";
            return wrong("console.tls.certificate_file (or key_file)", "named", must);
        }
    }
    if tls.mode == TlsMode::Off && tls.client_trust_file.is_some() {
        let must = "named only when console.tls.mode is `embedded` or `files`";
        return wrong("console.tls.client_trust_file", "named", must);
    }
    if tls.client_trust_file.is_none() {
        if tls.client_revoked_file.is_some() {
            let must = "named only together with console.tls.client_trust_file";
            return wrong("console.tls.client_revoked_file", "named", must);
        }
        if let Some(account) = console.accounts.iter().find(|account| !account.certificates.is_empty()) {
            let must = "without certificates, unless console.tls.client_trust_file says whose are believed";
            return wrong("console.accounts", &format!("`{}`", account.name), must);
        }
    }
    Ok(())
}

/// The console's TLS, if it has any. `embedded` is the file with the embedded authority's certificate and key.
pub(crate) fn open(
    config: &ConsoleTlsConfig,
    embedded: Option<&PathBuf>,
) -> Result<Option<Arc<ConsoleTls>>, ConsoleTlsError> {
    let (certificate, key) = match config.mode {
        TlsMode::Off => return Ok(None),
        TlsMode::Embedded => (embedded, embedded),
        TlsMode::Files => (config.certificate_file.as_ref(), config.key_file.as_ref()),
    };
    // What was checked is there.
    let (Some(certificate), Some(key)) = (certificate, key) else { return Ok(None) };
    let clients = config.client_trust_file.clone();
    let files = ConsoleTlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
        clients: clients.map(|roots| ClientTrust { roots, revoked: config.client_revoked_file.clone() }),
    };
    ConsoleTls::open(files).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::AccountConfig;

    fn sentence(console: Console) -> Option<String> {
        check(&console).err().map(|error| error.to_string())
    }

    #[test]
    fn plain_text_leaves_the_machine_only_when_it_is_asked_for() {
        let outside = || Console { listen: ([0, 0, 0, 0], 7070).into(), ..Console::default() };
        let said = sentence(outside()).expect("refused");
        for part in ["console.listen is 0.0.0.0:7070", "console.tls.mode", "allow_plain_text"] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(sentence(Console { allow_plain_text: true, ..outside() }), None);
        let embedded = ConsoleTlsConfig { mode: TlsMode::Embedded, ..ConsoleTlsConfig::default() };
        assert_eq!(sentence(Console { tls: embedded, ..outside() }), None);
        assert_eq!(sentence(Console::default()), None);
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let file = || Some(PathBuf::from("x.pem"));
        let usual = ConsoleTlsConfig::default;
        let account = AccountConfig {
            name: "ci".into(),
            token_sha256: String::new(),
            certificates: vec!["cn:ci".into()],
            grants: vec!["viewer".into()],
        };
        let uncertified = Console { accounts: vec![account], ..Console::default() };
        assert!(sentence(uncertified).is_some_and(|said| said.contains("`ci`")));
        for (tls, key) in [
            (ConsoleTlsConfig { mode: TlsMode::Files, ..usual() }, "certificate_file"),
            (ConsoleTlsConfig { mode: TlsMode::Files, key_file: file(), ..usual() }, "certificate_file"),
            (ConsoleTlsConfig { mode: TlsMode::Embedded, key_file: file(), ..usual() }, "key_file"),
            (ConsoleTlsConfig { client_trust_file: file(), ..usual() }, "client_trust_file"),
            (
                ConsoleTlsConfig { mode: TlsMode::Embedded, client_revoked_file: file(), ..usual() },
                "client_revoked_file",
            ),
        ] {
            let said = sentence(Console { tls, ..Console::default() }).expect(key);
            assert!(said.contains(key), "{said}");
        }
    }
}
