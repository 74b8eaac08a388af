//! Tokens of an issuer that runs here: which are believed, and what happens when its keys change.

#[path = "support/issuer.rs"]
mod issuer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use issuer::{claims, issuer, now, signer, token};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use remuda_access::{Fetcher, Oidc, OidcError, OidcSettings, Permission, TokenRefusal};
use remuda_model::OrganizationId;
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn oidc(issuer: &str) -> Oidc {
    let settings = OidcSettings {
        issuer: issuer.into(),
        audience: "remuda".into(),
        subject_claim: "email".into(),
        roles_claim: "groups".into(),
        grants_in_token: true,
        groups: vec![("night-shift".into(), "default:dispatcher".parse().expect("works"))],
    };
    Oidc::new(settings, Fetcher::new([]).expect("works")).expect("works")
}

#[tokio::test]
async fn a_token_of_the_issuer_says_who_and_what() {
    let signer = signer("one");
    let issuer = issuer(vec![signer.jwk.clone()]).await;
    let oidc = oidc(&issuer.address);
    let ada = oidc.verify(&token(&signer, &claims(&issuer.address))).await.unwrap();
    assert_eq!(ada.subject, "ada@example.com");
    assert!(ada.may(Permission::TripsChange, OrganizationId::default()));
    // A bare word in a token is a group of theirs and no role of ours.
    assert!(!ada.may(Permission::CommandsGive, OrganizationId::default()));
    assert!(ada.may(Permission::VehiclesRead, OrganizationId::new("other").unwrap()));
}

#[tokio::test]
async fn an_address_that_nobody_checked_names_nobody_and_a_group_is_no_role() {
    let signer = signer("one");
    let issuer = issuer(vec![signer.jwk.clone()]).await;
    let mut unproven = claims(&issuer.address);
    unproven["email_verified"] = json!(false);
    let oidc_of = oidc(&issuer.address);
    assert_eq!(oidc_of.verify(&token(&signer, &unproven)).await.unwrap().subject, "42");
    let settings = OidcSettings {
        issuer: issuer.address.clone(),
        audience: "remuda".into(),
        subject_claim: "email".into(),
        roles_claim: "groups".into(),
        grants_in_token: false,
        groups: vec![],
    };
    let strict = Oidc::new(settings, Fetcher::new([]).unwrap()).unwrap();
    let mut named = claims(&issuer.address);
    named["groups"] = json!(["default:admin"]);
    assert_eq!(strict.verify(&token(&signer, &named)).await, Err(TokenRefusal::NoGrant));
}

#[tokio::test]
async fn what_is_not_the_issuers_for_us_and_now_is_refused() {
    let (signer, stranger) = (signer("one"), signer("one"));
    let issuer = issuer(vec![signer.jwk.clone()]).await;
    let oidc = oidc(&issuer.address);
    let with = |key: &str, value: Value| {
        let mut claims = claims(&issuer.address);
        claims[key] = value;
        token(&signer, &claims)
    };
    let without = |key: &str| {
        let mut claims = claims(&issuer.address);
        claims.as_object_mut().unwrap().remove(key);
        token(&signer, &claims)
    };
    let good = token(&signer, &claims(&issuer.address));
    let mut hmac = Header::new(Algorithm::HS256);
    hmac.kid = Some("one".into());
    let hmac = encode(&hmac, &claims(&issuer.address), &EncodingKey::from_secret(&[7; 32]).unwrap()).unwrap();
    let unsigned =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), good.split('.').nth(1).unwrap());
    for (token, wanted) in [
        (token(&stranger, &claims(&issuer.address)), TokenRefusal::Invalid("signature")),
        (with("aud", json!("another")), TokenRefusal::Invalid("audience")),
        (with("iss", json!("https://example.com")), TokenRefusal::Invalid("issuer")),
        (with("exp", json!(now() - 60)), TokenRefusal::Expired),
        (with("nbf", json!(now() + 600)), TokenRefusal::Invalid("signature")),
        (with("groups", json!([])), TokenRefusal::NoGrant),
        (with("groups", json!(["admin"])), TokenRefusal::NoGrant),
        (with("email", json!("console")), TokenRefusal::Invalid("claims")),
        (with("email", json!("account/night-shift")), TokenRefusal::Invalid("claims")),
        (with("email", json!("x".repeat(257))), TokenRefusal::SubjectTooLong("email".into())),
        (with("sub", json!("x".repeat(257))), TokenRefusal::SubjectTooLong("sub".into())),
        (without("exp"), TokenRefusal::Invalid("claims")),
        (without("aud"), TokenRefusal::Invalid("claims")),
        (hmac, TokenRefusal::Invalid("algorithm")),
        (unsigned, TokenRefusal::Invalid("form")),
        (good[..good.len() - 4].to_owned(), TokenRefusal::Invalid("signature")),
        ("x".repeat(20_000), TokenRefusal::Invalid("too long")),
        (String::new(), TokenRefusal::Invalid("form")),
    ] {
        assert_eq!(oidc.verify(&token).await, Err(wanted), "{token}");
    }
    assert!(oidc.verify(&good).await.is_ok());
    assert!(oidc.verify(&with("email", json!("x".repeat(256)))).await.is_ok());
}

