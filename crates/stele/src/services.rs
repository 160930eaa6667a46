//! The dialects, as `dialects.toml` lists them: `scripts/dialects` writes the list here, and wherever else they are named.

use stele_app::Service;
use stele_app::settings::SHARED;
use stele_service::{Setting, otlp, setting};

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

/// What `stele up` reads beside what others read.
const OWN: &[Setting] = &[setting("STELE_DEMO", "false", "make demonstration users, as --demo does")];

/// Every setting of every part.
pub fn settings() -> Vec<&'static [Setting]> {
    let mut lists = vec![SHARED, gateway::SETTINGS, OWN, otlp::SETTINGS];
    lists.extend(ALL.iter().map(|service| service.settings));
    lists
}
