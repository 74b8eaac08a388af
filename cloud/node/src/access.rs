//! Who may call the console, out of the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use remuda_access::{
    Account, AccountError, Accounts, CertificateName, CertificateNameError, CertifiedAccount, Fetcher, Grant,
    Oidc, OidcSettings, Part, Permission, Rate, RateLimiter, Secret,
};
use remuda_console::{Access, Token};
use remuda_model::OrganizationId;
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
    /// SHA-256 of its token, 64 hexadecimal digits. `printf %s TOKEN | sha256sum` prints it. Empty: it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token_sha256: String,
    /// Names of its client certificates: `cn:NAME`, `uri:URI`, `dns:HOST` or `email:ADDRESS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// What it may do: `ROLE`, `ORGANIZATION:ROLE`, `ORGANIZATION/fleets/FLEET:ROLE` or `ORGANIZATION/depots/DEPOT:ROLE`; roles are viewer, dispatcher, operator, firmware and admin.
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
    /// What a group is granted: `GROUP = "ORGANIZATION:ROLE"`, or on a fleet or depot as in `accounts`.
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
    let (mut with_tokens, mut certified) = (Vec::new(), Vec::new());
    for account in &console.accounts {
        let key = format!("console.accounts `{}`", account.name);
        let grants: Result<Vec<_>, String> = account.grants.iter().map(|text| grant(text, &key)).collect();
        let grants = grants?;
        if account.token_sha256.is_empty() && account.certificates.is_empty() {
            return Err(format!(
                "{key}: it has neither a token_sha256 nor certificates; give it one of them"
            ));
        }
        if !account.token_sha256.is_empty() {
            let secret = Secret::from_hex(&account.token_sha256)
                .ok_or_else(|| format!("{key}: token_sha256 must have 64 hexadecimal digits"))?;
            with_tokens.push(Account { name: account.name.clone(), secret, grants: grants.clone() });
        }
        if !account.certificates.is_empty() {
            let names = account
                .certificates
                .iter()
                .map(|name| name.parse().map_err(|e: CertificateNameError| format!("{key}: {e}")));
            let certificates = names.collect::<Result<Vec<CertificateName>, String>>()?;
            certified.push(CertifiedAccount { name: account.name.clone(), certificates, grants });
        }
    }
    let accounts = Accounts::new(with_tokens).and_then(|accounts| accounts.with_certificates(certified));
    let accounts = accounts.map_err(|e| format!("console.accounts: {e}"))?;
    // One with a token and one with certificates would be one subject with two sets of grants.
    let mut names = BTreeSet::new();
    if let Some(twice) = console.accounts.iter().find(|account| !names.insert(&account.name)) {
        return Err(format!("console.accounts: {}", AccountError::Twice(twice.name.clone())));
    }
    let oidc = console.oidc.as_ref().map(oidc).transpose()?;
    let rate =
        Rate { per_second: f64::from(console.calls_per_second), burst: f64::from(console.calls_burst) };
    Ok(Access {
        accounts: Arc::new(accounts),
        oidc: oidc.map(Arc::new),
        rate: Arc::new(RateLimiter::new(rate)),
    })
}

/// Grants on fleets and depots mean something only where records say where vehicles belong.
///
/// # Errors
/// A sentence with the first that means nothing here.
pub fn parts_have_records(console: &Console, business: bool) -> Result<(), String> {
    let accounts = console.accounts.iter().flat_map(|account| &account.grants);
    let groups = console.oidc.iter().flat_map(|oidc| oidc.groups.values());
    let narrow = |text: &&String| text.parse::<Grant>().is_ok_and(|grant| grant.part != Part::Whole);
    match accounts.chain(groups).find(narrow) {
        Some(text) if !business => Err(format!(
            "console: the grant `{text}` is on a part of the organisation, but without a ride business nothing records which \
             vehicles belong to it; set business.enabled = true, or grant the role on the organisation"
        )),
        _ => Ok(()),
    }
}

/// Whether somebody besides the node's own token may agree to what one person may not do alone.
pub fn has_second_person(access: &Access, organization: OrganizationId) -> bool {
    access.oidc.is_some() || access.accounts.some_may(Permission::CommandsApprove, organization)
}

/// A new account: its token, to be told once, and what of it stands in the configuration.
///
/// # Errors
/// A sentence about a name or a grant that is none, or when the system gives no random numbers.
pub fn new_account(name: &str, grants: &[String]) -> Result<(Token, String), String> {
    let parsed: Result<Vec<Grant>, String> = grants.iter().map(|text| grant(text, "--grant")).collect();
    let token = Token::random().map_err(|e| e.to_string())?;
    let secret = Secret::of(token.reveal());
    let account = Account { name: name.to_owned(), secret, grants: parsed? };
    Accounts::new(vec![account]).map_err(|e| e.to_string())?;
    let config = AccountConfig {
        name: name.to_owned(),
        token_sha256: Secret::of(token.reveal()).to_hex(),
        certificates: Vec::new(),
        grants: grants.to_vec(),
    };
    let table = BTreeMap::from([("console", BTreeMap::from([("accounts", vec![config])]))]);
    Ok((token, toml::to_string(&table).map_err(|e| e.to_string())?))
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
            certificates: vec![],
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
        let certified = AccountConfig { certificates: vec!["CN=ci".into()], ..account("", "viewer") };
        for (wrong, says) in [(account("", "viewer"), "neither"), (certified, "cn:NAME")] {
            let sentence = access(&with(vec![wrong])).expect_err("wrong");
            assert!(sentence.contains("`ci`") && sentence.contains(says), "{sentence}");
        }
        let by_certificate = AccountConfig { certificates: vec!["cn:ci".into()], ..account("", "admin") };
        let both = AccountConfig { certificates: vec!["cn:ci".into()], ..account(hash, "viewer") };
        assert!(access(&with(vec![both])).is_ok(), "one account may have both");
        let sentence = access(&with(vec![account(hash, "viewer"), by_certificate])).expect_err("one name");
        assert!(sentence.contains("two accounts `ci`"), "{sentence}");
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

    #[test]
    fn a_new_account_is_one_that_the_configuration_takes() {
        let (token, toml) = new_account("ada", &["default/fleets/north:operator".into()]).expect("fine");
        assert!(!toml.contains(token.reveal()), "only its hash is kept");
        #[derive(Deserialize)]
        struct File {
            console: Console,
        }
        let file: File = toml::from_str(&toml).expect("TOML");
        let made = access(&file.console).expect("fine");
        assert_eq!(made.accounts.find(token.reveal()).expect("its token").subject, "account/ada");
        assert!(!has_second_person(&made, OrganizationId::default()), "of a fleet only");
        assert!(parts_have_records(&file.console, true).is_ok());
        let sentence = parts_have_records(&file.console, false).expect_err("no records");
        assert!(sentence.contains("fleets/north") && sentence.contains("business.enabled"), "{sentence}");
        let (_, toml) = new_account("bob", &["viewer".into(), "operator".into()]).expect("fine");
        let file: File = toml::from_str(&toml).expect("TOML");
        let made = access(&file.console).expect("fine");
        assert!(has_second_person(&made, OrganizationId::default()));
        assert!(!has_second_person(&Access::default(), OrganizationId::default()));
        for (name, grants, says) in
            [("Ada", vec!["viewer"], "a-z"), ("ada", vec![], "no grant"), ("ada", vec!["root"], "viewer")]
        {
            let grants: Vec<String> = grants.into_iter().map(str::to_owned).collect();
            let sentence = new_account(name, &grants).expect_err("wrong");
            assert!(sentence.contains(says), "{sentence}");
        }
    }
}
