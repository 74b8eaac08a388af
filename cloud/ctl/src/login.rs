//! `remudactl login`: OAuth's flow for devices (RFC 8628), and tokens that are made anew.

use std::error::Error;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
    BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, ClientId, DeviceAuthorizationUrl, DeviceCodeErrorResponseType, ErrorResponse, ExtraTokenFields,
    HttpRequest, HttpResponse, RefreshToken, RequestTokenError, Scope, StandardDeviceAuthorizationResponse,
    StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
};
use remuda_access::{FetchError, Fetcher, end_of_token};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::context_commands::{fits, whole};
use crate::contexts::{Context, ContextsFile, Login, check_name};
use crate::error::CtlError;
use crate::target::{Secret, Target, context_named, split_address};

/// A token that ends within this time is made anew: it must outlive the call.
const RENEWED_BEFORE_S: i64 = 30;
/// An issuer is not asked more often, whatever it says.
const POLLED_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// Nobody takes longer to log in.
const LOGIN_PATIENCE: Duration = Duration::from_secs(3_600);
/// What is asked for unless something else is: who it is, and a token that gets the next ones.
const USUAL_SCOPES: [&str; 2] = ["openid", "offline_access"];

/// Where to log in.
#[derive(Debug, Clone, Args)]
pub struct LoginArgs {
    /// The issuer's address, as `console.oidc.issuer` of the server has it; kept in the context.
    #[arg(long)]
    issuer: Option<String>,
    /// The client id that the issuer has for this program; kept in the context.
    #[arg(long)]
    client_id: Option<String>,
    /// A scope to ask for; may be said several times [default: openid offline_access]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Show the server the ID token, for issuers whose access tokens are not for it.
    #[arg(long)]
    id_token: bool,
    /// PEM file with authorities that vouch for the issuer, beside the system's.
    #[arg(long, value_name = "FILE")]
    issuer_ca: Option<PathBuf>,
}

/// What comes with the tokens.
#[derive(Debug, Deserialize, Serialize)]
struct WithIdToken {
    id_token: Option<Secret>,
}

impl ExtraTokenFields for WithIdToken {}

type Tokens = StandardTokenResponse<WithIdToken, BasicTokenType>;
type Client = oauth2::Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

/// What an issuer says of itself (OpenID Connect Discovery, RFC 8414).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
}

/// An issuer, and the way to it.
struct Issuer<'a> {
    login: &'a Login,
    fetcher: Fetcher,
    found: Discovery,
}

pub(crate) async fn run(
    args: LoginArgs,
    global: &Global,
    env: &dyn Fn(&str) -> Option<String>,
    file: &ContextsFile,
    out: &mut dyn Write,
) -> Result<(), CtlError> {
    let contexts = file.load()?;
    let name = context_named(global, env).or(contexts.current).unwrap_or_else(|| "default".to_owned());
    check_name(&name)?;
    let mut context = contexts.all.get(&name).cloned().unwrap_or_default();
    fill(&name, &mut context, global, env)?;
    let (server, login) = (context.server, wanted(args, context.login)?);
    let tokens = tokio::select! {
        tokens = by_device(&login) => tokens?,
        _ = tokio::signal::ctrl_c() => return Err(CtlError::Interrupted),
    };
    let (login, token) = kept(login, &tokens);
    let token = token?;
    file.change(|contexts| {
        // The context as it is now: somebody may have changed it while a code was waited for.
        let context = contexts.all.entry(name.clone()).or_default();
        fill(&name, context, global, env)?;
        if context.server != server {
            return Err(CtlError::ContextMoved { context: name.clone() });
        }
        (context.token, context.login) = (Some(token), Some(login));
        contexts.current.get_or_insert_with(|| name.clone());
        Ok(())
    })?;
    writeln!(out, "logged in; the context {name} is for {server}")?;
    out.flush()?;
    Ok(())
}

