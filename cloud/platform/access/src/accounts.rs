//! Accounts of the configuration: machines and small teams without an OIDC issuer.

use std::collections::HashMap;

use remuda_model::OrganizationId;

use crate::certificate::{CertificateName, CertificateRefusal, CertifiedAccount, ClientCertificate};
use crate::limits;
use crate::principal::{Grant, Principal, Via};
use crate::reach::Part;
use crate::role::Permission;
use crate::secret::Secret;

/// One account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name: 1 to 64 characters out of a-z, 0-9 and `-`.
    pub name: String,
    /// SHA-256 of its token.
    pub secret: Secret,
    /// What it may do.
    pub grants: Vec<Grant>,
}

/// Why accounts cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// A name that is none.
    #[error("`{0}` is no account's name; use 1 to 64 characters out of a-z, 0-9 and -")]
    Name(String),
    /// Two of the same name, or with the same token.
    #[error("there are two accounts `{0}`, or another account has its token; give each its own")]
    Twice(String),
    /// An account that may do nothing.
    #[error("the account `{0}` has no grant; give it one, such as viewer")]
    NoGrant(String),
    /// Two of the same name with certificates.
    #[error("there are two accounts `{0}` with certificates; name all of its certificates in one")]
    CertifiedTwice(String),
    /// A certificate's name that two accounts have.
    #[error("two accounts have the certificate `{0}`; give each its own")]
    CertificateTwice(CertificateName),
    /// Too many.
    #[error("there are {0} accounts, more than {max}; use an OIDC issuer for so many", max = limits::ACCOUNTS_MAX)]
    TooMany(usize),
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    with_tokens: Vec<Account>,
    certified: Vec<CertifiedAccount>,
    /// Which of them has a certificate of this name.
    by_certificate: HashMap<CertificateName, usize>,
}

impl Accounts {
    /// Checked.
    ///
    /// # Errors
    /// When one cannot be used.
    pub fn new(accounts: Vec<Account>) -> Result<Self, AccountError> {
        if accounts.len() > limits::ACCOUNTS_MAX {
            return Err(AccountError::TooMany(accounts.len()));
        }
        for (n, account) in accounts.iter().enumerate() {
            check(&account.name, &account.grants)?;
            let same = |other: &Account| other.name == account.name || other.secret == account.secret;
            if accounts[..n].iter().any(same) {
                return Err(AccountError::Twice(account.name.clone()));
            }
        }
        Ok(Self { with_tokens: accounts, ..Self::default() })
    }

    /// These, and those that are known by certificates.
    ///
    /// # Errors
    /// When one cannot be used.
    pub fn with_certificates(self, certified: Vec<CertifiedAccount>) -> Result<Self, AccountError> {
        if certified.len() > limits::ACCOUNTS_MAX {
            return Err(AccountError::TooMany(certified.len()));
        }
        let mut by_certificate = HashMap::new();
        for (n, account) in certified.iter().enumerate() {
            check(&account.name, &account.grants)?;
            if certified[..n].iter().any(|other| other.name == account.name) {
                return Err(AccountError::CertifiedTwice(account.name.clone()));
            }
            for name in &account.certificates {
                if by_certificate.insert(name.clone(), n).is_some_and(|other| other != n) {
                    return Err(AccountError::CertificateTwice(name.clone()));
                }
            }
        }
        Ok(Self { certified, by_certificate, ..self })
    }

    /// Whose certificate this is, which the TLS library believes.
    ///
    /// # Errors
    /// When it is nobody's, or of more than one.
    pub fn of_certificate(&self, certificate: &ClientCertificate) -> Result<Principal, CertificateRefusal> {
        let mut found = certificate.names().iter().filter_map(|name| self.by_certificate.get(name));
        let account = *found.next().ok_or(CertificateRefusal::Unknown)?;
        if found.any(|other| *other != account) {
            return Err(CertificateRefusal::Ambiguous);
        }
        let account = &self.certified[account];
        Ok(Principal::new(format!("account/{}", account.name), account.grants.clone(), Via::Certificate))
    }

    /// Whether any of them may do something in all of an organisation.
    pub fn some_may(&self, permission: Permission, organization: OrganizationId) -> bool {
        let tokens = self.with_tokens.iter().map(|account| &account.grants);
        let mut all = tokens.chain(self.certified.iter().map(|account| &account.grants)).flatten();
        all.any(|grant| {
            grant.organization == organization && grant.part == Part::Whole && grant.role.permits(permission)
        })
    }

    /// Whose token this is. Looks at all of them, so that the time says nothing.
    pub fn find(&self, token: &str) -> Option<Principal> {
        // Hashed once, and never much: whoever sends it has not said who they are yet.
        if token.len() > limits::TOKEN_BYTES_MAX {
            return None;
        }
        let (offered, mut found) = (Secret::of(token), None);
        for account in &self.with_tokens {
            if account.secret.is(&offered) {
                found = Some(account);
            }
        }
        found.map(|account| {
            Principal::new(format!("account/{}", account.name), account.grants.clone(), Via::Account)
        })
    }
}

fn check(name: &str, grants: &[Grant]) -> Result<(), AccountError> {
    let permitted = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(permitted) {
        return Err(AccountError::Name(name.to_owned()));
    }
    if grants.is_empty() {
        return Err(AccountError::NoGrant(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, token: &str) -> Account {
        Account { name: name.into(), secret: Secret::of(token), grants: vec!["viewer".parse().unwrap()] }
    }

    #[test]
    fn a_token_finds_its_account() {
        let accounts =
            Accounts::new(vec![account("day", "a-long-secret"), account("night", "another")]).unwrap();
        assert_eq!(accounts.find("another").unwrap().subject, "account/night");
        assert!(accounts.find("a-long-secreT").is_none());
    }

    #[test]
    fn accounts_are_checked() {
        let grantless = Account { grants: vec![], ..account("day", "x") };
        for (wrong, says) in [
            (vec![account("Day", "x")], "a-z"),
            (vec![account("day", "x"), account("day", "y")], "two"),
            (vec![account("day", "x"), account("night", "x")], "two"),
            (vec![grantless], "grant"),
        ] {
            let error = Accounts::new(wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn certified_accounts_are_checked() {
        let certified = |name: &str, of: &[&str]| CertifiedAccount {
            name: name.into(),
            certificates: of.iter().map(|name| name.parse().unwrap()).collect(),
            grants: vec!["viewer".parse().unwrap()],
        };
        let with = |accounts| Accounts::default().with_certificates(accounts);
        assert!(with(vec![certified("day", &["cn:a", "dns:b"]), certified("night", &["cn:b"])]).is_ok());
        let grantless = CertifiedAccount { grants: vec![], ..certified("day", &["cn:a"]) };
        for (wrong, says) in [
            (vec![certified("Day", &["cn:a"])], "a-z"),
            (vec![certified("day", &["cn:a"]), certified("day", &["cn:b"])], "two accounts"),
            (vec![certified("day", &["dns:A"]), certified("night", &["dns:a"])], "`dns:a`"),
            (vec![grantless], "grant"),
        ] {
            let error = with(wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
