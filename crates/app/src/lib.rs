//! The composition root: from settings to stores, keys, delivery and use cases, and the services on them.
//!
//! - a dialect's crate hands a [`Service`] to [`serve()`]; `stele up` starts all of them on one [`Context`]
//! - [`settings`], [`hashing`]: what every service reads, and the domain's rules made of it
//! - [`stores`], [`context`], [`provision()`]: stores, keys and delivery, opened or made
//! - [`trail`], `recorder`, `metrics`: what is kept and counted of what happens
//! - [`readiness`], [`background`], [`mod@serve`]: a process's life

pub mod background;
pub mod context;
pub mod hashing;
mod metrics;
mod provision;
pub mod readiness;
mod recorder;
pub mod serve;
pub mod service;
pub mod settings;
pub mod stores;
pub mod trail;

pub use context::{Context, Surroundings, open, open_with};
pub use metrics::DomainMetrics;
pub use provision::{provision, provision_service};
pub use serve::serve;
pub use service::Service;
