//! `stele up`: the gateway and every dialect in one process.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use gateway::Config;
use stele_web::boot::{self, Surroundings};
use stele_web::serve::{admin_default, ready, stop_on_signal};
use stele_web::trust::Trust;
use stele_web::{ConfigError, Context, Settings, admin, net};
use zeroize::Zeroizing;

use super::{CommandError, demo};
use crate::services;

pub(crate) async fn run(settings: Settings, demo: bool) -> Result<(), CommandError> {
    let wanted = settings.address("STELE_LISTEN", (Ipv4Addr::LOCALHOST, 8080).into())?;
    let demo = demo || settings.flag("STELE_DEMO", false)?;
    let gateway = Config::from_settings(&settings)?;
    let listener = net::bind(wanted, "STELE_LISTEN, or --listen")?;
    let listen = listener.local_addr().unwrap_or(wanted);
    let admin_listen = settings.address("STELE_ADMIN_LISTEN", admin_default(listen))?;
    let admin_listener = net::bind(admin_listen, "STELE_ADMIN_LISTEN")?;
    let admin_listen = admin_listener.local_addr().unwrap_or(admin_listen);

    let surroundings = Surroundings::default();
    let hop = Zeroizing::new(surroundings.random.hex128());
    boot::provision(&settings, &services::ALL, surroundings.random.as_ref()).await?;
    let mut context = boot::open(settings, surroundings).await?;
    context.trust = Trust::hop(hop.clone());
    boot::outlive_birth(&context.deps).await?;

    let (gateway, servers) = start_services(&context, gateway.with_hop_secret(hop))?;
    let gateway = gateway::start(gateway, listener)?;
    let mut handles = vec![gateway.handle()];
    handles.extend(servers);
    let deps = context.deps.clone();
    let admin = admin::serve(admin_listener, Arc::new(move || Box::pin(ready(deps.clone()))))?;
    actix_web::rt::spawn(admin);
    actix_web::rt::spawn(boot::sweep(context.deps.clone()));

    let gateway = actix_web::rt::spawn(gateway);
    announce(&context, listen, admin_listen, demo).await?;
    stop_on_signal(handles).await;
    context.deps.delivery.drain().await;
    let ended = gateway.await.map_err(|e| ConfigError::new(format!("the gateway ended: {e}")))?;
    Ok(ended.map_err(|e| ConfigError::new(format!("the gateway ended: {e}")))?)
}

/// Starts every service on a free port of loopback, where only the gateway's hop secret is believed, and tells the
/// gateway where they are.
fn start_services(context: &Context, mut gateway: Config) -> Result<(Config, Vec<ServerHandle>), ConfigError> {
    let mut handles = Vec::new();
    for service in services::ALL {
        let failed = |e| ConfigError::new(format!("no free port on loopback for {}: {e}", service.name));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server: Server = service.start(context, listener)?;
        handles.push(server.handle());
        actix_web::rt::spawn(server);
        gateway = gateway.with_upstream(service.name, &format!("http://{address}"))?;
    }
    Ok((gateway, handles))
}

async fn announce(context: &Context, listen: SocketAddr, admin: SocketAddr, demo: bool) -> Result<(), CommandError> {
    let data = context.settings.data();
    println!("Stele is up at http://{listen}   (health: http://{admin}/readyz, data: {})", data.display());
    if demo {
        print!("{}", demo::prepare(context, listen).await?);
    } else {
        println!("`stele up --demo` makes a user for each dialect and shows how to call it.");
    }
    println!("Ctrl-C stops it.");
    Ok(())
}