#[tokio::test]
async fn keys_rotate_and_strangers_cannot_make_us_ask_again_and_again() {
    let (old, new) = (signer("old"), signer("new"));
    let issuer = issuer(vec![old.jwk.clone()]).await;
    let first = oidc(&issuer.address);
    assert!(first.verify(&token(&old, &claims(&issuer.address))).await.is_ok());
    *issuer.keys.lock() = vec![old.jwk.clone(), new.jwk.clone()];
    // Within the pause after the last fetch an unknown key is refused without asking, however often.
    for _ in 0..20 {
        let answer = first.verify(&token(&new, &claims(&issuer.address))).await;
        assert_eq!(answer, Err(TokenRefusal::Invalid("key")));
    }
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);
    // What the pause's end would do.
    first.refresh().await.unwrap();
    assert!(first.verify(&token(&new, &claims(&issuer.address))).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_is_away_or_another_is_told_apart() {
    let signer = signer("one");
    let issuer = issuer(vec![signer.jwk.clone()]).await;
    let nobody = oidc("http://127.0.0.1:9");
    let refused = nobody.verify(&token(&signer, &claims("http://127.0.0.1:9"))).await;
    assert_eq!(refused, Err(TokenRefusal::Unavailable));
    let slash = oidc(&format!("{}/", issuer.address));
    let error = slash.refresh().await.unwrap_err().to_string();
    assert!(error.contains("discovery document"), "{error}");
}

#[tokio::test]
async fn an_issuer_that_says_nothing_holds_nobody() {
    // It takes connections and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            held.push(stream);
        }
    });
    let silent = Arc::new(oidc(&address));
    let token = token(&signer("one"), &claims(&address));
    let begun = std::time::Instant::now();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (silent, token) = (Arc::clone(&silent), token.clone());
            tokio::spawn(async move { silent.verify(&token).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Err(TokenRefusal::Unavailable));
    }
    // All at once, and not one after the other; and long before the fetch itself is given up.
    assert!(begun.elapsed() < remuda_access::limits::FETCH_PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn settings_are_checked() {
    for wrong in ["http://example.com", "ftp://x", "example.com", "https://x/?a=b"] {
        let settings = OidcSettings {
            issuer: wrong.into(),
            audience: "remuda".into(),
            subject_claim: "email".into(),
            roles_claim: "groups".into(),
            grants_in_token: false,
            groups: vec![],
        };
        let refused = Oidc::new(settings, Fetcher::new([]).unwrap());
        assert!(matches!(refused, Err(OidcError::Setting(_))), "{wrong}");
    }
}
