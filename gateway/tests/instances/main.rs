//! The gateway and services as processes, under load: failover, rolling restart, slow clients, abandoned requests.

// `cfg(test)` makes clippy treat the helpers of a module as test code, which may unwrap.
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
