//! Compares the gateway's framing with nginx's: the same bytes, prefixes and services. Each case in which they differ
//! has nginx's outcome and the reason, which `docs/FRAMING.md` lists.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tempfile::TempDir;

use super::CLIENT_TIMEOUT_SECONDS;
use super::corpus::{CaseGroup, CaseOutcome, FramingCase, assert_outcomes, load_groups, start_recorders};
use crate::recorder::RecordingService;
use crate::support::TEST_TIMEOUT;

/// A running nginx, a single process; killed when dropped.
struct NginxProcess {
    child: Child,
    folder: TempDir,
}

/// A loopback address that no other process uses: this process's id is in its bytes, the case's number in its port.
fn case_address(case: usize) -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, a.saturating_add(1), b, c), 20_000 + u16::try_from(case).unwrap()).into()
}

/// The part of the nginx configuration for one case: an address, and the prefixes and services of the gateway.
fn server_config(case: usize, services: &[RecordingService]) -> String {
    let address = case_address(case);
    let [portal, mefp, jwt] = ["portal", "mefp", "jwt"].map(|name| format!("{name}_{case}"));
    let mut text = String::new();
    for (name, service) in [&portal, &mefp, &jwt].into_iter().zip(services) {
        let address = service.url.strip_prefix("http://").unwrap();
        writeln!(text, "upstream {name} {{ server {address}; keepalive 4; }}").unwrap();
    }
    writeln!(
        text,
        "server {{ listen {address};
           location ^~ /i/ {{ proxy_pass http://{portal}; }}
           location ^~ /code/ {{ proxy_pass http://{portal}; }}
           location ^~ /auth/ {{ proxy_pass http://{mefp}; }}
           location ~* ^/api/v[1i]/auth/ {{ proxy_pass http://{jwt}; }}
           location / {{ return 404; }} }}"
    )
    .unwrap();
    text
}

/// The path of nginx: the one set by `scripts/test`, or Debian's, whose folder is not in the PATH of an ordinary user.
#[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
pub(super) fn nginx_path() -> String {
    std::env::var("STELE_TEST_NGINX").unwrap_or_else(|_| "/usr/sbin/nginx".to_owned())
}

impl NginxProcess {
    /// Starts nginx with the size limits, timeouts and keep-alive of the gateway, and an address for each case.
    fn start(services: &[[RecordingService; 3]]) -> Self {
        let folder = TempDir::new().unwrap();
        let servers: String =
            services.iter().enumerate().map(|(case, services)| server_config(case, services)).collect();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name};"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid pid; error_log error.log;
             events {{ worker_connections 4096; }}
             http {{ access_log off; {temporary} client_max_body_size 64k;
               client_header_timeout {CLIENT_TIMEOUT_SECONDS}s; client_body_timeout {CLIENT_TIMEOUT_SECONDS}s; keepalive_timeout {CLIENT_TIMEOUT_SECONDS}s;
               proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header X-Forwarded-Host $host;
               {servers} }}"
        );
        fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let program = nginx_path();
        assert!(
            Path::new(&program).exists(),
            "{program} does not exist: use scripts/test, which downloads nginx, or set STELE_TEST_NGINX"
        );
        let child = Command::new(program)
            .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut nginx = Self { child, folder };
        nginx.wait_until_serving(services.len());
        nginx
    }

    /// Waits until nginx listens on the addresses of all cases.
    fn wait_until_serving(&mut self, cases: usize) {
        let deadline = Instant::now() + TEST_TIMEOUT;
        while (0..cases).any(|case| TcpStream::connect(case_address(case)).is_err()) {
            let exit_status = self.child.try_wait().unwrap();
            let log = || fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default();
            assert!(exit_status.is_none() && Instant::now() < deadline, "nginx does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for NginxProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[actix_web::test]
#[ignore = "needs nginx"]
async fn nginx_differs_exactly_in_the_documented_cases() {
    let groups = load_groups();
    let cases: Vec<_> = groups.iter().flat_map(|group| &group.cases).collect();
    let services: Vec<_> = cases.iter().map(|_| start_recorders()).collect();
    let _nginx = NginxProcess::start(&services);
    let outcomes = cases.iter().zip(&services).enumerate().map(|(number, (case, services))| async move {
        let expected = case.nginx.as_ref().map_or(&case.gateway, |other| &other.outcome);
        (*case, expected, case.run(case_address(number), services).await)
    });
    assert_outcomes(join_all(outcomes).await);
    for case in cases {
        assert!(case.nginx.as_ref().is_none_or(|other| other.outcome != case.gateway), "no difference: {}", case.name);
    }
}

fn describe_outcome(outcome: &CaseOutcome) -> String {
    let quote = |request: &String| format!("`{}`", request.replace('\r', "\\r").replace('\n', "\\n"));
    let reached: Vec<_> = outcome.reached.iter().map(quote).collect();
    let reached = if reached.is_empty() { "nothing".to_owned() } else { reached.join(", ") };
    format!("{}; {reached}", outcome.answers)
}

fn table_row(case: &FramingCase) -> String {
    let (name, ours) = (case.title(), describe_outcome(&case.gateway));
    match &case.nginx {
        None => format!("| {name} | {ours} |\n"),
        Some(other) => format!("| {name} | {ours} | {} | {} |\n", describe_outcome(&other.outcome), other.why),
    }
}

/// The tables of `docs/FRAMING.md`: the cases in which nginx differs, and the cases in which it does not.
fn table_pair(groups: &[CaseGroup]) -> [String; 2] {
    let cases = || groups.iter().flat_map(|group| &group.cases);
    let different_rows: String = cases().filter(|case| case.nginx.is_some()).map(table_row).collect();
    let equal_rows: String = cases().filter(|case| case.nginx.is_none()).map(table_row).collect();
    let different_head =
        "| what is sent | the gateway: answers; what reaches services | nginx | why |\n| --- | --- | --- | --- |\n";
    let equal_head = "| what is sent | both: answers; what reaches services |\n| --- | --- |\n";
    [different_head.to_owned() + &different_rows, equal_head.to_owned() + &equal_rows]
}

#[test]
fn the_framing_document_has_the_current_tables() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/FRAMING.md");
    let text = fs::read_to_string(file).unwrap();
    for table in table_pair(&load_groups()) {
        assert!(text.contains(&format!("\n\n{table}\n")), "docs/FRAMING.md must have this table:\n\n{table}");
    }
}
