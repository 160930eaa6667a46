//! Microbenchmarks of proofs, password hashing, envelopes, request bodies, JWTs and routing.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use gateway::Config;
use stele_core::oauth::SigningAlgorithm;
use stele_core::password::PasswordDigest;
use stele_core::proof::SaltedProof;
use stele_core::random::{OsRandom, Random as _};
use stele_core::seal::Sealer;
use stele_core::session::{Session, Token};
use stele_core::time::Timestamp;
use stele_core::user::UserId;
use stele_core::verifier::{self, Argon2Cost, HashMemory, PresentedSecret};
use stele_core::{hex, mac};
use stele_dialect::Fields;
use stele_jose::{KeySet, LoginTokens};
use stele_keys::{KeyConsumer as _, RegisteredKey};
use stele_service::Settings;
use svc_mefp::envelope::{EnvelopeCipher, EnvelopeKey, Padding};
use zeroize::Zeroizing;

const NOW: Timestamp = Timestamp::from_secs(1_767_254_400);
const PASSWORD_DIGEST: [u8; 16] = *b"sixteen bytes 16";

/// Exits with an error if the benchmark's input cannot be created.
fn require<T>(value: Option<T>, name: &str) -> T {
    value.unwrap_or_else(|| {
        eprintln!("cannot create {name}");
        std::process::exit(2)
    })
}

fn bench_proof(criterion: &mut Criterion) {
    let digest = PasswordDigest::from_bytes(PASSWORD_DIGEST);
    let at = 1_767_254_400_u64;
    let salted = SaltedProof { digest: digest.salted_hash(at), timestamp: at.into() };
    criterion.bench_function("salted proof: md5(D + timestamp), compared", |b| {
        b.iter(|| black_box(&digest).matches_proof(black_box(&salted)));
    });
    criterion.bench_function("replay mark: SHA-256 of user and digest", |b| {
        b.iter(|| mac::sha256(black_box(&[7; 32])));
    });
    let sealer = require(Sealer::new([(1, Zeroizing::new([7; 32]))]), "a sealer");
    let sealed = sealer.seal(NOW, b"user\0sixteen bytes 16", &PASSWORD_DIGEST, &OsRandom);
    criterion.bench_function("seal opened: AES-256-GCM, 16 bytes", |b| {
        b.iter(|| sealer.open(black_box(b"user\0sixteen bytes 16"), black_box(&sealed)));
    });
    criterion.bench_function("session token: 128 random bits, SHA-256", |b| {
        b.iter(|| Token::generate(&OsRandom).key());
    });
}

fn bench_password(criterion: &mut Criterion) {
    let digest = PasswordDigest::from_bytes(PASSWORD_DIGEST);
    let stored = require(
        verifier::hash(&digest, &OsRandom.bits128(), Argon2Cost::default(), &mut HashMemory::default()),
        "a hash",
    );
    let secret = PresentedSecret::Digest(digest);
    let mut group = criterion.benchmark_group("argon2id m=19456 t=2 p=1");
    group.sample_size(20);
    let verify = |memory: &mut HashMemory| verifier::verify(black_box(&stored), black_box(&secret), memory);
    group.bench_function("verified, in reused memory", |b| {
        let mut memory = HashMemory::default();
        b.iter(|| verify(&mut memory));
    });
    group.bench_function("verified, in new memory", |b| b.iter(|| verify(&mut HashMemory::default())));
    group.finish();
}

fn bench_envelope(criterion: &mut Criterion) {
    let key = require(EnvelopeKey::new("0123456789abcdef0123456789abcdef").ok(), "a key");
    let cipher = EnvelopeCipher::new(key, Zeroizing::new(*b"fedcba9876543210"));
    let request = br#"{"login_name":"13800138000","password":"correct horse 07"}"#;
    let response = br#"{"result":1,"reg_app":"melink","reg_time":"2024-01-01 08:00:00"}"#;
    let encrypted = cipher.encrypt(request, Padding::Pkcs7);
    let mut group = criterion.benchmark_group("envelope: AES-256-CBC and base64");
    group.throughput(Throughput::Bytes(request.len() as u64));
    group.bench_function("decrypted, with its JSON", |b| b.iter(|| cipher.decrypt(black_box(&encrypted))));
    group.throughput(Throughput::Bytes(response.len() as u64));
    group.bench_function("encrypted", |b| b.iter(|| cipher.encrypt(black_box(response), Padding::Pkcs7)));
    group.finish();
}

fn bench_bodies(criterion: &mut Criterion) {
    let proof = hex::encode(&PASSWORD_DIGEST);
    let json = format!(r#"{{"username":"13800138000","password":"{proof}","timestamp":"1767254400"}}"#);
    let form = format!("username=13800138000&password={proof}&timestamp=1767254400");
    let multipart_part = |name: &str, value: &str| {
        format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let multipart = multipart_part("username", "13800138000")
        + &multipart_part("password", &proof)
        + &multipart_part("timestamp", "1767254400");
    let bodies = [
        ("JSON", "application/json", json),
        ("form", "application/x-www-form-urlencoded", form),
        ("multipart", "multipart/form-data; boundary=edge", multipart + "--edge--\r\n"),
    ];
    let mut group = criterion.benchmark_group("body of a login read");
    for (name, kind, body) in bodies {
        group.bench_function(name, |b| {
            b.iter(|| Fields::from_body(Some(kind), black_box(body.as_bytes())));
        });
    }
    group.finish();
}

fn bench_tokens(criterion: &mut Criterion) {
    let session = Session {
        user: UserId::from_bytes([7; 16]),
        dialect: "jwt".to_owned(),
        app: String::new(),
        created: NOW,
        expires: Timestamp::from_secs(NOW.as_secs() + 43_200),
        last_seen: NOW,
        epoch: 0,
    };
    let mut group = criterion.benchmark_group("JWT");
    for algorithm in SigningAlgorithm::all() {
        let (name, key_set) = (algorithm.as_str(), KeySet::empty(&[algorithm]));
        let keys = require(key_set.keys_of(algorithm), "the algorithm's keys");
        let pem = (keys.kind().generate)(&OsRandom);
        keys.set_keys(vec![RegisteredKey { number: 1, active_from: Timestamp::from_secs(0), key_material: pem }]);
        let tokens = LoginTokens::new(&key_set, algorithm, "stele");
        let token = Token::generate(&OsRandom);
        let issued = require(tokens.issue(&session, &token).ok(), "a JWT");
        group.bench_function(format!("{name} signed"), |b| b.iter(|| tokens.issue(black_box(&session), &token)));
        group.bench_function(format!("{name} verified"), |b| b.iter(|| tokens.verify(black_box(&issued), NOW)));
    }
    group.finish();
}

fn bench_routing(criterion: &mut Criterion) {
    let config = require(Config::from_settings(&Settings::default()).ok(), "the built-in routes");
    let mut group = criterion.benchmark_group("route found");
    for path in [
        "/api/v1/cloudbox/smarttms/auth/authsalt",
        "/container/api/v1/cloudbox/tms/auth/authsalt",
        "/API/vi/auth/Login",
        "/no/route/leads/here",
    ] {
        group.bench_function(path, |b| b.iter(|| config.service_for(black_box(path))));
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench_proof(&mut criterion);
    bench_password(&mut criterion);
    bench_envelope(&mut criterion);
    bench_bodies(&mut criterion);
    bench_tokens(&mut criterion);
    bench_routing(&mut criterion);
    criterion.final_summary();
}
