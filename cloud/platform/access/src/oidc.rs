//! Tokens of an OpenID Connect issuer: discovery, keys that rotate, claims that become grants.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::fetch::{FetchError, Fetcher, is_loopback};
use crate::limits;
use crate::principal::{Grant, Principal, Via};

/// Signatures that are believed. No shared secrets: who checks such a token could also make one.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
];

/// Whom to believe, and how claims become grants.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The issuer's address, exactly as it stands in its tokens.
    pub issuer: String,
    /// What tokens for this console carry as `aud`.
    pub audience: String,
    /// The claim that names somebody, such as `email`; `sub` where it is missing.
    pub subject_claim: String,
    /// The claim with groups, a text or a list of texts.
    pub roles_claim: String,
    /// Whether that claim may also hold grants (`ORGANIZATION:ROLE`): only where nobody can name groups as they like.
    pub grants_in_token: bool,
    /// What a group is granted.
    pub groups: Vec<(String, Grant)>,
}

/// Why an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// A setting that is wrong.
    #[error("{0}")]
    Setting(String),
    /// The issuer's documents cannot be had.
    #[error("the issuer's documents cannot be fetched")]
    Fetch(#[from] FetchError),
    /// The issuer's documents are not what they should be.
    #[error("the issuer's {document} cannot be used: {problem}")]
    Document {
        /// Which.
        document: &'static str,
        /// Why.
        problem: String,
    },
}

/// Why a token is not believed. Says nothing that helps to forge one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Not a token, or not signed by the issuer for this console.
    #[error("the token is not one of the issuer's for this console ({0})")]
    Invalid(&'static str),
    /// Its time is over.
    #[error("the token has expired; log in again")]
    Expired,
    /// A true token that grants nothing here.
    #[error("the token grants no role here; ask your administrator for one")]
    NoGrant,
    /// A true token of somebody whose name does not fit into journals.
    #[error(
        "the token's `{0}` is longer than {max} bytes, too long for journals; ask your administrator for a shorter one",
        max = limits::SUBJECT_BYTES_MAX
    )]
    SubjectTooLong(String),
    /// The issuer's keys cannot be had at the moment.
    #[error("the issuer's keys cannot be fetched at the moment; try again")]
    Unavailable,
}

/// What a token says.
pub type OidcClaims = Map<String, Value>;

/// When a token ends by its own `exp`, Unix seconds; none when it does not say, or is no JWT. Nothing of it is checked: this is for
/// whoever holds a token, and not for whom it is shown to.
pub fn end_of_token(token: &str) -> Option<i64> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims: OidcClaims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    // It may have a fraction (RFC 7519 section 2).
    claims.get("exp")?.as_f64().map(|end| end as i64)
}

#[derive(Default)]
struct Keys {
    set: Vec<Jwk>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    /// The last fetch failed.
    failing: bool,
}

/// An issuer and its keys.
pub struct Oidc {
    settings: OidcSettings,
    source: Arc<Source>,
}

/// Where keys come from: a fetch outlives the caller who caused it.
struct Source {
    issuer: String,
    fetcher: Fetcher,
    keys: parking_lot::RwLock<Keys>,
    /// One fetch at a time; who waits for its end waits for this.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oidc").field("issuer", &self.settings.issuer).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Oidc {
    /// An issuer whose keys are fetched when the first token comes.
    ///
    /// # Errors
    /// When a setting cannot be right.
    pub fn new(settings: OidcSettings, fetcher: Fetcher) -> Result<Self, OidcError> {
        let setting = |text: String| Err(OidcError::Setting(text));
        let uri: Result<hyper::Uri, _> = settings.issuer.parse();
        let secure = uri.is_ok_and(|uri| match (uri.scheme_str(), uri.host()) {
            (Some("https"), Some(_)) => uri.query().is_none(),
            (Some("http"), Some(host)) => is_loopback(host) && uri.query().is_none(),
            _ => false,
        });
        if !secure {
            return setting(format!(
                "issuer: `{}` is no https:// address (http:// on loopback only)",
                settings.issuer
            ));
        }
        for (key, value) in [
            ("audience", &settings.audience),
            ("subject_claim", &settings.subject_claim),
            ("roles_claim", &settings.roles_claim),
        ] {
            if value.is_empty() {
                return setting(format!("{key}: it is empty"));
            }
        }
        let source = Source {
            issuer: settings.issuer.clone(),
            fetcher,
            keys: parking_lot::RwLock::default(),
            fetching: Arc::default(),
        };
        Ok(Self { settings, source: Arc::new(source) })
    }

