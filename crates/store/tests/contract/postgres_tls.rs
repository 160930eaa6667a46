//! TLS to PostgreSQL: each `sslmode` verifies the server's certificate as libpq does.

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

    /// A server with a certificate for `localhost` only, which requires TLS and the password `hunter2`.
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

async fn read_schema_state(url: &str) -> Result<SchemaState, OpenError> {
    Database::open(&DatabaseUrl::parse(url).unwrap())?.schema_state().await
}

/// The error of a connection that must fail. Checks that it omits the password.
async fn connect_error(url: &str) -> String {
    let error = read_schema_state(url).await.expect_err(url).to_string();
    assert!(!error.contains("hunter2"), "{error}");
    error
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn each_sslmode_verifies_certificates_as_documented() {
    let (authority, other_authority) = (CertificateAuthority::new(), CertificateAuthority::new());
    let server = authority.start_tls_server();
    let url_with = |host: &str, parameters: &str| {
        format!("postgres://stele:hunter2@{host}:{}/postgres?{parameters}", server.port())
    };
    let (trusted_root, other_root) = (authority.sslrootcert_parameter(), other_authority.sslrootcert_parameter());
    for (host, parameters) in [
        ("127.0.0.1", "application_name=stele".to_owned()),
        ("127.0.0.1", "sslmode=prefer".to_owned()),
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", format!("sslmode=require{trusted_root}")),
        ("127.0.0.1", format!("sslmode=verify-ca{trusted_root}")),
        ("localhost", format!("sslmode=verify-full{trusted_root}")),
        ("localhost", format!("sslmode=verify-full{trusted_root}&channel_binding=require")),
        ("127.0.0.1", "sslmode=require&channel_binding=require".to_owned()),
    ] {
        assert_eq!(read_schema_state(&url_with(host, &parameters)).await.unwrap(), SchemaState::Empty, "{parameters}");
    }
    for (host, parameters, expected) in [
        ("localhost", "sslmode=disable".to_owned(), "no encryption"),
        ("127.0.0.1", format!("sslmode=require{other_root}"), "certificate"),
        ("127.0.0.1", format!("sslmode=verify-ca{other_root}"), "certificate"),
        ("localhost", format!("sslmode=verify-full{other_root}"), "certificate"),
        ("127.0.0.1", format!("sslmode=verify-full{trusted_root}"), "certificate"),
        ("localhost", "sslmode=verify-ca".to_owned(), "certificate"),
        ("localhost", "sslmode=verify-full&sslrootcert=system".to_owned(), "certificate"),
    ] {
        let error = connect_error(&url_with(host, &parameters)).await;
        assert!(error.contains(expected), "{parameters}: {error}");
    }
    // The pool uses the same settings.
    let parsed_url = DatabaseUrl::parse(&url_with("localhost", &format!("sslmode=verify-full{trusted_root}"))).unwrap();
    Database::open(&parsed_url).unwrap().users().ping().await.unwrap();
    let parsed_url = DatabaseUrl::parse(&url_with("localhost", &format!("sslmode=verify-full{other_root}"))).unwrap();
    assert!(Database::open(&parsed_url).unwrap().users().ping().await.is_err());
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_server_without_tls_is_rejected_where_tls_is_required() {
    let (authority, server) = (CertificateAuthority::new(), Postgres::start());
    let url_with = |parameters: &str| format!("{}?{parameters}", server.default_database_url());
    for parameters in ["sslmode=disable", "sslmode=prefer", ""] {
        assert_eq!(read_schema_state(&url_with(parameters)).await.unwrap(), SchemaState::Empty, "{parameters}");
    }
    let trusted_root = authority.sslrootcert_parameter();
    for parameters in [
        "sslmode=require".to_owned(),
        format!("sslmode=verify-ca{trusted_root}"),
        format!("sslmode=verify-full{trusted_root}"),
        format!("sslmode=prefer&sslmode=verify-full{trusted_root}"),
    ] {
        let error = connect_error(&url_with(&parameters)).await;
        assert!(error.contains("does not support TLS"), "{parameters}: {error}");
    }
}
