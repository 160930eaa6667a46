//! Composition root: builds stores, keys, delivery and use cases from the settings, and runs services on them.
//!
//! - a dialect's crate passes its [`Service`] to [`serve()`]; `stele up` starts all services on one [`Context`]
//! - [`settings`], [`password_hashing`], [`token_settings`], [`issuer`]: the settings of every service, and the policy and hasher made of them
//! - [`stores`], [`context`], [`provision()`]: opening and creating stores, keys and delivery
//! - [`audit_log`], `event_recorder`, `metrics`: audit log, events and metrics
//! - [`closures`], [`use_retention`]: dialects that an operator closed; retention of their use
//! - [`readiness`], [`clock_check`], [`background`], [`mod@serve`]: readiness, background tasks, start and graceful
//!   shutdown

pub mod audit_log;
pub mod background;
pub mod clock_check;
pub mod closures;
pub mod context;
mod event_recorder;
pub mod issuer;
mod metrics;
pub mod password_hashing;
mod provision;
pub mod readiness;
pub mod serve;
pub mod service;
pub mod settings;
pub mod stores;
pub mod token_settings;
pub mod use_retention;

pub use context::{Context, Environment, open, open_with_delivery};
pub use issuer::{Issuer, PublicEndpoint};
pub use metrics::DomainMetrics;
pub use provision::{provision, provision_service};
pub use serve::serve;
pub use service::Service;
