//! Logging in at an issuer that runs here, and tokens that are made anew.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use remuda_access::{Fetcher, Oidc, OidcSettings};
use serde_json::json;
use tonic::transport::Server;

use super::contexts::plain;
use super::issuer::{Answer, Issuer, Signer, claims, issuer, now, signer, token};
use super::{Fake, PATIENCE, ended, serve};

struct Stage {
    issuer: Issuer,
    signer: Signer,
    server: String,
    folder: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let signer = signer("one");
        let issuer = issuer(vec![signer.jwk.clone()]).await;
        let settings = OidcSettings {
            issuer: issuer.address.clone(),
            audience: "remuda".into(),
            subject_claim: "email".into(),
            roles_claim: "groups".into(),
            grants_in_token: false,
            groups: vec![("night-shift".into(), "default:viewer".parse().unwrap())],
        };
        let oidc = Oidc::new(settings, Fetcher::new([]).unwrap()).unwrap();
        let fake = Fake { oidc: Some(Arc::new(oidc)), ..Fake::default() };
        let server = format!("http://{}", serve(Server::builder(), fake).await);
        Self { issuer, signer, server, folder: tempfile::tempdir().unwrap() }
    }

    /// A token that ends in so many seconds. Each is another one.
    fn token(&self, lives_s: i64) -> String {
        let mut claims = claims(&self.issuer.address);
        claims["exp"] = json!(now() as i64 + lives_s);
        claims["jti"] = json!(format!("{:?}", std::time::Instant::now()));
        token(&self.signer, &claims)
    }

    fn tokens(&self, lives_s: u64, refresh: Option<&str>) -> Answer {
        let access = self.token(lives_s as i64);
        Answer::Tokens { access, id: None, refresh: refresh.map(str::to_owned), expires_in: lives_s }
    }

    fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        *self.issuer.answers.lock() = answers.into_iter().collect();
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("contexts.toml")
    }

    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let (code, out, errors) = ended(plain(&self.file(), arguments)).await;
        // A JWT begins with its header, which begins so.
        for text in [&out, &errors] {
            assert!(!text.contains("eyJ") && !text.contains("refresh-"), "a token is printed: {text}");
        }
        (code, out, errors)
    }

    async fn login(&self, more: &[&str]) -> (i32, String, String) {
        let usual =
            ["login", "--server", &self.server, "--issuer", &self.issuer.address, "--client-id", "remudactl"];
        self.run(&[&usual[..], more].concat()).await
    }

    async fn list(&self) -> (i32, String, String) {
        self.run(&["vehicles", "list", "-o", "name", "--limit", "1"]).await
    }
}

