//! Least privilege: default listen addresses are on loopback, only one address is public, no unsafe code.

use std::collections::BTreeSet;
use std::fs::{read_dir, read_link, read_to_string};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use reqwest::Method;
use stele_service::admin::default_listen_address;

use crate::client::DialectClient;
use crate::support::Installation;

#[test]
fn every_program_listens_on_loopback_by_default() {
    for service in stele::services::ALL {
        let listen = service.default_listen_address();
        assert!(listen.ip().is_loopback(), "{}: {listen}", service.name);
        // The admin port is a different one, and on loopback even if the service is not.
        for listen in [listen, SocketAddr::from((Ipv4Addr::UNSPECIFIED, service.port))] {
            let admin = default_listen_address(listen);
            assert!(admin.ip().is_loopback() && admin.port() == listen.port() + 1_000, "{}: {admin}", service.name);
        }
    }
    assert!(gateway::DEFAULT_LISTEN.ip().is_loopback());
}

/// The addresses on which a process listens, from /proc.
fn listen_addresses_of(process: u32) -> BTreeSet<SocketAddr> {
    let sockets: BTreeSet<String> = read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let mut listening = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        for line in read_to_string(format!("/proc/{process}/net/{table}")).unwrap().lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            // State 0A is LISTEN; the tenth column is the socket's inode.
            if columns[3] == "0A" && sockets.contains(columns[9]) {
                listening.insert(parse_proc_address(columns[1]));
            }
        }
    }
    listening
}

/// Parses an address such as `0100007F:1F90`: 32-bit words in host byte order, little-endian wherever these tests run.
fn parse_proc_address(text: &str) -> SocketAddr {
    let (host, port) = text.split_once(':').unwrap();
    let bytes: Vec<u8> =
        (0..host.len()).step_by(2).map(|start| u8::from_str_radix(&host[start..start + 2], 16).unwrap()).collect();
    let bytes: Vec<u8> = bytes.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::from(four),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).unwrap()).to_canonical(),
    };
    (ip, u16::from_str_radix(port, 16).unwrap()).into()
}

#[tokio::test]
async fn stele_up_exposes_only_its_public_address() {
    let installation = Installation::new();
    let server = installation.start_up();
    let open = listen_addresses_of(server.process_id());
    // The gateway, the admin port, and the services.
    assert!(
        open.len() >= 2 + stele::services::ALL.len() && open.iter().all(|address| address.ip().is_loopback()),
        "{open:?}"
    );
    // Metrics are not exposed at the public address.
    let client = DialectClient::without_credentials(&server);
    let metrics = client.send(Method::GET, "/metrics", &[], String::new()).await;
    assert!(metrics.status == 404 && !metrics.body.contains("stele_"), "{metrics:?}");
    server.stop();

    let server = installation.start_up_with(&["--listen", "0.0.0.0:0"]);
    let open: Vec<_> =
        listen_addresses_of(server.process_id()).into_iter().filter(|address| !address.ip().is_loopback()).collect();
    assert_eq!(open.len(), 1, "{open:?}");
    server.stop();
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manifest: toml::Table = read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    assert_eq!(manifest["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    let members = manifest["workspace"]["members"].as_array().unwrap();
    assert!(members.len() >= 11);
    for member in members {
        let file = root.join(member.as_str().unwrap()).join("Cargo.toml");
        let member: toml::Table = read_to_string(&file).unwrap().parse().unwrap();
        assert_eq!(member["lints"]["workspace"].as_bool(), Some(true), "{}", file.display());
    }
}
