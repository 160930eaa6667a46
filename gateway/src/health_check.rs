//! Beside the requests: looks how every instance does, and where the names lead now.

use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_rt::spawn;
use tokio::time::{sleep, timeout};

use crate::shared_state::SharedState;
use crate::upstreams::Upstreams;
use crate::upstreams::instance::{HealthCheckResult, Instance};
use crate::upstreams::probe::{ProbeError, probe};

/// How long an instance may take to say how it does, and half of that to accept the connection.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// However many requests find something amiss, it is looked at so often at most.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Looks every `STELE_HEALTH_INTERVAL`, and when something is amiss, for as long as the gateway lives.
pub(crate) async fn run(live: Weak<SharedState>) {
    while let Some(live) = live.upgrade() {
        let config = live.config();
        for route in config.table.routes() {
            check_service(&live, &route.service, &route.upstreams);
        }
        let interval = config.health_interval;
        drop(config);
        let alarm = Arc::clone(&live.health_check_trigger);
        // Not while it sleeps: a gateway that has ended must not be kept by the one who looks after it.
        drop(live);
        sleep(MIN_CHECK_INTERVAL.min(interval)).await;
        let _ = timeout(interval.saturating_sub(MIN_CHECK_INTERVAL), alarm.notified()).await;
    }
}

fn check_service(live: &Arc<SharedState>, service: &str, upstreams: &Upstreams) {
    check_instances(service, upstreams);
    let (live, upstreams, service) = (Arc::clone(live), upstreams.clone(), service.to_owned());
    spawn(async move {
        let config = live.config();
        if upstreams.resolve(config.resolver.as_ref(), config.resolve_interval).await {
            let instances: Vec<_> = upstreams.instances().iter().map(|one| one.address()).collect();
            tracing::info!(service, ?instances, "instances");
            live.health_check_trigger.notify_one();
        }
    });
}

fn check_instances(service: &str, upstreams: &Upstreams) {
    for instance in upstreams.instances().iter().filter(|one| one.try_begin_check()) {
        let (instance, service) = (Arc::clone(instance), service.to_owned());
        spawn(async move {
            let outcome = check_instance(&instance).await;
            if instance.record_health_check(outcome) {
                let address = instance.address();
                match outcome {
                    HealthCheckResult::Ready => tracing::info!(service, instance = %address, "ready"),
                    HealthCheckResult::NotReady => {
                        tracing::warn!(service, instance = %address, "says that it is not ready");
                    }
                    HealthCheckResult::NoResponse => tracing::warn!(service, instance = %address, "does not answer"),
                    HealthCheckResult::ConnectFailed => {
                        tracing::warn!(service, instance = %address, "cannot be connected to");
                    }
                }
            }
        });
    }
}

/// Asks the instance itself, at the address that requests go to, over a connection of its own.
async fn check_instance(instance: &Instance) -> HealthCheckResult {
    match timeout(PROBE_TIMEOUT, probe(instance, "/readyz", PROBE_TIMEOUT / 2, 0)).await {
        // What is not Stele's may have no such page; that it answers is what it can say.
        Ok(Ok(told)) if !told.status.is_server_error() => HealthCheckResult::Ready,
        Ok(Ok(_)) => HealthCheckResult::NotReady,
        Ok(Err(ProbeError::Connect(_))) => HealthCheckResult::ConnectFailed,
        Ok(Err(ProbeError::NoResponse(_))) | Err(_) => HealthCheckResult::NoResponse,
    }
}
