//! TLS to the databases that users are imported from, with a private certificate authority.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use stele_testkit::servers::{Mariadb, Postgres, execute};

use super::fixture::{ImportFixture, assert_ended};
use crate::client::md5_hex;

const QUERY: &str = "query = \"SELECT user_id, user_name, mobile, memo, password FROM users\"";

struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl CertificateAuthority {
    fn new() -> Self {
        let (mut params, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `localhost` only, with its key.
    fn issue(&self) -> (String, String) {
        let (params, key) = (CertificateParams::new(["localhost".to_owned()]).unwrap(), KeyPair::generate().unwrap());
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn table() -> String {
    let values = format!("(1, 'alice', NULL, NULL, '{}')", md5_hex("123456"));
    "CREATE TABLE users (user_id INTEGER, user_name VARCHAR(64), mobile VARCHAR(32), memo VARCHAR(64), \
     password VARCHAR(64)); INSERT INTO users VALUES "
        .to_owned()
        + &values
}

/// `url` returns the source's URL for a host and parameters; `verified` are the parameters that ask for TLS, `plain` those
/// that ask for none. The server accepts TLS only.
fn assert_certificates_are_verified(
    format: &str,
    authority: &CertificateAuthority,
    url: impl Fn(&str, &str) -> String,
    verified: &[&str],
    plain: &str,
) {
    let mut fixture = ImportFixture::on_sqlite();
    fixture.write_map(format, QUERY);
    let ca = fixture.installation.path("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let other = fixture.installation.path("other.pem");
    std::fs::write(&other, CertificateAuthority::new().pem).unwrap();
    for parameters in verified {
        fixture.installation.set("SSL_CERT_FILE", ca.to_str().unwrap());
        assert_ended(
            &fixture.import_from("check", &url("localhost", parameters)),
            0,
            "added 1 same 0 merged 0 refused 0",
        );
        // The certificate does not name this host.
        fixture.import_from("check", &url("127.0.0.1", parameters)).assert_failed(2, "certificate");
        fixture.installation.unset();
        fixture.installation.set("SSL_CERT_FILE", other.to_str().unwrap());
        fixture.import_from("check", &url("localhost", parameters)).assert_failed(2, "certificate");
        fixture.installation.unset();
    }
    // To this machine the default is no TLS, which this server rejects; an explicit choice is not upgraded, either.
    for parameters in ["", plain] {
        fixture.import_from("check", &url("localhost", parameters)).assert_failed(2, "cannot read");
    }
}

#[test]
#[ignore = "needs MariaDB"]
fn certificates_of_mariadb_sources_are_verified() {
    let authority = CertificateAuthority::new();
    let (certificate, key) = authority.issue();
    let server = Mariadb::start_with_tls(&certificate, &key);
    server.execute(&format!("CREATE DATABASE old; USE old; {}", table()));
    let url = |host: &str, parameters: &str| format!("{}?{parameters}", server.url("old").replace("127.0.0.1", host));
    assert_certificates_are_verified("mysql", &authority, url, &["require_ssl=true"], "require_ssl=false");
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn certificates_of_postgresql_sources_are_verified() {
    let authority = CertificateAuthority::new();
    let (certificate, key) = authority.issue();
    let server = Postgres::start();
    execute(&server.default_database_url(), &table());
    server.write_file("server.crt", &certificate);
    server.write_file("server.key", &key);
    server.write_file("pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\n");
    server.execute("ALTER SYSTEM SET ssl = on");
    server.restart();
    let url = |host: &str, parameters: &str| {
        format!("{}?{parameters}", server.default_database_url().replace("127.0.0.1", host))
    };
    let verified = ["sslmode=require", "sslmode=verify-full"];
    assert_certificates_are_verified("postgres", &authority, url, &verified, "sslmode=disable");
}