fn kept(file: &Path) -> toml::Table {
    fs::read_to_string(file).unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_confirms_the_code_in_a_browser_is_logged_in() {
    let stage = Stage::set().await;
    stage.answers([
        Answer::Error("authorization_pending"),
        Answer::Error("slow_down"),
        stage.tokens(600, Some("refresh-1")),
    ]);
    let (code, out, errors) = stage.login(&["--context", "prod"]).await;
    assert_eq!(code, 0, "{errors}");
    assert_eq!(out, format!("logged in; the context prod is for {}\n", stage.server));
    assert!(errors.contains("/activate?code=WDJB-MJHT") && errors.contains("the code WDJB-MJHT"), "{errors}");
    // What it sent, and when: one second between polls, five more after it was told to slow down (RFC 8628 section 3.5).
    let (_, asked) = stage.issuer.sent("/device").remove(0);
    assert_eq!(
        (asked["client_id"].as_str(), asked["scope"].as_str()),
        ("remudactl", "openid offline_access")
    );
    let polls = stage.issuer.sent("/token");
    assert_eq!(polls.len(), 3);
    for (_, form) in &polls {
        assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:device_code");
        assert_eq!(
            (form["device_code"].as_str(), form["client_id"].as_str()),
            ("a-device-code", "remudactl")
        );
    }
    assert!(polls[1].0 - polls[0].0 >= Duration::from_millis(990), "{:?}", polls[1].0 - polls[0].0);
    assert!(polls[2].0 - polls[1].0 >= Duration::from_millis(5_990), "{:?}", polls[2].0 - polls[1].0);

    let (code, names, errors) = stage.list().await;
    assert_eq!((code, names.lines().count()), (0, 1), "{errors}");
    let (_, table, _) = stage.run(&["contexts", "list"]).await;
    assert!(table.contains("prod") && table.contains("login"), "{table}");
    // Again: issuer and client are known.
    stage.answers([stage.tokens(600, None)]);
    let (code, _, errors) = stage.run(&["login"]).await;
    assert_eq!(code, 0, "{errors}");
    assert_eq!(kept(&stage.file())["contexts"]["prod"]["login"].get("refresh_token"), None);
}

#[tokio::test]
async fn a_login_that_comes_to_nothing_says_why_and_keeps_nothing() {
    let stage = Stage::set().await;
    for (answer, says) in [
        (Answer::Error("access_denied"), "it was denied"),
        (Answer::Error("expired_token"), "nobody confirmed the code in time"),
        (Answer::Error("invalid_client"), "invalid_client"),
        (Answer::Garbage, "cannot be understood"),
    ] {
        stage.answers([answer]);
        let (code, out, errors) = stage.login(&[]).await;
        assert_eq!((code, out.as_str()), (1, ""), "{errors}");
        assert!(errors.contains(says) && errors.contains(&stage.issuer.address), "{errors}");
        assert!(!stage.file().exists());
    }
    *stage.issuer.devices.lock() = false;
    assert!(stage.login(&[]).await.2.contains("no logins for devices"));
    let wrong = async |address: &str| {
        let login = ["login", "--server", &stage.server, "--issuer", address, "--client-id", "c"];
        ended(plain(&stage.file(), &login)).await
    };
    let slash = format!("{}/", stage.issuer.address);
    let (code, _, errors) = wrong(&slash).await;
    assert!(code == 1 && errors.contains("its discovery document is of"), "{errors}");
    let (code, _, errors) = wrong("http://example.com").await;
    assert!(code == 1 && errors.contains("https://"), "{errors}");
    let (code, _, errors) = wrong("http://127.0.0.1:1").await;
    assert!(code == 1 && errors.contains("cannot be reached"), "{errors}");
}

#[tokio::test]
async fn a_token_that_ends_is_made_anew_once() {
    let stage = Stage::set().await;
    // It ends so soon that the next command wants another.
    stage.answers([stage.tokens(5, Some("refresh-1"))]);
    assert_eq!(stage.login(&[]).await.0, 0);
    stage.answers([stage.tokens(600, Some("refresh-2"))]);
    let together = tokio::join!(stage.list(), stage.list(), stage.list());
    for (code, _, errors) in [together.0, together.1, together.2] {
        assert_eq!(code, 0, "{errors}");
    }
    // The login, and one for all three.
    let sent = stage.issuer.sent("/token");
    assert_eq!(sent.len(), 2);
    assert_eq!(
        (sent[1].1["grant_type"].as_str(), sent[1].1["refresh_token"].as_str()),
        ("refresh_token", "refresh-1")
    );
    let file = kept(&stage.file());
    assert_eq!(file["contexts"]["default"]["login"]["refresh_token"].as_str(), Some("refresh-2"));
}

#[tokio::test]
async fn a_login_that_has_ended_says_how_to_begin_again() {
    let stage = Stage::set().await;
    let expire = |refresh: Option<&str>| {
        let mut file = kept(&stage.file());
        let login = file["contexts"]["default"]["login"].as_table_mut().unwrap();
        login.insert("expires_s".into(), toml::Value::Integer(now() as i64 - 60));
        match refresh {
            Some(refresh) => login.insert("refresh_token".into(), refresh.into()),
            None => login.remove("refresh_token"),
        };
        fs::write(stage.file(), file.to_string()).unwrap();
    };
    stage.answers([stage.tokens(600, Some("refresh-1"))]);
    assert_eq!(stage.login(&[]).await.0, 0);
    expire(None);
    let (code, _, errors) = stage.list().await;
    assert!(code == 1 && errors.contains("run `remudactl login --context default`"), "{errors}");
    expire(Some("refresh-1"));
    stage.answers([Answer::Error("invalid_grant")]);
    let (code, _, errors) = stage.list().await;
    assert!(code == 1 && errors.contains("remudactl login --context default"), "{errors}");
    // An issuer that is away for a moment ends no login.
    stage.answers([Answer::Garbage]);
    let (code, _, errors) = stage.list().await;
    assert!(
        code == 1 && errors.contains("cannot log in at") && !errors.contains("remudactl login"),
        "{errors}"
    );
    stage.answers([stage.tokens(600, None)]);
    assert_eq!(stage.list().await.0, 0);
    let file = kept(&stage.file());
    // The issuer gave no other one: the one before goes on.
    assert_eq!(file["contexts"]["default"]["login"]["refresh_token"].as_str(), Some("refresh-1"));
}

#[tokio::test]
async fn a_login_gives_no_context_another_server_unless_it_is_named() {
    let stage = Stage::set().await;
    stage.answers([stage.tokens(600, Some("refresh-1"))]);
    assert_eq!(stage.login(&["--context", "prod"]).await.0, 0);
    let before = fs::read_to_string(stage.file()).unwrap();
    let sent = stage.issuer.sent("/device").len();
    let other = ["login", "--server", "https://other.example"];
    let (code, _, errors) = stage.run(&other).await;
    assert!(code == 2 && errors.contains("`prod` is for") && errors.contains("--context"), "{errors}");
    for wrong in ["ftp://other", "https://u:p@other", "https://other/path"] {
        let (code, _, errors) = stage.run(&["login", "--context", "prod", "--server", wrong]).await;
        assert!(code == 2 && errors.contains("is not a server address"), "{errors}");
    }
    assert_eq!(fs::read_to_string(stage.file()).unwrap(), before);
    assert_eq!(stage.issuer.sent("/device").len(), sent, "nobody was asked to log in");
    assert_eq!(stage.run(&[&other[..], &["--context", "prod"]].concat()).await.0, 0);
    assert_eq!(kept(&stage.file())["contexts"]["prod"]["server"].as_str(), Some("https://other.example"));
}

#[tokio::test]
async fn what_is_changed_while_somebody_logs_in_stays() {
    let stage = Stage::set().await;
    stage.answers([stage.tokens(600, None)]);
    assert_eq!(stage.login(&["--context", "prod"]).await.0, 0);
    let logs_in_while = async |change: &[&str]| {
        stage.answers([Answer::Error("authorization_pending")]);
        let polls = stage.issuer.sent("/token").len();
        let changed = async {
            let asked = async {
                while stage.issuer.sent("/token").len() == polls {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, asked).await.expect("it asks for a token");
            assert_eq!(stage.run(change).await.0, 0);
            stage.answers([stage.tokens(600, Some("refresh-1"))]);
        };
        tokio::join!(stage.run(&["login"]), changed).0
    };
    let (code, _, errors) = logs_in_while(&["contexts", "set", "prod", "--organization", "acme"]).await;
    assert_eq!(code, 0, "{errors}");
    let prod = &kept(&stage.file())["contexts"]["prod"];
    assert_eq!(prod["organization"].as_str(), Some("acme"));
    assert_eq!(prod["login"]["refresh_token"].as_str(), Some("refresh-1"));
    let moved = ["contexts", "set", "prod", "--server", "https://other.example"];
    let (code, _, errors) = logs_in_while(&moved).await;
    assert!(code == 1 && errors.contains("`prod` got another server meanwhile"), "{errors}");
    assert_eq!(kept(&stage.file())["contexts"]["prod"].get("token"), None);
}

#[tokio::test]
async fn an_id_token_is_shown_where_access_tokens_say_nothing() {
    let stage = Stage::set().await;
    let opaque =
        |id: Option<String>| Answer::Tokens { access: "opaque".into(), id, refresh: None, expires_in: 600 };
    stage.answers([opaque(Some(stage.token(600)))]);
    assert_eq!(stage.login(&["--id-token"]).await.0, 0);
    assert_eq!(stage.list().await.0, 0);
    stage.answers([opaque(None)]);
    let (code, _, errors) = stage.login(&["--id-token"]).await;
    assert!(code == 1 && errors.contains("no ID token"), "{errors}");
}

#[tokio::test]
async fn an_id_token_ends_when_it_says_itself() {
    let stage = Stage::set().await;
    let answer = |id: Option<String>, refresh: &str| Answer::Tokens {
        access: "opaque".into(),
        id,
        refresh: Some(refresh.to_owned()),
        expires_in: 600,
    };
    let refresh_token = || {
        let kept = kept(&stage.file());
        kept["contexts"]["default"]["login"]["refresh_token"].as_str().unwrap().to_owned()
    };
    // The access token would be good for ten minutes.
    stage.answers([answer(Some(stage.token(5)), "refresh-1")]);
    assert_eq!(stage.login(&["--id-token"]).await.0, 0);
    // An answer without an ID token: what is left of the one before is enough, and the next refresh token is kept.
    stage.answers([answer(None, "refresh-2")]);
    let (code, _, errors) = stage.list().await;
    assert_eq!((code, refresh_token().as_str()), (0, "refresh-2"), "{errors}");
    let mut file = kept(&stage.file());
    let login = file["contexts"]["default"]["login"].as_table_mut().unwrap();
    login.insert("expires_s".into(), toml::Value::Integer(now() as i64 - 60));
    fs::write(stage.file(), file.to_string()).unwrap();
    stage.answers([answer(None, "refresh-3")]);
    let (code, _, errors) = stage.list().await;
    assert!(code == 1 && errors.contains("no ID token"), "{errors}");
    assert_eq!(refresh_token(), "refresh-3", "it is kept, whatever is complained about");
    stage.answers([answer(Some(stage.token(600)), "refresh-4")]);
    assert_eq!(stage.list().await.0, 0);
    // For ten minutes nobody is asked.
    let asked = stage.issuer.sent("/token").len();
    assert_eq!((stage.list().await.0, stage.issuer.sent("/token").len()), (0, asked));
}
