//! Who may call the console, out of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use remuda_access::{Account, Accounts, Fetcher, Grant, Oidc, OidcSettings, Rate, RateLimiter, Secret};
use remuda_console::Access;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::config::Console;

/// An account of a machine or a person.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// 1 to 64 characters out of a-z, 0-9 and `-`; journals and the audit log say `account/NAME`.
    pub name: String,
    /// SHA-256 of its token, 64 hexadecimal digits. `printf %s TOKEN | sha256sum` prints it.
    pub token_sha256: String,
    /// What it may do: `ROLE` or `ORGANIZATION:ROLE`; roles are viewer, dispatcher, operator, firmware and admin.
    pub grants: Vec<String>,
}

/// An OpenID Connect issuer, whose tokens people show.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// Its address, exactly as it stands in its tokens.
    pub issuer: String,
    /// What tokens for this console carry as `aud`.
    pub audience: String,
    /// The claim that names somebody.
    #[serde(default = "email")]
    pub subject_claim: String,
    /// The claim with groups.
    #[serde(default = "groups")]
    pub roles_claim: String,
    /// Whether that claim may also hold grants as `ORGANIZATION:ROLE`. Not where people can make groups: one of them could
    /// be called `default:admin`.
    #[serde(default)]
    pub grants_in_token: bool,
    /// What a group is granted: `GROUP = "ORGANIZATION:ROLE"`.
    #[serde(default)]
    pub groups: BTreeMap<String, String>,
    /// PEM file of a certificate authority to trust beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

fn email() -> String {
    "email".into()
}

fn groups() -> String {
    "groups".into()
}

fn grant(text: &str, key: &str) -> Result<Grant, String> {
    text.parse().map_err(|e: remuda_access::GrantError| format!("{key}: {e}"))
}

/// The accounts and the issuer that a configuration names.
///
/// # Errors
/// A sentence with the key that cannot be used.
pub fn access(console: &Console) -> Result<Access, String> {
    let accounts = console.accounts.iter().map(|account| {
        let key = format!("console.accounts `{}`", account.name);
        let secret = Secret::from_hex(&account.token_sha256)
            .ok_or_else(|| format!("{key}: token_sha256 must have 64 hexadecimal digits"))?;
        let grants: Result<_, String> = account.grants.iter().map(|text| grant(text, &key)).collect();
        Ok(Account { name: account.name.clone(), secret, grants: grants? })
    });
    let accounts = accounts.collect::<Result<_, String>>()?;
    let accounts = Accounts::new(accounts).map_err(|e| format!("console.accounts: {e}"))?;
    let oidc = console.oidc.as_ref().map(oidc).transpose()?;
    let rate =
        Rate { per_second: f64::from(console.calls_per_second), burst: f64::from(console.calls_burst) };
    Ok(Access {
        accounts: Arc::new(accounts),
        oidc: oidc.map(Arc::new),
        rate: Arc::new(RateLimiter::new(rate)),
    })
}

fn oidc(config: &OidcConfig) -> Result<Oidc, String> {
    let key = |text: String| format!("console.oidc: {text}");
    let mut extra: Vec<CertificateDer<'static>> = Vec::new();
    if let Some(file) = &config.ca_file {
        let unreadable = |e: rustls::pki_types::pem::Error| key(format!("ca_file {}: {e}", file.display()));
        for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
            extra.push(certificate.map_err(unreadable)?);
        }
    }
    let groups =
        config.groups.iter().map(|(group, text)| Ok((group.clone(), grant(text, "console.oidc.groups")?)));
    let settings = OidcSettings {
        issuer: config.issuer.clone(),
        audience: config.audience.clone(),
        subject_claim: config.subject_claim.clone(),
        roles_claim: config.roles_claim.clone(),
        grants_in_token: config.grants_in_token,
        groups: groups.collect::<Result<_, String>>()?,
    };
    let fetcher = Fetcher::new(extra).map_err(|e| key(e.to_string()))?;
    Oidc::new(settings, fetcher).map_err(|e| key(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named() {
        let account = |sha: &str, grant: &str| AccountConfig {
            name: "ci".into(),
            token_sha256: sha.into(),
            grants: vec![grant.into()],
        };
        let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let with = |accounts| Console { accounts, ..Console::default() };
        let good = access(&with(vec![account(hash, "operator")])).expect("fine");
        assert_eq!(good.accounts.find("test").expect("its token").subject, "account/ci");
        for (wrong, says) in [(account("12", "operator"), "64"), (account(hash, "root"), "viewer")] {
            let sentence = access(&with(vec![wrong])).expect_err("wrong");
            assert!(sentence.contains("`ci`") && sentence.contains(says), "{sentence}");
        }
        let oidc = OidcConfig {
            issuer: "http://example.com".into(),
            audience: "remuda".into(),
            subject_claim: email(),
            roles_claim: groups(),
            grants_in_token: false,
            groups: BTreeMap::new(),
            ca_file: None,
        };
        let sentence = access(&Console { oidc: Some(oidc), ..Console::default() }).expect_err("no TLS");
        assert!(sentence.contains("console.oidc") && sentence.contains("https"), "{sentence}");
    }
}