    /// Fetches the issuer's keys, so that a wrong address is found at start-up.
    ///
    /// # Errors
    /// When they cannot be had or are not what they should be.
    pub async fn refresh(&self) -> Result<(), OidcError> {
        self.source.refresh().await
    }

    /// Who shows a token.
    ///
    /// # Errors
    /// [`TokenRefusal`] when it is not believed or grants nothing.
    pub async fn verify(&self, token: &str) -> Result<Principal, TokenRefusal> {
        if token.len() > limits::TOKEN_BYTES_MAX {
            return Err(TokenRefusal::Invalid("too long"));
        }
        let header = decode_header(token).map_err(|_| TokenRefusal::Invalid("form"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenRefusal::Invalid("algorithm"));
        }
        let key = self.key(header.kid.as_deref()).await?;
        let key = DecodingKey::from_jwk(&key).map_err(|_| TokenRefusal::Invalid("key"))?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = limits::LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_audience(&[&self.settings.audience]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = decode::<OidcClaims>(token, &key, &validation).map_err(|error| {
            use jsonwebtoken::errors::ErrorKind;
            match error.kind() {
                ErrorKind::ExpiredSignature => TokenRefusal::Expired,
                ErrorKind::InvalidIssuer => TokenRefusal::Invalid("issuer"),
                ErrorKind::InvalidAudience => TokenRefusal::Invalid("audience"),
                ErrorKind::MissingRequiredClaim(_) => TokenRefusal::Invalid("claims"),
                _ => TokenRefusal::Invalid("signature"),
            }
        })?;
        self.principal(&claims.claims)
    }

    /// The key of this name; fetched when it is unknown, or when those at hand are old. Who has a key at hand waits for
    /// nobody: the fetch goes on beside.
    async fn key(&self, id: Option<&str>) -> Result<Jwk, TokenRefusal> {
        let source = &self.source;
        let (key, fresh) = source.known(id);
        if let (Some(key), true) = (&key, fresh) {
            return Ok(key.clone());
        }
        source.fetch_beside();
        // Old keys are better than nobody being able to work while the issuer is away. Nobody called for long: then a fetch
        // that may well succeed is worth a moment.
        let believed = {
            let keys = source.keys.read();
            keys.failing || keys.fetched.is_some_and(|at| at.elapsed() < limits::KEYS_FRESH * 2)
        };
        if let Some(key) = key.filter(|_| believed) {
            return Ok(key);
        }
        let _ = tokio::time::timeout(limits::KEYS_WAIT, source.fetching.lock()).await;
        match source.known(id) {
            (Some(key), _) => Ok(key),
            (None, _) if source.keys.read().fetched.is_none() => Err(TokenRefusal::Unavailable),
            (None, _) => Err(TokenRefusal::Invalid("key")),
        }
    }

    fn principal(&self, claims: &OidcClaims) -> Result<Principal, TokenRefusal> {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str).filter(|text| !text.is_empty());
        let claim = self.settings.subject_claim.as_str();
        // An address that nobody has checked may be somebody else's.
        let unproven = claim == "email" && claims.get("email_verified") == Some(&Value::Bool(false));
        let subject = text(claim).filter(|_| !unproven).or_else(|| text("sub"));
        // Journals know the node's administrator and accounts by these names.
        let subject = subject.filter(|name| *name != "console" && !name.starts_with("account/"));
        let subject = subject.ok_or(TokenRefusal::Invalid("claims"))?;
        for (claim, name) in [(claim, Some(subject)), ("sub", text("sub"))] {
            if name.is_some_and(|name| name.len() > limits::SUBJECT_BYTES_MAX) {
                return Err(TokenRefusal::SubjectTooLong(claim.to_owned()));
            }
        }
        let roles: Vec<&str> = match claims.get(&self.settings.roles_claim) {
            Some(Value::String(one)) => one.split_whitespace().collect(),
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let of_groups = |role: &&str| {
            let named = self.settings.groups.iter().find(|(group, _)| group == role);
            // An explicit organisation is wanted in a token: a bare word is somebody else's group.
            let granted = self.settings.grants_in_token && role.contains(':');
            named.map(|(_, grant)| grant.clone()).or_else(|| granted.then(|| role.parse().ok()).flatten())
        };
        let grants: Vec<Grant> = roles.iter().filter_map(of_groups).collect();
        if grants.is_empty() {
            return Err(TokenRefusal::NoGrant);
        }
        // An address may change hands, and one person may have several; what the issuer calls them stays.
        let identity =
            format!("{}#{}", self.settings.issuer, text("sub").ok_or(TokenRefusal::Invalid("claims"))?);
        Ok(Principal::new(subject.to_owned(), grants, Via::Oidc).identified(identity))
    }
}

impl Source {
    /// Has the keys fetched, unless somebody does, or did a moment ago.
    fn fetch_beside(self: &Arc<Self>) {
        let lately = |at: Instant| at.elapsed() < limits::KEYS_PAUSE;
        let Ok(one_at_a_time) = Arc::clone(&self.fetching).try_lock_owned() else { return };
        if self.keys.read().tried.is_some_and(lately) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let _one_at_a_time = one_at_a_time;
            if let Err(error) = this.refresh().await {
                tracing::warn!(error = %chain(&error), "the issuer's keys cannot be fetched");
            }
        });
    }

    async fn refresh(&self) -> Result<(), OidcError> {
        self.keys.write().tried = Some(Instant::now());
        let fetched = self.fetch().await;
        let mut keys = self.keys.write();
        // An issuer that says nothing for long was tried until now.
        keys.tried = Some(Instant::now());
        keys.failing = fetched.is_err();
        keys.set = fetched?;
        keys.fetched = Some(Instant::now());
        Ok(())
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, OidcError> {
        let issuer = self.issuer.trim_end_matches('/');
        let document = self.fetcher.get(&format!("{issuer}/.well-known/openid-configuration")).await?;
        let problem = |document: &'static str, problem: String| OidcError::Document { document, problem };
        let found: Discovery =
            serde_json::from_slice(&document).map_err(|e| problem("discovery document", e.to_string()))?;
        if found.issuer != self.issuer {
            let wrong = format!("it says that it is `{}`, the setting says `{}`", found.issuer, self.issuer);
            return Err(problem("discovery document", wrong));
        }
        let set = self.fetcher.get(&found.jwks_uri).await?;
        let JwkSet { keys } = serde_json::from_slice(&set).map_err(|e| problem("key set", e.to_string()))?;
        let signs = |key: &Jwk| !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
        let set: Vec<Jwk> = keys.into_iter().filter(signs).take(limits::KEYS_MAX).collect();
        if set.is_empty() {
            return Err(problem("key set", "it has no key that signs".into()));
        }
        Ok(set)
    }

    /// A key, and whether it is fresh.
    fn known(&self, id: Option<&str>) -> (Option<Jwk>, bool) {
        let keys = self.keys.read();
        let fresh = keys.fetched.is_some_and(|at| at.elapsed() < limits::KEYS_FRESH);
        let found = match id {
            Some(id) => keys.set.iter().find(|key| key.common.key_id.as_deref() == Some(id)),
            // Without a name only a single key can be meant.
            None if keys.set.len() == 1 => keys.set.first(),
            None => None,
        };
        (found.cloned(), fresh)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_itself_when_it_ends() {
        let of = |claims: &str| end_of_token(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)));
        assert_eq!(of(r#"{"sub":"ada","exp":1900000000}"#), Some(1_900_000_000));
        assert_eq!(of(r#"{"exp":1900000000.5}"#), Some(1_900_000_000));
        for silent in [r#"{"sub":"ada"}"#, r#"{"exp":"soon"}"#, "[]", "text"] {
            assert_eq!(of(silent), None, "{silent}");
        }
        for opaque in ["", "opaque", "a.b", "e30.?.c2ln", "e30.e30.c2ln.c2ln"] {
            assert_eq!(end_of_token(opaque), None, "{opaque}");
        }
    }
}
