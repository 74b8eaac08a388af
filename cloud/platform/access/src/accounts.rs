//! Accounts of the configuration: machines and small teams without an OIDC issuer.

use crate::limits;
use crate::principal::{Grant, Principal, Via};
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
    /// Too many.
    #[error("there are {0} accounts, more than {max}; use an OIDC issuer for so many", max = limits::ACCOUNTS_MAX)]
    TooMany(usize),
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Accounts(Vec<Account>);

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
            let permitted = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if !(1..=64).contains(&account.name.len()) || !account.name.bytes().all(permitted) {
                return Err(AccountError::Name(account.name.clone()));
            }
            if account.grants.is_empty() {
                return Err(AccountError::NoGrant(account.name.clone()));
            }
            let same = |other: &Account| other.name == account.name || other.secret == account.secret;
            if accounts[..n].iter().any(same) {
                return Err(AccountError::Twice(account.name.clone()));
            }
        }
        Ok(Self(accounts))
    }

    /// Whose token this is. Looks at all of them, so that the time says nothing.
    pub fn find(&self, token: &str) -> Option<Principal> {
        // Hashed once, and never much: whoever sends it has not said who they are yet.
        if token.len() > limits::TOKEN_BYTES_MAX {
            return None;
        }
        let (offered, mut found) = (Secret::of(token), None);
        for account in &self.0 {
            if account.secret.is(&offered) {
                found = Some(account);
            }
        }
        found.map(|account| {
            Principal::new(format!("account/{}", account.name), account.grants.clone(), Via::Account)
        })
    }
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
}
