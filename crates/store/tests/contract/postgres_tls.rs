//! TLS to PostgreSQL: each mode does what libpq's users expect of it, and none does less than it says.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use stele_store::{Database, DatabaseUrl, OpenError, SchemaState};
use stele_testservers::Postgres;

struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl CertificateAuthority {
    fn new() -> Self {
        let (mut params, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    /// A server with TLS, whose certificate names `localhost` and nothing else, and which takes nobody without TLS and
    /// the password `hunter2`.
    fn start_tls_server(&self) -> Postgres {
        let (params, key) = (CertificateParams::new(["localhost".to_owned()]).unwrap(), KeyPair::generate().unwrap());
        let server = Postgres::start();
        server.write_file("server.crt", &params.signed_by(&key, &self.issuer).unwrap().pem());
        server.write_file("server.key", &key.serialize_pem());
        server.write_file("pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n");
        server.execute("ALTER ROLE stele PASSWORD 'hunter2'");
        server.execute("ALTER SYSTEM SET ssl = on");
        server.restart();
        server
    }

    fn sslrootcert_parameter(&self) -> String {
        format!("&sslrootcert={}", self.file.path().display())
    }
}

async fn schema(url: &str) -> Result<SchemaState, OpenError> {
    Database::open(&DatabaseUrl::parse(url).unwrap())?.schema_state().await
}

/// Why this does not connect, told without the password.
async fn connect_error(url: &str) -> String {
    let error = schema(url).await.expect_err(url).to_string();
    assert!(!error.contains("hunter2"), "{error}");
    error
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn each_sslmode_verifies_certificates_as_documented() {
    let (ours, other) = (CertificateAuthority::new(), CertificateAuthority::new());
    let server = ours.start_tls_server();
    let at = |host: &str, parameters: &str| {
        format!("postgres://stele:hunter2@{host}:{}/postgres?{parameters}", server.port())
    };
    let (right, wrong) = (ours.sslrootcert_parameter(), other.sslrootcert_parameter());
    for (host, parameters) in [
        ("127.0.0.1", "application_name=stele".to_owned()),
        ("127.0.0.1", "sslmode=prefer".to_owned()),
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", format!("sslmode=require{right}")),
        ("127.0.0.1", format!("sslmode=verify-ca{right}")),
        ("localhost", format!("sslmode=verify-full{right}")),
        ("localhost", format!("sslmode=verify-full{right}&channel_binding=require")),
        ("127.0.0.1", "sslmode=require&channel_binding=require".to_owned()),
    ] {
        assert_eq!(schema(&at(host, &parameters)).await.unwrap(), SchemaState::Empty, "{parameters}");
    }
    for (host, parameters, expected) in [
        ("localhost", "sslmode=disable".to_owned(), "no encryption"),
        ("127.0.0.1", format!("sslmode=require{wrong}"), "certificate"),
        ("127.0.0.1", format!("sslmode=verify-ca{wrong}"), "certificate"),
        ("localhost", format!("sslmode=verify-full{wrong}"), "certificate"),
        ("127.0.0.1", format!("sslmode=verify-full{right}"), "certificate"),
        ("localhost", "sslmode=verify-ca".to_owned(), "certificate"),
        ("localhost", "sslmode=verify-full&sslrootcert=system".to_owned(), "certificate"),
    ] {
        let error = connect_error(&at(host, &parameters)).await;
        assert!(error.contains(expected), "{parameters}: {error}");
    }
    // The pool goes the same way.
    let target = DatabaseUrl::parse(&at("localhost", &format!("sslmode=verify-full{right}"))).unwrap();
    Database::open(&target).unwrap().users().ping().await.unwrap();
    let target = DatabaseUrl::parse(&at("localhost", &format!("sslmode=verify-full{wrong}"))).unwrap();
    assert!(Database::open(&target).unwrap().users().ping().await.is_err());
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_server_without_tls_is_rejected_where_tls_is_required() {
    let (ours, server) = (CertificateAuthority::new(), Postgres::start());
    let at = |parameters: &str| format!("{}?{parameters}", server.default_database_url());
    for parameters in ["sslmode=disable", "sslmode=prefer", ""] {
        assert_eq!(schema(&at(parameters)).await.unwrap(), SchemaState::Empty, "{parameters}");
    }
    let right = ours.sslrootcert_parameter();
    for parameters in [
        "sslmode=require".to_owned(),
        format!("sslmode=verify-ca{right}"),
        format!("sslmode=verify-full{right}"),
        format!("sslmode=prefer&sslmode=verify-full{right}"),
    ] {
        let error = connect_error(&at(&parameters)).await;
        assert!(error.contains("does not support TLS"), "{parameters}: {error}");
    }
}
