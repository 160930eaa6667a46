//! The gateway over real sockets, in front of services that report what reached them.

mod cors;
mod docs;
#[cfg(test)]
mod failures;
mod forwarding;
mod framing;
mod limits;
mod operation;
mod routing;
// Helpers may unwrap as tests may, but lints only know them for helpers of tests by these lines.
#[cfg(test)]
mod addresses;
#[cfg(test)]
mod change;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod instances;
#[cfg(test)]
mod program;
#[cfg(test)]
mod recorder;
#[cfg(test)]
mod streaming;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod work;
