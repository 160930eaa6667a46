//! Request smuggling through a chain of proxies: nginx or HAProxy in front of the gateway. Every request that reaches
//! a service through both must also reach it through the front proxy alone.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::CLIENT_TIMEOUT_SECONDS;
use super::corpus::{load_groups, start_recorders};
use super::nginx_comparison::nginx_path;
use crate::recorder::RecordingService;
use crate::support::{TEST_TIMEOUT, local_listener, start_gateway};

/// The groups with a request that a proxy might read as two requests.
const SMUGGLING_GROUPS: [&str; 8] =
    ["host", "length-and-encoding", "lengths", "encodings", "line-ends", "chunks", "trailers", "pipelining"];

/// The front proxy's addresses: one leads to the services, the other to the gateway.
struct FrontAddresses {
    direct: SocketAddr,
    via_gateway: SocketAddr,
}

/// A running proxy, killed when dropped.
struct FrontProxy {
    child: Child,
    _folder: TempDir,
}

impl Drop for FrontProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn host_and_port(recorder: &RecordingService) -> &str {
    recorder.url.strip_prefix("http://").unwrap()
}

fn start_proxy(program: &str, arguments: &[&str], config: &str, addresses: &FrontAddresses) -> FrontProxy {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("front.conf"), config).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder.path());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let front = FrontProxy { child: child.unwrap_or_else(|e| panic!("{program}: {e}")), _folder: folder };
    let deadline = Instant::now() + TEST_TIMEOUT;
    while [addresses.direct, addresses.via_gateway].iter().any(|address| TcpStream::connect(address).is_err()) {
        assert!(Instant::now() < deadline, "{program} does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    front
}

fn start_nginx(addresses: &FrontAddresses, services: &[RecordingService], gateway: SocketAddr) -> FrontProxy {
    let [portal, mefp, jwt] = [0, 1, 2].map(|index| host_and_port(&services[index]));
    let FrontAddresses { direct, via_gateway } = addresses;
    let temporary: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {name};")).concat();
    let config = format!(
        "daemon off; master_process off; pid pid; error_log error.log; events {{ }}
         http {{ access_log off; {temporary} client_header_timeout {CLIENT_TIMEOUT_SECONDS}s; client_body_timeout {CLIENT_TIMEOUT_SECONDS}s;
           keepalive_timeout {CLIENT_TIMEOUT_SECONDS}s; proxy_http_version 1.1; proxy_set_header Connection '';
           upstream portal {{ server {portal}; keepalive 4; }} upstream mefp {{ server {mefp}; keepalive 4; }}
           upstream jwt {{ server {jwt}; keepalive 4; }} upstream gateway {{ server {gateway}; keepalive 4; }}
           server {{ listen {direct}; location /i/ {{ proxy_pass http://portal; }}
             location /auth/ {{ proxy_pass http://mefp; }} location /api/ {{ proxy_pass http://jwt; }} }}
           server {{ listen {via_gateway}; location / {{ proxy_pass http://gateway; }} }} }}"
    );
    let arguments = ["-e", "error.log", "-c", "front.conf", "-p", "."];
    start_proxy(&nginx_path(), &arguments, &config, addresses)
}

fn start_haproxy(addresses: &FrontAddresses, services: &[RecordingService], gateway: SocketAddr) -> FrontProxy {
    let [portal, mefp, jwt] = [0, 1, 2].map(|index| host_and_port(&services[index]));
    let FrontAddresses { direct, via_gateway } = addresses;
    let config = format!(
        "defaults\n mode http\n timeout connect {CLIENT_TIMEOUT_SECONDS}s\n timeout client {CLIENT_TIMEOUT_SECONDS}s\n timeout server {CLIENT_TIMEOUT_SECONDS}s\n \
         timeout http-request {CLIENT_TIMEOUT_SECONDS}s\n http-reuse always\n\
         frontend direct\n bind {direct}\n use_backend portal if {{ path_beg /i/ }}\n \
         use_backend mefp if {{ path_beg /auth/ }}\n default_backend jwt\n\
         frontend via_gateway\n bind {via_gateway}\n default_backend gateway\n\
         backend portal\n server s {portal}\nbackend mefp\n server s {mefp}\nbackend jwt\n server s {jwt}\n\
         backend gateway\n server s {gateway}\n"
    );
    start_proxy("/usr/sbin/haproxy", &["-db", "-f", "front.conf"], &config, addresses)
}

async fn assert_no_smuggling(start_front: impl FnOnce(&FrontAddresses, &[RecordingService], SocketAddr) -> FrontProxy) {
    let services = start_recorders();
    let [portal, mefp, jwt] = &services;
    let upstreams = [("portal", portal.url.as_str()), ("mefp", &mefp.url), ("jwt", &jwt.url)];
    let settings = [
        ("STELE_CLIENT_TIMEOUT", CLIENT_TIMEOUT_SECONDS),
        ("STELE_BODY_TIMEOUT", CLIENT_TIMEOUT_SECONDS),
        ("STELE_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let gateway = start_gateway(&upstreams, &settings);
    let [direct, via_gateway] = [local_listener(), local_listener()].map(|listener| listener.local_addr().unwrap());
    let addresses = FrontAddresses { direct, via_gateway };
    let _front = start_front(&addresses, &services, gateway.address);
    let groups = load_groups();
    let cases = groups.iter().filter(|group| SMUGGLING_GROUPS.contains(&group.name)).flat_map(|group| &group.cases);
    let mut request_count = 0;
    for case in cases {
        let mut reached = Vec::new();
        for address in [addresses.direct, addresses.via_gateway] {
            case.run(address, &services).await;
            reached.push(services.iter().flat_map(RecordingService::take_requests).collect::<Vec<_>>());
        }
        let [through_front, through_both] = &reached[..] else { unreachable!() };
        request_count += through_both.len();
        // The front proxy forwards what the recorder rejects, such as HTTP/1.0: there is nothing to compare with.
        if through_front.iter().any(|request| request.contains(" garbage ")) {
            continue;
        }
        let mut unmatched = through_front.clone();
        for request in through_both {
            let index = unmatched.iter().position(|other| other == request);
            let index =
                index.unwrap_or_else(|| panic!("{}: smuggled {request:?}, expected {through_front:?}", case.name));
            unmatched.remove(index);
        }
    }
    assert!(request_count > 0, "no request reaches a service through both proxies");
}

#[actix_web::test]
#[ignore = "needs nginx"]
async fn nginx_and_gateway_forward_no_smuggled_request() {
    assert_no_smuggling(start_nginx).await;
}

#[actix_web::test]
#[ignore = "needs haproxy"]
async fn haproxy_and_gateway_forward_no_smuggled_request() {
    assert_no_smuggling(start_haproxy).await;
}
