//! The services of all dialects and of standard tokens, and the settings of the gateway, the services and `stele up`.
//! `scripts/dialects` writes the list of services from `dialects.toml`.

use std::net::SocketAddr;

use stele_app::Service;
use stele_app::settings::shared_settings;
use stele_service::setting::{SettingList, optional, with_default};

/// Every service behind the gateway.
// dialects: services
#[rustfmt::skip]
pub const ALL: [Service; 6] = [
    svc_cloudbox::SERVICE,
    svc_tms::SERVICE,
    svc_portal::SERVICE,
    svc_mefp::SERVICE,
    svc_jwt::SERVICE,
    svc_oauth::SERVICE,
];
// dialects: end

/// The names of the services through which users log in.
pub fn login_dialects() -> Vec<&'static str> {
    ALL.iter().filter(|service| service.is_login_dialect()).map(|service| service.name).collect()
}

/// Whether users log in through the service with this name.
pub fn is_login_dialect(name: &str) -> bool {
    login_dialects().contains(&name)
}

stele_service::settings! {
    /// Settings that only `stele up` reads.
    const UP_SETTINGS = "STELE_";
    /// create demo users at the start, as `--demo` does
    pub(crate) DEMO: bool = with_default("false");
    /// address at which `stele up` serves the endpoints of forward auth as well, for reverse proxies; at the public address
    /// only proxies on loopback and `STELE_TRUSTED_PROXIES` may use them
    pub(crate) AUTHZ_LISTEN: Option<SocketAddr> = optional("a free port of loopback");
}

/// Every setting of the gateway, the services and `stele up`, each once.
pub fn settings() -> Vec<SettingList> {
    let mut lists = shared_settings();
    lists.extend([gateway::SETTINGS, UP_SETTINGS]);
    lists.extend(ALL.iter().map(|service| service.settings));
    lists
}
