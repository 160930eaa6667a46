//! The services of all dialects, and the settings of the gateway, the services and `stele up`. `scripts/dialects`
//! writes the list of services from `dialects.toml`.

use stele_app::Service;
use stele_app::settings::shared_settings;
use stele_service::setting::{SettingList, with_default};

/// The service of every dialect.
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

stele_service::settings! {
    /// Settings that only `stele up` reads.
    const UP_SETTINGS = "STELE_";
    /// create demo users at the start, as `--demo` does
    pub(crate) DEMO: bool = with_default("false");
}

/// Every setting of the gateway, the services and `stele up`, each once.
pub fn settings() -> Vec<SettingList> {
    let mut lists = shared_settings();
    lists.extend([gateway::SETTINGS, UP_SETTINGS]);
    lists.extend(ALL.iter().map(|service| service.settings));
    lists
}
