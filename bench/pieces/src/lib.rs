//! Microbenchmarks of the parts of a call, with the product's own code: `benches/pieces.rs`.
//!
//!     cargo bench -p stele-pieces
//!     cargo bench -p stele-pieces -- envelope
//!
//! A call costs more than the sum of its parts: system calls, the scheduler and two other servers add to it. The
//! benchmarks show the effect of a change in one part, and which parts are worth optimizing.
