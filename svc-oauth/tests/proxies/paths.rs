//! Spellings of a closed path: none may reach the application as one that it could read as the closed path.

use crate::client::{head, send};
use crate::world::World;

/// Spellings that some server reads as `/admin`.
const CLOSED: [&str; 28] = [
    "/admin",
    "/admin/",
    "/admin?x",
    "/%61dmin",
    "/%61%64%6d%69%6e/x",
    "//admin",
    "/./admin",
    "/x/../admin",
    "/x/..//admin",
    "/x/%2e%2e/admin",
    "/x/.%2e/admin",
    "/x%2f..%2fadmin",
    "/x/..%2fadmin",
    "/x%5c..%5cadmin",
    "/x\\..\\admin",
    "/x/..;/admin",
    "/;/admin",
    "/admin;x=y",
    "/admin;/x",
    "/admin%3bx",
    "/admin%3fx",
    "/admin%23x",
    "/admin%00",
    "/admin%0a",
    "/%2561dmin",
    "/x/%252e%252e/admin",
    "/%c0%ae%c0%ae/admin",
    "/admin/.",
];

/// All the readings of a path, decoded up to twice, of servers behind a proxy.
fn readings(target: &str) -> Vec<String> {
    let path = target.split('?').next().unwrap();
    let decode = |path: &str| {
        let mut bytes = Vec::new();
        let mut rest = path.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            let hex = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
            match (byte, hex) {
                (b'%', Some(decoded)) => {
                    bytes.push(decoded);
                    rest = &after[2..];
                }
                _ => {
                    bytes.push(byte);
                    rest = after;
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let resolve = |path: &str| {
        let mut segments: Vec<&str> = Vec::new();
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                other => segments.push(other),
            }
        }
        format!("/{}", segments.join("/"))
    };
    let (once, twice) = (decode(path), decode(&decode(path)));
    let cut = |path: &str| path.split(['?', '#', '\0', '\n']).next().unwrap().to_owned();
    let parameters =
        |path: &str| path.split('/').map(|segment| segment.split(';').next().unwrap()).collect::<Vec<_>>().join("/");
    [path.to_owned(), once, twice]
        .iter()
        .flat_map(|path| [path.clone(), path.replace('\\', "/")])
        .flat_map(|path| [path.clone(), cut(&path), parameters(&path)])
        .map(|path| resolve(&path))
        .collect()
}

fn is_closed(target: &str) -> bool {
    readings(target).iter().any(|path| path == "/admin" || path.starts_with("/admin/"))
}

#[test]
fn every_spelling_is_closed_in_some_reading() {
    for target in CLOSED {
        assert!(is_closed(target) || target.starts_with("/%c0"), "{target}");
    }
    for target in ["/x", "/administration", "/x/admin"] {
        assert!(!is_closed(target), "{target}");
    }
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn no_spelling_of_a_closed_path_reaches_the_application() {
    let world = World::start().await;
    for proxy in &world.proxies {
        for target in CLOSED {
            let response = send(proxy.port(), head("GET", target, &[world.authorization()]).as_bytes()).await;
            let received = world.application.take();
            assert!(received.is_empty(), "{:?} {target}: {received:?}", proxy.program());
            assert!(response.status >= 400 || response.status / 100 == 3, "{:?} {target}", proxy.program());
        }
    }
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn ordinary_paths_reach_the_application_as_they_were_sent() {
    let world = World::start().await;
    let targets = ["/", "/a%20b/c?d=%2f..%2f&e=;//", "/%E7%AE%A1%E7%90%86/x", "/a.b/c-d_e~f", "/x/100%25", "/a:b@c,d"];
    for proxy in &world.proxies {
        for target in targets {
            let response = send(proxy.port(), head("GET", target, &[world.authorization()]).as_bytes()).await;
            let received = world.application.take();
            let reached: Vec<_> = received.iter().map(|request| request.target.as_str()).collect();
            assert_eq!((response.status, reached), (200, vec![target]), "{:?}", proxy.program());
        }
    }
}
