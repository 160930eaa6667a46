//! Runs the five old servers on tables of a MariaDB database until it is stopped:
//! `cargo run -p stele-old-servers --example old_servers -- mysql://root@127.0.0.1:3306/old 9101`
//!
//! cloudbox listens on the given port of loopback, TMS, portal, MeFP and JWT on the next four. Tables that are missing
//! are created, empty. Passwords are md5 in cloudbox and TMS, base64 in the portal, clear in MeFP, ASP.NET Core
//! Identity's in JWT. MeFP has the app `melink`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

use std::sync::Arc;

use stele_old_servers::{MariadbTable, OldCloudbox, OldJwt, OldMefp, OldPortal, OldTms, PasswordFormat, TableSchema};

const MEFP_SECRET: &str = "0123456789abcdef0123456789abcdef";
const APP: (&str, &str) = ("melink", "0123456789abcdef");

async fn table(url: &str, schema: TableSchema) -> Arc<MariadbTable> {
    let table = MariadbTable::new(url, schema).unwrap();
    table.create_if_missing().await.unwrap();
    Arc::new(table)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<_> = std::env::args().collect();
    let [_, url, port] = args.as_slice() else { panic!("usage: old_servers mysql://USER@HOST:PORT/DATABASE PORT") };
    let port: u16 = port.parse().unwrap();
    let mefp_table = table(url, TableSchema::mefp(PasswordFormat::Clear)).await;
    let servers = [
        OldCloudbox::default().serve_at(table(url, TableSchema::cloudbox()).await, port),
        OldTms::default().serve_at(table(url, TableSchema::tms()).await, port + 1),
        OldPortal::default().serve_at(table(url, TableSchema::portal(PasswordFormat::Base64)).await, port + 2),
        OldMefp::new(MEFP_SECRET, &[APP]).serve_at(mefp_table, port + 3),
        OldJwt::default().serve_at(table(url, TableSchema::jwt(PasswordFormat::IdentityV3)).await, port + 4),
    ];
    for (name, server) in ["cloudbox", "tms", "portal", "mefp", "jwt"].into_iter().zip(&servers) {
        println!("{name} {}", server.url());
    }
    println!("mefp_secret {MEFP_SECRET}, app {} with the secret {}", APP.0, APP.1);
    tokio::signal::ctrl_c().await.unwrap();
}
