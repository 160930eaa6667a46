//! End-to-end tests of `stele` through its command line and its public address, and checks of repository files (lists of
//! dialects, the settings page, the dependency graph). The clients in `client` and `independent` (Python) are written
//! from the five API documents and share no code with the services.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod audit;
mod cache_headers;
mod cli;
mod client;
mod clock_offset;
mod closed_pipes;
mod crash_recovery;
mod dashboard_metrics;
mod demo_users;
mod dependency_graph;
mod dialect_lists;
mod direct_service;
mod documented_tests;
mod error_messages;
mod file_permissions;
mod forward_auth;
mod guide;
mod hashing;
mod import;
mod import_passwords;
mod import_real_tables;
mod independent;
mod key_rotation;
mod listen_addresses;
mod metrics;
mod migrate;
mod migrate_guide;
mod missing_keys;
mod oauth_clients;
mod oauth_metadata;
mod oauth_registration;
mod old_servers;
mod password_change;
mod password_lists;
mod rate_limits;
mod secret_leaks;
mod separate_programs;
mod sessions;
mod setting_ranges;
mod settings_page;
mod sunset;
mod support;
mod token_guide;
mod trace_collector;
mod traces;
mod user_store_rollback;
