//! The composition root: from settings to stores, keys, delivery and use cases, and the services on them.
//!
//! - a dialect's crate hands a [`Service`] to [`serve()`]; `stele up` starts all of them on one [`Context`]
//! - [`settings`], [`password_hashing`]: what every service reads, and the domain's rules made of it
//! - [`stores`], [`context`], [`provision()`]: stores, keys and delivery, opened or made
//! - [`audit_log`], `recorder`, `metrics`: what is kept and counted of what happens
//! - [`readiness`], [`background`], [`mod@serve`]: a process's life

pub mod audit_log;
pub mod background;
pub mod context;
mod event_recorder;
mod metrics;
pub mod password_hashing;
mod provision;
pub mod readiness;
pub mod serve;
pub mod service;
pub mod settings;
pub mod stores;

pub use context::{Context, Environment, open, open_with_delivery};
pub use metrics::DomainMetrics;
pub use provision::{provision, provision_service};
pub use serve::serve;
pub use service::Service;
