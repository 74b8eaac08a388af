//! Bounds, each with its reason.

use std::time::Duration;

/// Longest bearer token that is looked at, bytes: JWTs of large companies have some KB of groups.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Longest answer of an issuer, bytes: a hundred keys with their certificates.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Keys of an issuer that are kept.
pub const KEYS_MAX: usize = 128;
/// How long a request to an issuer may take.
pub const FETCH_PATIENCE: Duration = Duration::from_secs(10);
/// Keys are fetched again at the latest after this: a key that was withdrawn is believed so long.
pub const KEYS_FRESH: Duration = Duration::from_secs(300);
/// Keys are not fetched more often than this for tokens with unknown keys: anybody can send such tokens.
pub const KEYS_PAUSE: Duration = Duration::from_secs(5);
/// How long a caller whose key is not at hand waits for a fetch that is under way. Shorter than [`FETCH_PATIENCE`]: an issuer
/// that says nothing must not hold its callers.
pub const KEYS_WAIT: Duration = Duration::from_secs(2);
/// Longest name by which journals and the audit log know somebody, bytes: it stands in every fact about what they did. As
/// long as an e-mail address may be, and an issuer's own name for somebody (OpenID Connect Core, 2).
pub const SUBJECT_BYTES_MAX: usize = 256;
/// Seconds by which clocks of issuer and node may differ.
pub const LEEWAY_S: u64 = 30;
/// Callers whose rates are remembered; the ones longest unseen are forgotten.
pub const CALLERS_MAX: usize = 10_000;
/// Accounts in the configuration.
pub const ACCOUNTS_MAX: usize = 1_000;
/// Grants of one principal: one a fleet, depot or organisation.
pub const GRANTS_MAX: usize = 100;
/// Names of a client certificate that are looked at: a host's certificate has a few dozen at most.
pub const CERTIFICATE_NAMES_MAX: usize = 100;
/// Longest name of a client certificate, bytes: what a SPIFFE id may have.
pub const CERTIFICATE_NAME_BYTES_MAX: usize = 2_048;
/// Longest name of a fleet or depot in a grant, bytes: as long as it may be in a vehicle's record.
pub const PART_NAME_BYTES_MAX: usize = 256;
