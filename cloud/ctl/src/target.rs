//! Which server, and how to come in: flags, then the environment, then a context.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use remuda_access::is_loopback;
use serde::{Deserialize, Serialize};
use tonic::transport::Uri;

use crate::args::Global;
use crate::contexts::{Context, Contexts};
use crate::error::CtlError;

/// Where a node listens when nobody says otherwise.
const USUAL: &str = "http://127.0.0.1:7070";

/// A token, which is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl Secret {
    /// Of a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to send it to whom it is for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A server, and how to come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Scheme, host and port.
    pub(crate) address: String,
    pub(crate) token: Option<Secret>,
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// The context whose token it is, when it may have to be made anew.
    pub(crate) logged_in: Option<String>,
}

/// An address with its scheme, and the token that it carries after `#token=`.
pub(crate) fn split_address(text: &str) -> Result<(String, Option<Secret>), CtlError> {
    let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
    let carried = fragment.split('&').find_map(|pair| pair.strip_prefix("token="));
    let address = address.trim_end_matches('/');
    let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    check_address(&address)?;
    Ok((address, carried.filter(|token| !token.is_empty()).map(Secret::new)))
}

/// Whether this is the address of a server.
pub(crate) fn check_address(address: &str) -> Result<(), CtlError> {
    let uri: Option<Uri> = address.parse().ok();
    let fits = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            // No name and password; and a port where there is a colon.
            && !uri.authority().is_some_and(|at| at.as_str().contains('@') || at.as_str().ends_with(':'))
            && uri.path_and_query().is_none_or(|path| path == "/")
    });
    if fits { Ok(()) } else { Err(CtlError::Address(address.to_owned())) }
}

/// Whether what is sent to an address can be read on its way.
pub(crate) fn in_plain_text(address: &str) -> bool {
    let uri: Option<Uri> = address.parse().ok();
    uri.is_some_and(|uri| uri.scheme_str() == Some("http") && !uri.host().is_some_and(is_loopback))
}

/// The context that flags or the environment name.
pub(crate) fn context_named(global: &Global, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    global.context.clone().or_else(|| env("REMUDA_CONTEXT"))
}

/// The server, how to come in, and the organization.
///
/// An address on the command line or in the environment takes nothing out of a context: no token goes to a server that it is not
/// for. A context on the command line takes nothing out of the environment, for the same reason.
pub(crate) fn resolve(
    global: &Global,
    env: &dyn Fn(&str) -> Option<String>,
    contexts: impl FnOnce() -> Result<Contexts, CtlError>,
) -> Result<(Target, String), CtlError> {
    if global.server.is_some() && global.context.is_some() {
        return Err(CtlError::Usage("--server and --context do not go together: a context has its server"));
    }
    let nothing = |_: &str| None;
    let env: &dyn Fn(&str) -> Option<String> = if global.context.is_some() { &nothing } else { env };
    let said = global.server.clone().or_else(|| env("REMUDA_SERVER"));
    let (name, context) = match said {
        Some(server) => (None, Context { server, ..Context::default() }),
        None => chosen(context_named(global, env), contexts()?)?,
    };
    let (address, carried) = split_address(&context.server)?;
    let file = |flag: &Option<PathBuf>, variable: &str, of_context: Option<PathBuf>| {
        flag.clone().or_else(|| env(variable).map(PathBuf::from)).or(of_context)
    };
    let given = global.token.clone().or(carried).or_else(|| env("REMUDA_TOKEN").map(Secret::new));
    let given = given.filter(|token| !token.reveal().is_empty());
    let ca = file(&global.ca, "REMUDA_CA", context.ca);
    let cert = file(&global.cert, "REMUDA_CERT", context.cert);
    let key = file(&global.key, "REMUDA_KEY", context.key);
    let certificate = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => {
            return Err(CtlError::Usage(
                "--cert and --key go together: the client's certificate and its key",
            ));
        }
    };
    if address.starts_with("http://") && (ca.is_some() || certificate.is_some()) {
        return Err(CtlError::Usage("--ca, --cert and --key are for https:// addresses"));
    }
    let organization = global.in_organization.clone().or_else(|| env("REMUDA_ORGANIZATION"));
    let organization = organization.or(context.organization).unwrap_or_else(|| "default".to_owned());
    let logged_in = name.filter(|_| given.is_none() && context.login.is_some());
    let token = given.or(context.token);
    Ok((Target { address, token, ca, certificate, logged_in }, organization))
}

