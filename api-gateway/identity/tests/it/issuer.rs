//! An identity provider that a test plays: its documents over HTTP, its keys in the test's hand. The gateway's tests use it as well.

use std::{
    net::TcpListener,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::{rand::SystemRandom, signature};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp, jwk::Jwk};
use serde_json::{Value, json};

/// What every good token is for.
pub(crate) const AUDIENCE: &str = "orders-api";

/// A key pair of the issuer, or of somebody else.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) kid: String,
    encoding: EncodingKey,
}

impl Key {
    pub(crate) fn new(kid: &str) -> Self {
        let pkcs8 = signature::EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        Self { kid: kid.to_owned(), encoding: EncodingKey::from_ec_der(pkcs8.as_ref()) }
    }

    /// Its public half, as the key set lists it.
    pub(crate) fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.encoding, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).unwrap()
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        self.sign_with(&header, claims)
    }

    /// The same with another header.
    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.encoding).unwrap()
    }
}

struct State {
    url: String,
    keys: Mutex<Vec<Value>>,
    asked: AtomicUsize,
    broken: Mutex<bool>,
}

/// The issuer.
pub(crate) struct Issuer {
    state: Arc<State>,
    pub(crate) key: Key,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Issuer {
    /// Serves on a port of its own, with one key.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/realm", listener.local_addr().unwrap());
        let key = Key::new("k1");
        let state = Arc::new(State { url, keys: Mutex::new(vec![key.public()]), asked: AtomicUsize::new(0), broken: Mutex::new(false) });
        let data = web::Data::from(Arc::clone(&state));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/realm/.well-known/openid-configuration", web::get().to(configuration))
                .route("/realm/keys", web::get().to(keys))
        });
        tokio::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
        Self { state, key }
    }

    pub(crate) fn url(&self) -> &str {
        &self.state.url
    }

    /// Publishes these keys from now on.
    pub(crate) fn publish(&self, keys: &[&Key]) {
        *lock(&self.state.keys) = keys.iter().map(|key| key.public()).collect();
    }

    /// Answers 500, or no longer.
    pub(crate) fn set_broken(&self, broken: bool) {
        *lock(&self.state.broken) = broken;
    }

    /// How often its key set was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Claims of a good token.
    pub(crate) fn claims(&self, subject: &str, scope: &str) -> Value {
        let now = get_current_timestamp();
        json!({ "iss": self.url(), "aud": [AUDIENCE], "sub": subject, "scope": scope, "iat": now, "nbf": now, "exp": now + 300 })
    }

    /// A good token.
    pub(crate) fn token(&self, subject: &str, scope: &str) -> String {
        self.key.sign(&self.claims(subject, scope))
    }
}

async fn configuration(state: web::Data<State>) -> HttpResponse {
    if *lock(&state.broken) {
        return HttpResponse::InternalServerError().finish();
    }
    HttpResponse::Ok().json(json!({ "issuer": state.url, "jwks_uri": format!("{}/keys", state.url) }))
}

async fn keys(state: web::Data<State>) -> HttpResponse {
    state.asked.fetch_add(1, Ordering::SeqCst);
    let keys = lock(&state.keys).clone();
    HttpResponse::Ok().json(json!({ "keys": keys }))
}

/// Tokens that nobody may come in with: the list of PROTOCOLS 9 and what is near it. Name and token.
pub(crate) fn forged(issuer: &Issuer, scope: &str) -> Vec<(&'static str, String)> {
    let good = issuer.claims("ann", scope);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        issuer.key.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        issuer.key.sign(&claims)
    };
    let now = get_current_timestamp();
    let stranger = Key::new("k1");
    let unknown = Key::new("k9");
    let public = serde_json::to_vec(&issuer.key.public()).unwrap();
    let mut symmetric = Header::new(Algorithm::HS256);
    symmetric.kid = Some("k1".to_owned());
    let mut own_key = Header::new(Algorithm::ES256);
    own_key.kid = Some("k1".to_owned());
    own_key.jwk = serde_json::from_value(stranger.public()).ok();
    own_key.jku = Some("http://127.0.0.1:1/keys".to_owned());
    let mut critical = Header::new(Algorithm::ES256);
    critical.kid = Some("k1".to_owned());
    critical.crit = Some(vec!["exp".to_owned()]);
    let valid = issuer.key.sign(&good);
    let (head, signature) = valid.rsplit_once('.').unwrap();
    let other = issuer.key.sign(&issuer.claims("bob", scope));
    let unsigned = |alg: &str| {
        format!("{}.{}.", base64url(json!({"alg": alg, "typ": "JWT", "kid": "k1"}).to_string().as_bytes()), head.split('.').nth(1).unwrap())
    };
    vec![
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("no signature", format!("{head}.")),
        ("HS256 with the public key", encode(&symmetric, &good, &EncodingKey::from_secret(&public)).unwrap()),
        ("signed by a stranger under our kid", stranger.sign(&good)),
        ("brings its own key", stranger.sign_with(&own_key, &good)),
        ("unknown kid", unknown.sign(&good)),
        ("no kid", issuer.key.sign_with(&Header::new(Algorithm::ES256), &good)),
        ("a critical header", issuer.key.sign_with(&critical, &good)),
        ("another's signature", format!("{}.{signature}", other.rsplit_once('.').unwrap().0)),
        ("half a signature", valid.chars().take(valid.len() - 20).collect()),
        ("expired", with("exp", json!(now - 60))),
        ("not valid yet", with("nbf", json!(now + 120))),
        ("wrong audience", with("aud", json!("another-api"))),
        ("wrong audiences", with("aud", json!(["a", "orders-api-2"]))),
        ("wrong issuer", with("iss", json!("http://elsewhere.example"))),
        ("issuer with a slash more", with("iss", json!(format!("{}/", issuer.url())))),
        ("no exp", without("exp")),
        ("no nbf", without("nbf")),
        ("no iss", without("iss")),
        ("no aud", without("aud")),
        ("no sub", without("sub")),
        ("exp is text", with("exp", json!("tomorrow"))),
        ("sub is a number", with("sub", json!(7))),
        ("sub is no customer", with("sub", json!("a b\r\nc"))),
        ("100 kB", with("padding", json!("x".repeat(75_000)))),
        ("empty", String::new()),
        ("not a token", "abc".to_owned()),
        ("four parts", format!("{valid}.x")),
    ]
}

/// Source: RFC 4648, 5, without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let index = usize::try_from((bits >> (18 - 6 * place)) & 63).unwrap();
            text.push(char::from(ALPHABET[index]));
        }
    }
    text
}
