//! An OpenID Connect issuer for tests: discovery, keys that rotate, and logins by device (RFC 8628).

#![allow(dead_code, missing_docs, reason = "each test uses its part")]
// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Signer {
    pub id: String,
    pub key: EncodingKey,
    pub jwk: Value,
}

pub fn signer(id: &str) -> Signer {
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("works");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).expect("works");
    let point = pair.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id, "x": x, "y": y});
    Signer { id: id.into(), key: EncodingKey::from_ec_der(document.as_ref()), jwk }
}

/// What the issuer answers at its token endpoint, one after the other; the last stays.
#[derive(Clone)]
pub enum Answer {
    /// An error by its code, such as `authorization_pending`.
    Error(&'static str),
    /// Tokens for whoever logged in.
    Tokens {
        /// What the access token, or the ID token, is.
        access: String,
        /// An ID token beside it.
        id: Option<String>,
        /// What gets the next ones.
        refresh: Option<String>,
        /// Seconds.
        expires_in: u64,
    },
    /// Something else altogether.
    Garbage,
}

/// When and where a form was sent, and what it says.
pub type Sent = (Instant, String, HashMap<String, String>);

pub struct Issuer {
    pub address: String,
    pub keys: Arc<Mutex<Vec<Value>>>,
    /// How often keys were asked for.
    pub asked: Arc<AtomicUsize>,
    pub answers: Arc<Mutex<VecDeque<Answer>>>,
    /// Whether the discovery document offers logins by device.
    pub devices: Arc<Mutex<bool>>,
    /// Forms sent to the device and token endpoints.
    pub forms: Arc<Mutex<Vec<Sent>>>,
}

/// Serves a discovery document and whatever keys there are at the moment.
pub async fn issuer(keys: Vec<Value>) -> Issuer {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("works");
    let address = format!("http://{}", listener.local_addr().expect("works"));
    let issuer = Issuer {
        address,
        keys: Arc::new(Mutex::new(keys)),
        asked: Arc::default(),
        answers: Arc::default(),
        devices: Arc::new(Mutex::new(true)),
        forms: Arc::default(),
    };
    let serving = Issuer {
        address: issuer.address.clone(),
        keys: Arc::clone(&issuer.keys),
        asked: Arc::clone(&issuer.asked),
        answers: Arc::clone(&issuer.answers),
        devices: Arc::clone(&issuer.devices),
        forms: Arc::clone(&issuer.forms),
    };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some((path, form)) = request(&mut stream).await else { continue };
            let (status, body) = serving.answer(&path, form);
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    issuer
}

/// Path and form of a request.
async fn request(stream: &mut TcpStream) -> Option<(String, HashMap<String, String>)> {
    let mut bytes = Vec::new();
    loop {
        let mut some = [0; 4096];
        let read = stream.read(&mut some).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&some[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let path = head.split(' ').nth(1)?.to_owned();
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        return Some((path, pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()));
    }
}

/// What percent signs and pluses of a form stand for.
fn decoded(value: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), value.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

impl Issuer {
    fn answer(&self, path: &str, form: HashMap<String, String>) -> (&'static str, String) {
        const OK: &str = "200 OK";
        let own = &self.address;
        match path {
            "/keys" => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                (OK, json!({"keys": *self.keys.lock()}).to_string())
            }
            "/device" => {
                self.forms.lock().push((Instant::now(), path.to_owned(), form));
                let told = json!({
                    "device_code": "a-device-code", "user_code": "WDJB-MJHT", "verification_uri": format!("{own}/activate"),
                    "verification_uri_complete": format!("{own}/activate?code=WDJB-MJHT"), "expires_in": 600, "interval": 1,
                });
                (OK, told.to_string())
            }
            "/token" => {
                self.forms.lock().push((Instant::now(), path.to_owned(), form));
                let mut answers = self.answers.lock();
                let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
                match next {
                    Some(Answer::Tokens { access, id, refresh, expires_in }) => {
                        let mut told =
                            json!({"access_token": access, "token_type": "Bearer", "expires_in": expires_in});
                        if let Some(id) = id {
                            told["id_token"] = id.into();
                        }
                        if let Some(refresh) = refresh {
                            told["refresh_token"] = refresh.into();
                        }
                        (OK, told.to_string())
                    }
                    Some(Answer::Error(code)) => ("400 Bad Request", json!({"error": code}).to_string()),
                    Some(Answer::Garbage) | None => ("502 Bad Gateway", "<html>".to_owned()),
                }
            }
            "/.well-known/openid-configuration" => {
                let mut told = json!({"issuer": own, "jwks_uri": format!("{own}/keys"), "token_endpoint": format!("{own}/token")});
                if *self.devices.lock() {
                    told["device_authorization_endpoint"] = format!("{own}/device").into();
                }
                (OK, told.to_string())
            }
            _ => ("404 Not Found", "{}".to_owned()),
        }
    }

    /// What was sent to an endpoint, in order.
    pub fn sent(&self, to: &str) -> Vec<(Instant, HashMap<String, String>)> {
        let forms = self.forms.lock();
        let to_it = forms.iter().filter(|(_, path, _)| path == to);
        to_it.map(|(at, _, form)| (*at, form.clone())).collect()
    }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("works").as_secs()
}

pub fn claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "aud": "remuda", "sub": "42", "email": "ada@example.com",
        "exp": now() + 600, "groups": ["night-shift", "other:viewer", "operator", "cleaners"],
    })
}

pub fn token(signer: &Signer, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(signer.id.clone());
    encode(&header, claims, &signer.key).expect("works")
}
