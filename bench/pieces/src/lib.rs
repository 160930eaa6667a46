//! What the pieces of a call cost, each alone, with the product's own code: `benches/pieces.rs`.
//!
//!     cargo bench -p stele-pieces
//!     cargo bench -p stele-pieces -- envelope
//!
//! A call is more than the sum of these: system calls, the scheduler and two other servers are the rest of it. What they
//! are for is to see what a change of one piece does, and which are worth one.
