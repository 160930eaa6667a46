//! TLS on the public address, tested with curl and openssl: HTTP versions, cipher suites, certificate reload, redirect.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tempfile::TempDir;

use crate::support::{
    TEST_TIMEOUT, TestGateway, local_listener, start_echo_service, start_gateway, start_gateway_with, wait_until,
};

/// A folder with a certificate for `localhost` and its key.
struct CertificateFolder {
    folder: TempDir,
}

impl CertificateFolder {
    fn new(common_name: &str) -> Self {
        let files = Self { folder: TempDir::new().unwrap() };
        files.replace_certificate(common_name);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a new certificate with this common name, and its key.
    fn replace_certificate(&self, common_name: &str) {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        let cert = params.self_signed(&key).unwrap();
        for (file, text) in [("cert.pem", cert.pem()), ("key.pem", key.serialize_pem())] {
            // The file is replaced by a rename, not overwritten, as deployments do.
            fs::write(self.path("new"), text).unwrap();
            fs::rename(self.path("new"), self.path(file)).unwrap();
        }
    }

    fn start_gateway(&self, settings: &[(&'static str, &str)]) -> TestGateway {
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| self.path(name).display().to_string());
        let tls = [("STELE_TLS_CERT", cert.as_str()), ("STELE_TLS_KEY", &key)];
        start_gateway(&[("portal", &start_echo_service("portal"))], &[&tls, settings].concat())
    }
}

/// Runs a program on another thread, because the gateway serves on this thread. Returns its stdout and stderr.
async fn run_program(program: &'static str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let output = actix_web::rt::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Sends a request with curl. Returns the response, with the HTTP version and the status in a last line.
async fn run_curl(gateway: &TestGateway, arguments: &[&str], target: &str) -> String {
    let url = format!("https://127.0.0.1:{}{target}", gateway.address.port());
    run_program(
        "curl",
        &[&["-sSki", "-w", "\nHTTP/%{http_version} %{http_code}", "-m", "20"], arguments, &[&url]].concat(),
    )
    .await
}

/// Makes a handshake with `openssl s_client`, and returns its output.
async fn run_openssl(gateway: &TestGateway, arguments: &[&str]) -> String {
    let address = gateway.address.to_string();
    run_program("openssl", &[&["s_client", "-connect", &address], arguments].concat()).await
}

#[actix_web::test]
#[ignore = "needs curl and openssl"]
async fn http1_and_http2_requests_reach_the_service() {
    let gateway = CertificateFolder::new("one").start_gateway(&[("STELE_TLS_HSTS", "365d")]);
    for (version, expected) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        let body = "x".repeat(60_000);
        let data = format!("a={body}");
        let response =
            run_curl(&gateway, &[version, "-d", &data, "-H", "X-Forwarded-Proto: http"], "/i/login?q=1").await;
        assert!(response.ends_with(expected), "{response}");
        assert!(response.contains(&body) && response.contains(r#""target":"/i/login?q=1""#), "{response}");
        assert!(response.contains(r#"["x-forwarded-proto","https"]"#), "{response}");
        assert!(response.contains(r#"["x-forwarded-host","127.0.0.1:"#), "{response}");
        let lower = response.to_ascii_lowercase();
        assert!(lower.contains("strict-transport-security: max-age=31536000\r\n"), "{response}");
        assert!(lower.contains("x-request-id: ") && !lower.contains("connection: "), "{response}");
    }
    // Without a route, the response has no dialect; with a route, it has the dialect of the route.
    assert!(run_curl(&gateway, &["--http2"], "/nowhere").await.ends_with("HTTP/2 404"));
    let rejected = run_curl(&gateway, &["--http2", "-X", "TRACE"], "/i/login").await;
    assert!(rejected.ends_with("HTTP/2 405") && rejected.contains("status_code"), "{rejected}");
    let large = "x".repeat(70_000);
    let rejected = run_curl(&gateway, &["--http2", "-d", &large], "/i/login").await;
    assert!(rejected.ends_with("HTTP/2 413"), "{rejected}");
}

#[actix_web::test]
#[ignore = "needs curl and openssl"]
async fn an_http2_connection_multiplexes_requests() {
    let gateway = CertificateFolder::new("one").start_gateway(&[]);
    let url = format!("https://127.0.0.1:{}/i/[1-60]", gateway.address.port());
    let output = run_program(
        "curl",
        &["-sk", "--http2", "-Z", "-w", "%{http_version}/%{num_connects}\n", "-o", "/dev/null", &url],
    )
    .await;
    assert_eq!(output.lines().filter(|line| line.starts_with("2/")).count(), 60, "{output}");
    assert!(output.lines().filter(|line| *line == "2/0").count() >= 50, "{output}");
}

#[actix_web::test]
#[ignore = "needs curl and openssl"]
async fn tls_1_2_offers_only_forward_secret_cipher_suites() {
    let gateway = CertificateFolder::new("one").start_gateway(&[]);
    for suite in ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"] {
        let output = run_openssl(&gateway, &["-tls1_2", "-cipher", suite]).await;
        assert!(output.contains("Protocol  : TLSv1.2") && output.contains(&format!("Cipher    : {suite}")), "{output}");
    }
    assert!(run_openssl(&gateway, &["-tls1_3"]).await.contains("TLSv1.3"));
    for weak in [
        ["-tls1_2", "-cipher", "AES128-SHA@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA@SECLEVEL=0"],
        ["-tls1_1", "-cipher", "ALL@SECLEVEL=0"],
        ["-tls1", "-cipher", "ALL@SECLEVEL=0"],
    ] {
        let output = run_openssl(&gateway, &weak).await;
        assert!(output.contains("Cipher is (NONE)"), "{weak:?}: {output}");
    }
}

async fn certificate_subject(gateway: &TestGateway) -> String {
    let output = run_openssl(gateway, &[]).await;
    output.lines().find(|line| line.trim_start().starts_with("subject=")).unwrap_or_default().to_owned()
}

#[actix_web::test]
#[ignore = "needs curl and openssl"]
async fn a_new_certificate_is_loaded_without_closing_connections() {
    let files = CertificateFolder::new("one");
    let gateway = files.start_gateway(&[]);
    assert!(certificate_subject(&gateway).await.contains("one"));
    // Two requests on one connection; the certificate changes between them.
    let [first_url, second_url] =
        ["/i/1", "/i/2"].map(|path| format!("https://127.0.0.1:{}{path}", gateway.address.port()));
    let arguments = [
        "-sk",
        "--rate",
        "20/m",
        "-w",
        "%{num_connects}\n",
        "-o",
        "/dev/null",
        "-o",
        "/dev/null",
        &first_url,
        &second_url,
    ];
    let requests = run_program("curl", &arguments);
    let change_certificate = async {
        wait_until("the first request", || gateway.inner.connections() == 1).await;
        files.replace_certificate("two");
        wait_for_certificate(&gateway, "two").await;
    };
    assert_eq!(futures_util::future::join(requests, change_certificate).await.0, "1\n0\n");
    // The key of another certificate, and a file that is no key: the old certificate stays in use.
    for bad_key_file in [CertificateFolder::new("three").path("key.pem"), files.path("cert.pem")] {
        let bad_key = fs::read(&bad_key_file).unwrap();
        fs::write(files.path("key.pem"), bad_key).unwrap();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert!(certificate_subject(&gateway).await.contains("two"));
    }
    files.replace_certificate("four");
    wait_for_certificate(&gateway, "four").await;
}

async fn wait_for_certificate(gateway: &TestGateway, common_name: &str) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !certificate_subject(gateway).await.contains(common_name) {
        assert!(Instant::now() < deadline, "timed out waiting for the certificate of {common_name}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[actix_web::test]
async fn an_unfinished_handshake_times_out() {
    let gateway = CertificateFolder::new("one").start_gateway(&[("STELE_CLIENT_TIMEOUT", "1")]);
    let mut silent = gateway.connect().await;
    assert!(crate::support::read_all(&mut silent).await.is_empty());
    wait_until("the connection to be closed", || gateway.inner.connections() == 0).await;
}

#[actix_web::test]
async fn plain_http_at_the_tls_port_gets_no_response() {
    let gateway = CertificateFolder::new("one").start_gateway(&[("STELE_CLIENT_TIMEOUT", "1")]);
    let mut plain = gateway.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET /i/login HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(!crate::support::read_all(&mut plain).await.starts_with(b"HTTP"));
}

#[actix_web::test]
#[ignore = "needs curl and openssl"]
async fn plain_http_is_redirected_to_https() {
    let files = CertificateFolder::new("one");
    let redirect_address = local_listener().local_addr().unwrap().to_string();
    let settings = [("STELE_TLS_REDIRECT_LISTEN", redirect_address.as_str()), ("STELE_TLS_REDIRECT_PORT", "443")];
    let gateway = files.start_gateway(&settings);
    for (host, target, location) in [
        ("example.com:8080", "/i/login?a=b", "https://example.com/i/login?a=b"),
        ("[::1]:80", "/", "https://[::1]/"),
        ("[::1]", "/healthz", "https://[::1]/healthz"),
    ] {
        let (url, host) = (format!("http://{redirect_address}{target}"), format!("Host: {host}"));
        let output = run_program(
            "curl",
            &["-s", "-d", "a=b", "-H", &host, "-o", "/dev/null", "-w", "%{http_code} %header{location}", &url],
        )
        .await;
        assert_eq!(output, format!("308 {location}"));
    }
    let url = format!("http://{redirect_address}/i/login");
    let output = run_program("curl", &["-s", "-H", "Host: a/b", "-o", "/dev/null", "-w", "%{http_code}", &url]).await;
    assert_eq!(output, "400");
    gateway.handle.stop(false).await;
}

#[actix_web::test]
#[ignore = "needs curl and openssl"]
async fn an_invalid_tls_setting_is_named_in_the_error() {
    let files = CertificateFolder::new("one");
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| files.path(name).display().to_string());
    let startup_error = |settings: &[(&'static str, &str)]| {
        let values = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let settings = stele_service::config::Settings::default().with_values(values);
        gateway::Config::from_settings(&settings).and_then(gateway::Config::validate).err().unwrap().to_string()
    };
    assert!(startup_error(&[("STELE_TLS_CERT", &cert)]).starts_with("STELE_TLS_KEY: missing"));
    assert!(startup_error(&[("STELE_TLS_KEY", &key)]).starts_with("STELE_TLS_CERT: missing"));
    assert!(
        startup_error(&[("STELE_TLS_CERT", "/nowhere"), ("STELE_TLS_KEY", &key)])
            .contains("STELE_TLS_CERT: cannot read")
    );
    assert!(startup_error(&[("STELE_TLS_CERT", &key), ("STELE_TLS_KEY", &key)]).contains("no certificate"));
    assert!(startup_error(&[("STELE_TLS_CERT", &cert), ("STELE_TLS_KEY", &cert)]).contains("key is not PEM"));
    assert!(startup_error(&[("STELE_TLS_HSTS", "1d")]).starts_with("STELE_TLS_HSTS: needs STELE_TLS_CERT"));
    let error = startup_error(&[("STELE_TLS_REDIRECT_LISTEN", "127.0.0.1:0")]);
    assert!(error.starts_with("STELE_TLS_REDIRECT_LISTEN: needs"), "{error}");
}

#[actix_web::test]
#[ignore = "needs curl and openssl"]
async fn a_certificate_given_in_code_serves_tls() {
    let files = CertificateFolder::new("one");
    let with_certificate = |config: gateway::Config| {
        config
            .with_certificate(&fs::read(files.path("cert.pem")).unwrap(), &fs::read(files.path("key.pem")).unwrap())
            .unwrap()
    };
    let gateway = start_gateway_with(&[("portal", &start_echo_service("portal"))], &[], with_certificate);
    assert!(run_curl(&gateway, &[], "/i/login").await.ends_with("HTTP/2 200"));
}