/// The server, for a context that is new or gets another one. That a context is to be for another server is said with its name, and
/// does not follow from its being the current one.
fn fill(
    name: &str,
    context: &mut Context,
    global: &Global,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(), CtlError> {
    let of_env = || if context.server.is_empty() { env("REMUDA_SERVER") } else { None };
    if let Some(server) = global.server.clone().or_else(of_env) {
        let server = split_address(&server)?.0;
        if !context.server.is_empty() && context.server != server && global.context.is_none() {
            return Err(CtlError::OtherServer { context: name.to_owned(), server: context.server.clone() });
        }
        context.server = server;
    }
    if context.server.is_empty() {
        return Err(CtlError::Usage("a new context needs a --server: the console to log in for"));
    }
    if let Some(organization) = &global.in_organization {
        context.organization = Some(organization.clone());
    }
    if let Some(ca) = &global.ca {
        context.ca = whole(ca)?;
    }
    fits(context)
}

/// Where to log in: as was said now, or before.
fn wanted(args: LoginArgs, before: Option<Login>) -> Result<Login, CtlError> {
    let (issuer, client_id) = match (args.issuer, args.client_id, &before) {
        (Some(issuer), Some(client_id), _) => (issuer, client_id),
        (issuer, client_id, Some(before)) => {
            (issuer.unwrap_or(before.issuer.clone()), client_id.unwrap_or(before.client_id.clone()))
        }
        _ => return Err(CtlError::Usage("say --issuer and --client-id; your administrator knows them")),
    };
    let same = before.filter(|before| before.issuer == issuer);
    let scopes = match (args.scopes, &same) {
        (scopes, _) if !scopes.is_empty() => scopes,
        (_, Some(before)) => before.scopes.clone(),
        _ => USUAL_SCOPES.map(str::to_owned).to_vec(),
    };
    let ca = match &args.issuer_ca {
        Some(file) => whole(file)?,
        None => same.as_ref().and_then(|before| before.ca.clone()),
    };
    let id_token = args.id_token || same.is_some_and(|before| before.id_token);
    Ok(Login { issuer, client_id, scopes, id_token, ca, refresh_token: None, expires_s: None })
}

/// What is kept of an issuer's answer: how the next tokens are had, also when the token for the server is missing.
fn kept(login: Login, tokens: &Tokens) -> (Login, Result<Secret, CtlError>) {
    let ends = |lives: Duration| now_s().saturating_add(i64::try_from(lives.as_secs()).unwrap_or(i64::MAX));
    let answered = tokens.expires_in().map(ends);
    let token = if login.id_token {
        let missing =
            || failed(&login, "it gave no ID token; ask for the scope openid, or leave out --id-token");
        tokens.extra_fields().id_token.clone().ok_or_else(missing)
    } else {
        Ok(Secret::new(tokens.access_token().secret().clone()))
    };
    let expires_s = match &token {
        // The answer's time is that of the access token.
        Ok(token) if login.id_token => end_of_token(token.reveal()).or(answered),
        Ok(_) => answered,
        Err(_) => login.expires_s,
    };
    let refresh_token = tokens.refresh_token().map(|token| Secret::new(token.secret().clone()));
    // An issuer that gives no other one means that the one before goes on.
    let refresh_token = refresh_token.or(login.refresh_token);
    (Login { refresh_token, expires_s, ..login }, token)
}

/// The same target, its token made anew when it is about to end.
pub(crate) async fn fresh(mut target: Target, file: &ContextsFile) -> Result<Target, CtlError> {
    let Some(name) = target.logged_in.clone() else { return Ok(target) };
    let ends = |login: &Login| login.expires_s.is_some_and(|ends| ends - now_s() < RENEWED_BEFORE_S);
    if !file.load()?.all.get(&name).and_then(|context| context.login.as_ref()).is_some_and(ends) {
        return Ok(target);
    }
    // Of several processes one gets the next token: many issuers take a refresh token once.
    let _one_at_a_time = file.lock()?;
    let gone = |problem: String| CtlError::LoginEnded { context: name.clone(), problem };
    let context = file.load()?.all.remove(&name).ok_or_else(|| gone("the context was deleted".into()))?;
    if split_address(&context.server)?.0 != target.address {
        return Err(CtlError::ContextMoved { context: name });
    }
    let Some(login) = context.login.clone().filter(ends) else {
        target.token = context.token;
        return Ok(target);
    };
    let over = login.expires_s.is_some_and(|ends| ends <= now_s());
    let renewed = match &login.refresh_token {
        Some(token) => renew(&login, token).await,
        None => Err((true, "there is no refresh token".to_owned())),
    };
    match renewed {
        Ok(tokens) => {
            let (login, token) = kept(login, &tokens);
            let token = file.change_locked(|contexts| {
                let context =
                    contexts.all.get_mut(&name).ok_or_else(|| gone("the context was deleted".into()))?;
                if let Ok(token) = &token {
                    context.token = Some(token.clone());
                }
                // Also without a token: the refresh token may be another one, and the one before be worth nothing.
                context.login = Some(login);
                Ok(token)
            })?;
            match token {
                Ok(token) => target.token = Some(token),
                Err(error) if over => return Err(error),
                Err(_) => {}
            }
            Ok(target)
        }
        // What is left of the token may be enough.
        Err(_) if !over => Ok(target),
        Err((true, problem)) => Err(gone(problem)),
        Err((false, problem)) => Err(failed(&login, problem)),
    }
}

/// The next tokens; or why there are none, and whether that is for good.
async fn renew(login: &Login, token: &Secret) -> Result<Tokens, (bool, String)> {
    let issuer = Issuer::find(login).await.map_err(|error| (false, error.to_string()))?;
    let client = issuer.client().map_err(|error| (false, error.to_string()))?;
    let token_url = issuer.token_url().map_err(|error| (false, error.to_string()))?;
    let client = client.set_token_uri(token_url);
    let http = issuer.http();
    let token = RefreshToken::new(token.reveal().to_owned());
    let tokens = client.exchange_refresh_token(&token).request_async(&http).await;
    tokens.map_err(|error| {
        let ended = matches!(&error, RequestTokenError::ServerResponse(said)
            if *said.error() == BasicErrorResponseType::InvalidGrant);
        (ended, told(&error, |said| said.to_string()))
    })
}

/// Logs in with a browser, here or anywhere.
async fn by_device(login: &Login) -> Result<Tokens, CtlError> {
    let issuer = Issuer::find(login).await?;
    let none = || failed(login, "it has no logins for devices; give --token instead");
    let devices = issuer.found.device_authorization_endpoint.clone().ok_or_else(none)?;
    let devices = DeviceAuthorizationUrl::new(devices).map_err(|e| failed(login, e.to_string()))?;
    let client = issuer.client()?.set_token_uri(issuer.token_url()?).set_device_authorization_url(devices);
    let http = issuer.http();
    let scopes = login.scopes.iter().map(|scope| Scope::new(scope.clone()));
    let asked = client.exchange_device_code().add_scopes(scopes).request_async(&http).await;
    let device: StandardDeviceAuthorizationResponse =
        asked.map_err(|error| failed(login, told(&error, |said| said.to_string())))?;
    let page = device
        .verification_uri_complete()
        .map_or_else(|| device.verification_uri().to_string(), |complete| complete.secret().to_owned());
    let code = device.user_code().secret();
    eprintln!("open {} in a browser, and see that it shows the code {}", shown(&page), shown(code));
    let patience = device.expires_in().min(LOGIN_PATIENCE);
    let wait = |interval: Duration| tokio::time::sleep(interval.max(POLLED_AT_MOST_EVERY));
    let tokens =
        client.exchange_device_access_token(&device).request_async(&http, wait, Some(patience)).await;
    tokens.map_err(|error| {
        let problem = told(&error, |said| match said.error() {
            DeviceCodeErrorResponseType::AccessDenied => "it was denied".to_owned(),
            DeviceCodeErrorResponseType::ExpiredToken => {
                "nobody confirmed the code in time; run it again".to_owned()
            }
            _ => said.to_string(),
        });
        failed(login, problem)
    })
}

impl<'a> Issuer<'a> {
    /// Asks an issuer what it has.
    async fn find(login: &'a Login) -> Result<Self, CtlError> {
        let extra = login.ca.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let fetcher = Fetcher::new(extra).map_err(|e| failed(login, e.to_string()))?;
        let own = login.issuer.trim_end_matches('/');
        let document = match fetcher.get(&format!("{own}/.well-known/openid-configuration")).await {
            // An issuer that is none of OpenID Connect's.
            Err(FetchError::Answer { .. }) => fetcher.get(&server_metadata(own)).await,
            answered => answered,
        };
        let document = document.map_err(|e| failed(login, chain(&e)))?;
        let found: Discovery = serde_json::from_slice(&document)
            .map_err(|e| failed(login, format!("its discovery document cannot be used: {e}")))?;
        if found.issuer != login.issuer {
            let wrong =
                format!("its discovery document is of `{}`; say that with --issuer", shown(&found.issuer));
            return Err(failed(login, wrong));
        }
        Ok(Self { login, fetcher, found })
    }

    fn client(&self) -> Result<Client, CtlError> {
        // This program has no secret: whoever has it would have the secret too.
        Ok(Client::new(ClientId::new(self.login.client_id.clone())).set_auth_type(AuthType::RequestBody))
    }

    fn token_url(&self) -> Result<TokenUrl, CtlError> {
        TokenUrl::new(self.found.token_endpoint.clone()).map_err(|e| failed(self.login, e.to_string()))
    }

    fn http(&self) -> impl Fn(HttpRequest) -> Answered {
        let fetcher = self.fetcher.clone();
        move |request| {
            let fetcher = fetcher.clone();
            Box::pin(async move { fetcher.send(request).await })
        }
    }
}

type Answered = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send>>;

/// Where RFC 8414 has the document: between host and path.
fn server_metadata(issuer: &str) -> String {
    let path_at = issuer.find("://").and_then(|n| issuer[n + 3..].find('/').map(|m| n + 3 + m));
    let (host, path) = issuer.split_at(path_at.unwrap_or(issuer.len()));
    format!("{host}/.well-known/oauth-authorization-server{path}")
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, CtlError> {
    let shown = || file.display().to_string();
    let text = std::fs::read(file).map_err(|source| CtlError::File { file: shown(), source })?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.ok().filter(|all| !all.is_empty());
    all.ok_or_else(|| CtlError::Pem { file: shown(), what: "certificates" })
}

fn failed(login: &Login, problem: impl Into<String>) -> CtlError {
    CtlError::Login { issuer: login.issuer.clone(), problem: problem.into() }
}

/// What an issuer said, without what it sent: that may be a token.
fn told<T: ErrorResponse + 'static>(
    error: &RequestTokenError<FetchError, T>,
    said: impl FnOnce(&T) -> String,
) -> String {
    match error {
        RequestTokenError::ServerResponse(answer) => shown(&said(answer)),
        RequestTokenError::Request(error) => chain(error),
        RequestTokenError::Parse(..) => "its answer cannot be understood".to_owned(),
        RequestTokenError::Other(problem) => problem.clone(),
    }
}

/// An error with everything that caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What comes from elsewhere must not move a terminal's cursor.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_document_stands_between_host_and_path() {
        let of = |issuer: &str| server_metadata(issuer);
        assert_eq!(of("https://h"), "https://h/.well-known/oauth-authorization-server");
        assert_eq!(of("https://h:1/a/b"), "https://h:1/.well-known/oauth-authorization-server/a/b");
    }

    fn login(issuer: &str, expires_s: i64) -> Login {
        Login {
            issuer: issuer.to_owned(),
            client_id: "c".into(),
            scopes: vec![],
            id_token: false,
            ca: None,
            refresh_token: Some(Secret::new("r")),
            expires_s: Some(expires_s),
        }
    }

    #[tokio::test]
    async fn a_token_does_not_go_to_a_server_that_the_context_has_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.toml").display().to_string();
        let file = ContextsFile::of(&move |name| (name == "REMUDA_CONTEXTS").then(|| path.clone()));
        file.change(|contexts| {
            let login = Some(login("http://127.0.0.1:1", now_s() + 5));
            let (server, token) = ("https://b".to_owned(), Some(Secret::new("for-b")));
            contexts.all.insert("prod".into(), Context { server, token, login, ..Context::default() });
            Ok(())
        })
        .unwrap();
        let (logged_in, token) = (Some("prod".to_owned()), Some(Secret::new("for-a")));
        let before = Target { address: "https://a".into(), token, logged_in, ..Target::default() };
        let refused = fresh(before.clone(), &file).await.unwrap_err();
        assert!(matches!(&refused, CtlError::ContextMoved { context } if context == "prod"), "{refused}");
        let now = Target { address: "https://b".into(), ..before };
        assert!(fresh(now, &file).await.is_ok());
    }

    #[test]
    fn what_was_said_before_is_remembered_for_the_same_issuer() {
        let args = |issuer: Option<&str>| LoginArgs {
            issuer: issuer.map(str::to_owned),
            client_id: None,
            scopes: vec![],
            id_token: false,
            issuer_ca: None,
        };
        let before = Login {
            issuer: "https://a".into(),
            client_id: "c".into(),
            scopes: vec!["fleet".into()],
            id_token: true,
            ca: None,
            refresh_token: Some(Secret::new("r")),
            expires_s: Some(1),
        };
        let again = wanted(args(None), Some(before.clone())).unwrap();
        assert_eq!(
            (again.issuer.as_str(), again.client_id.as_str(), again.id_token),
            ("https://a", "c", true)
        );
        assert_eq!(again.scopes, ["fleet"]);
        assert!(again.refresh_token.is_none());
        let other = wanted(args(Some("https://b")), Some(before)).unwrap();
        assert_eq!((other.scopes.len(), other.id_token), (2, false));
        assert!(wanted(args(Some("https://b")), None).is_err());
    }
}
