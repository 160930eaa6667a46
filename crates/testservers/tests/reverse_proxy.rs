//! The reverse proxies start on free ports with a configuration of the test, and stop with the value.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use stele_testservers::{ProxyProgram, ReverseProxy};

fn configuration(program: ProxyProgram, port: u16) -> String {
    match program {
        ProxyProgram::Nginx => format!("server {{ listen 127.0.0.1:{port}; return 200 \"hello\"; }}"),
        ProxyProgram::Caddy => format!(":{port} {{\n\trespond hello\n}}\n"),
        ProxyProgram::Envoy => ENVOY.replace("PORT", &port.to_string()),
    }
}

const ENVOY: &str = r#"
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: PORT } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: test
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                direct_response: { status: 200, body: { inline_string: hello } }
          http_filters:
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#;

fn get(port: u16) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    Ok(response)
}

#[test]
#[ignore = "needs nginx, Caddy and Envoy"]
fn each_proxy_serves_its_configuration_until_it_is_dropped() {
    for program in ProxyProgram::ALL {
        let proxies = [(); 2].map(|()| ReverseProxy::start(program, |port| configuration(program, port)));
        for proxy in &proxies {
            let response = get(proxy.port()).unwrap();
            let is_served = response.starts_with("HTTP/1.1 200") && response.contains("hello");
            assert!(is_served, "{program:?}: {response}");
        }
        let ports = [&proxies[0], &proxies[1]].map(ReverseProxy::port);
        drop(proxies);
        for port in ports {
            assert!(get(port).is_err(), "{program:?} still runs");
        }
    }
}
