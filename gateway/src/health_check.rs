//! Active health checks of every instance, and periodic name lookups, in background tasks.

use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_rt::spawn;
use tokio::time::{sleep, timeout};

use crate::shared_state::SharedState;
use crate::upstreams::Upstreams;
use crate::upstreams::instance::{HealthCheckResult, Instance};
use crate::upstreams::probe::{BodyRead, ProbeError, probe};

/// Timeout of a probe. Half of it is the connect timeout.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Minimum interval between health checks, however many failed requests trigger one.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Checks all instances every `STELE_HEALTH_INTERVAL`, and early after a failed connect, a change of the instances or a
/// reload. Runs until the gateway is dropped.
pub(crate) async fn run(shared: Weak<SharedState>) {
    while let Some(shared) = shared.upgrade() {
        let config = shared.config();
        for route in config.table.routes() {
            check_service(&shared, &route.service, &route.upstreams);
        }
        let interval = config.health_interval;
        drop(config);
        let trigger = Arc::clone(&shared.health_check_trigger);
        // Hold no reference while sleeping, or this task would keep a stopped gateway alive.
        drop(shared);
        sleep(MIN_CHECK_INTERVAL.min(interval)).await;
        let _ = timeout(interval.saturating_sub(MIN_CHECK_INTERVAL), trigger.notified()).await;
    }
}

/// Starts a health check of each instance of a service, and a name lookup if one is due.
fn check_service(shared: &Arc<SharedState>, service: &str, upstreams: &Upstreams) {
    check_instances(service, upstreams);
    let (shared, upstreams, service) = (Arc::clone(shared), upstreams.clone(), service.to_owned());
    spawn(async move {
        let config = shared.config();
        if upstreams.resolve(config.resolver.as_ref(), config.resolve_interval).await {
            let instances: Vec<_> = upstreams.instances().iter().map(|instance| instance.address()).collect();
            tracing::info!(service, ?instances, "instances changed");
            shared.health_check_trigger.notify_one();
        }
    });
}

/// Starts a health check of each instance that is not being checked, and logs changes of its health.
fn check_instances(service: &str, upstreams: &Upstreams) {
    for instance in upstreams.instances().iter().filter(|instance| instance.try_begin_check()) {
        let (instance, service) = (Arc::clone(instance), service.to_owned());
        spawn(async move {
            let result = check_instance(&instance).await;
            if instance.record_health_check(result) {
                let address = instance.address();
                match result {
                    HealthCheckResult::Ready => tracing::info!(service, instance = %address, "health check: ready"),
                    HealthCheckResult::NotReady => {
                        tracing::warn!(service, instance = %address, "health check: not ready");
                    }
                    HealthCheckResult::NoResponse => {
                        tracing::warn!(service, instance = %address, "health check: no response");
                    }
                    HealthCheckResult::ConnectFailed => {
                        tracing::warn!(service, instance = %address, "health check: cannot connect");
                    }
                }
            }
        });
    }
}

/// Probes the instance at the address that requests are sent to, over a new connection.
async fn check_instance(instance: &Instance) -> HealthCheckResult {
    match timeout(PROBE_TIMEOUT, probe(instance, "/readyz", PROBE_TIMEOUT / 2, BodyRead::Skip)).await {
        // An upstream other than Stele's services may have no `/readyz`: any response below 500 counts as ready.
        Ok(Ok(response)) if !response.status.is_server_error() => HealthCheckResult::Ready,
        Ok(Ok(_)) => HealthCheckResult::NotReady,
        Ok(Err(ProbeError::ConnectFailed)) => HealthCheckResult::ConnectFailed,
        Ok(Err(ProbeError::NoResponse)) | Err(_) => HealthCheckResult::NoResponse,
    }
}
