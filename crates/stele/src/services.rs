//! The dialects, as `dialects.toml` lists them: `scripts/dialects` writes the list here, and wherever else they are named.

use stele_app::Service;
use stele_app::settings::shared_settings;
use stele_service::setting::{SettingList, with_default};

/// Every dialect's service.
// dialects: services
#[rustfmt::skip]
pub const ALL: [Service; 5] = [
    svc_cloudbox::SERVICE,
    svc_tms::SERVICE,
    svc_portal::SERVICE,
    svc_mefp::SERVICE,
    svc_jwt::SERVICE,
];
// dialects: end

stele_service::settings! {
    /// What `stele up` reads beside what others read.
    const OWN = "STELE_";
    /// make demonstration users, as `--demo` does
    pub(crate) DEMO: bool = with_default("false");
}

/// Every setting of every part, each once.
pub fn settings() -> Vec<SettingList> {
    let mut lists = shared_settings();
    lists.extend([gateway::SETTINGS, OWN]);
    lists.extend(ALL.iter().map(|service| service.settings));
    lists
}