/// The context of this name, or the current one; a server on this machine when there is none.
fn chosen(named: Option<String>, mut contexts: Contexts) -> Result<(Option<String>, Context), CtlError> {
    let Some(name) = named.or_else(|| contexts.current.take()) else {
        return Ok((None, Context { server: USUAL.to_owned(), ..Context::default() }));
    };
    match contexts.all.remove(&name) {
        Some(context) => Ok((Some(name), context)),
        None => Err(CtlError::NoSuchContext { known: contexts.all.into_keys().collect(), name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contexts::Login;

    fn contexts() -> Contexts {
        let login = Login {
            issuer: "https://i".into(),
            client_id: "c".into(),
            scopes: vec![],
            id_token: false,
            ca: None,
            refresh_token: None,
            expires_s: None,
        };
        let context = |server: &str, token: &str| Context {
            server: server.into(),
            token: Some(Secret::new(token)),
            organization: Some("acme".into()),
            ..Context::default()
        };
        let staging = Context { login: Some(login), ..context("https://staging:1", "staging-token") };
        Contexts {
            current: Some("prod".into()),
            all: [
                ("prod".to_owned(), context("https://prod:1", "prod-token")),
                ("staging".to_owned(), staging),
            ]
            .into(),
        }
    }

    fn of(flags: Global, env: &[(&str, &str)]) -> Result<(Target, String), CtlError> {
        let env =
            |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        resolve(&flags, &env, || Ok(contexts()))
    }

    fn at(flags: Global, env: &[(&str, &str)]) -> (String, Option<String>, String) {
        let (target, organization) = of(flags, env).unwrap();
        (target.address, target.token.map(|token| token.reveal().to_owned()), organization)
    }

    fn triple(address: &str, token: Option<&str>, organization: &str) -> (String, Option<String>, String) {
        (address.to_owned(), token.map(str::to_owned), organization.to_owned())
    }

    #[test]
    fn a_printed_address_is_enough() {
        let of = |server: &str, token: Option<&str>| {
            let flags = Global {
                server: Some(server.to_owned()),
                token: token.map(Secret::new),
                ..Global::default()
            };
            at(flags, &[])
        };
        let default = "default";
        assert_eq!(
            of("http://127.0.0.1:1/#token=abc", None),
            triple("http://127.0.0.1:1", Some("abc"), default)
        );
        assert_eq!(of("127.0.0.1:1", Some("xyz")), triple("http://127.0.0.1:1", Some("xyz"), default));
        assert_eq!(of("https://h:1#token=abc", Some("xyz")), triple("https://h:1", Some("xyz"), default));
        assert_eq!(of("http://h:1/#token=", None), triple("http://h:1", None, default));
    }

    #[test]
    fn flags_count_more_than_the_environment_and_that_more_than_a_context() {
        let prod = |organization| triple("https://prod:1", Some("prod-token"), organization);
        assert_eq!(at(Global::default(), &[]), prod("acme"));
        assert_eq!(at(Global::default(), &[("REMUDA_ORGANIZATION", "env")]), prod("env"));
        let flags = Global { in_organization: Some("flag".into()), ..Global::default() };
        assert_eq!(at(flags, &[("REMUDA_ORGANIZATION", "env")]), prod("flag"));
        let staging = at(Global::default(), &[("REMUDA_CONTEXT", "staging"), ("REMUDA_TOKEN", "env")]);
        assert_eq!(staging, triple("https://staging:1", Some("env"), "acme"));
    }

    #[test]
    fn no_token_goes_to_a_server_that_it_is_not_for() {
        let server = || Global { server: Some("https://other:1".into()), ..Global::default() };
        assert_eq!(at(server(), &[]), triple("https://other:1", None, "default"));
        let env =
            [("REMUDA_SERVER", "https://env:1"), ("REMUDA_CONTEXT", "prod"), ("REMUDA_TOKEN", "env-token")];
        assert_eq!(at(Global::default(), &env), triple("https://env:1", Some("env-token"), "default"));
        // A context on the command line leaves the environment aside.
        let staging = || Global { context: Some("staging".into()), ..Global::default() };
        assert_eq!(at(staging(), &env), triple("https://staging:1", Some("staging-token"), "acme"));
        assert_eq!(of(staging(), &[]).unwrap().0.logged_in.as_deref(), Some("staging"));
        let flags = Global { token: Some(Secret::new("mine")), ..staging() };
        assert_eq!(of(flags, &[]).unwrap().0.logged_in, None);
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let refused = |flags: Global| of(flags, &[]).unwrap_err().to_string();
        let server = |address: &str| Some(address.to_owned());
        let both = Global { server: server("h"), context: Some("prod".into()), ..Global::default() };
        assert!(refused(both).contains("--context"));
        let unknown = refused(Global { context: Some("nobody".into()), ..Global::default() });
        assert!(unknown.contains("`nobody`") && unknown.contains("prod, staging"), "{unknown}");
        let half = Global { server: server("https://h"), cert: Some("c".into()), ..Global::default() };
        assert!(refused(half).contains("--key"));
        let plain = Global { server: server("http://h"), ca: Some("c".into()), ..Global::default() };
        assert!(refused(plain).contains("https://"));
        for wrong in ["ftp://h", "https://", "https://u:p@h", "https://h/path", "a b", ""] {
            let said = refused(Global { server: server(wrong), ..Global::default() });
            assert!(said.contains("is not a server address"), "{wrong}: {said}");
        }
    }

    #[test]
    fn plain_text_is_noticed_when_it_leaves_the_machine() {
        for (address, plain) in [
            ("http://fleet.example", true),
            ("http://10.0.0.1:7070", true),
            ("http://127.0.0.1:7070", false),
            ("http://[::1]:7070", false),
            ("https://fleet.example", false),
        ] {
            assert_eq!(in_plain_text(address), plain, "{address}");
        }
    }
}
