//! What the system does, one file each.
