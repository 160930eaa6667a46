//! The gateway over real sockets, in front of services that report what reached them.

mod cors;
mod failures;
mod forwarding;
mod framing;
mod limits;
mod operation;
mod program;
mod routing;
mod streaming;
// Its helpers may unwrap as tests may, but lints only know that from this line.
#[cfg(test)]
mod support;
