//! Beside the requests: looks how every instance does, and where the names lead now.

use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_rt::spawn;
use tokio::time::{sleep, timeout};

use crate::live::Live;
use crate::upstreams::Upstreams;
use crate::upstreams::ask::{ProbeError, ask};
use crate::upstreams::instance::{Checked, Instance};

/// How long an instance may take to say how it does, and half of that to accept the connection.
const PATIENCE: Duration = Duration::from_secs(1);
/// However many requests find something amiss, it is looked at so often at most.
const REST: Duration = Duration::from_millis(100);

/// Looks every `STELE_HEALTH_INTERVAL`, and when something is amiss, for as long as the gateway lives.
pub(crate) async fn watch(live: Weak<Live>) {
    while let Some(live) = live.upgrade() {
        let config = live.config();
        for route in config.table.routes() {
            look_at(&live, &route.service, &route.upstreams);
        }
        let interval = config.health_interval;
        drop(config);
        let alarm = Arc::clone(&live.alarm);
        // Not while it sleeps: a gateway that has ended must not be kept by the one who looks after it.
        drop(live);
        sleep(REST.min(interval)).await;
        let _ = timeout(interval.saturating_sub(REST), alarm.notified()).await;
    }
}

fn look_at(live: &Arc<Live>, service: &str, upstreams: &Upstreams) {
    check_all(service, upstreams);
    let (live, upstreams, service) = (Arc::clone(live), upstreams.clone(), service.to_owned());
    spawn(async move {
        let config = live.config();
        if upstreams.look_up(config.resolver.as_ref(), config.resolve_interval).await {
            let instances: Vec<_> = upstreams.instances().iter().map(|one| one.address()).collect();
            tracing::info!(service, ?instances, "instances");
            live.alarm.notify_one();
        }
    });
}

fn check_all(service: &str, upstreams: &Upstreams) {
    for instance in upstreams.instances().iter().filter(|one| one.begin_check()) {
        let (instance, service) = (Arc::clone(instance), service.to_owned());
        spawn(async move {
            let outcome = check(&instance).await;
            if instance.checked(outcome) {
                let address = instance.address();
                match outcome {
                    Checked::Ready => tracing::info!(service, instance = %address, "ready"),
                    Checked::Unready => tracing::warn!(service, instance = %address, "says that it is not ready"),
                    Checked::Silent => tracing::warn!(service, instance = %address, "does not answer"),
                    Checked::Absent => tracing::warn!(service, instance = %address, "cannot be connected to"),
                }
            }
        });
    }
}

/// Asks the instance itself, at the address that requests go to, over a connection of its own.
async fn check(instance: &Instance) -> Checked {
    match timeout(PATIENCE, ask(instance, "/readyz", PATIENCE / 2, 0)).await {
        // What is not Stele's may have no such page; that it answers is what it can say.
        Ok(Ok(told)) if !told.status.is_server_error() => Checked::Ready,
        Ok(Ok(_)) => Checked::Unready,
        Ok(Err(ProbeError::Connect(_))) => Checked::Absent,
        Ok(Err(ProbeError::Exchange(_))) | Err(_) => Checked::Silent,
    }
}
