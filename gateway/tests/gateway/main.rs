//! Tests of the gateway over real sockets, in front of test services.

mod cors;
mod docs;
mod forwarding;
mod framing;
mod lifecycle;
mod limits;
mod routing;
// `cfg(test)` makes clippy treat the helpers of a module as test code, which may unwrap.
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod connection_limits;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod load_balancing;
#[cfg(test)]
mod recorder;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod request_cost;
#[cfg(test)]
mod streaming;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod upstream_failures;
