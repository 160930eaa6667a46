//! The gateway and services as processes, under load: failover, rolling restart, slow clients, abandoned requests.

// Helpers may unwrap as tests may, but lints only know them for helpers of tests by these lines.
#[cfg(test)]
mod captcha_flood;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod load;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod slow_clients;
