//! Imports through every fault: kills at every point of a batch, servers that go away, full disks, signals, and input
//! that is meant to break them. Every one ends in a clear outcome, with nothing half-written, lost or doubled.

mod bad_input;
mod complaints;
mod fixture;
mod kills;
mod lost_servers;
mod manners;
mod source_tls;
