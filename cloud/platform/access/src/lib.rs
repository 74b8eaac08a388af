//! Who a person or a machine is, and what their role lets them do (DESIGN D13).
//!
//! Owns: roles and their permissions, grants, principals, accounts with tokens or certificates, OIDC tokens (discovery, key rotation), a
//! rate limit per caller. Deliberately absent: vehicles' certificates (`remuda-identity`), transport (`remuda-console`
//! asks), and what each method needs (the protos say it).

mod accounts;
mod certificate;
mod fetch;
pub mod limits;
mod oidc;
mod principal;
mod rate;
mod reach;
mod role;
mod secret;

pub use accounts::{Account, AccountError, Accounts};
pub use certificate::{
    CertificateName, CertificateNameError, CertificateRefusal, CertifiedAccount, ClientCertificate,
};
pub use fetch::{FetchError, Fetcher, is_loopback};
pub use oidc::{Oidc, OidcClaims, OidcError, OidcSettings, TokenRefusal, end_of_token};
pub use principal::{Grant, GrantError, Principal, Via};
pub use rate::{Rate, RateLimiter, RateRefusal};
pub use reach::{Part, Reach};
pub use role::{Permission, Role, UnknownRole};
pub use secret::Secret;
