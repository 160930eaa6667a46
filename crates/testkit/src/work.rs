//! What a request costs, counted: the same in every run, on every machine.

/// What was done between two points, see [`Lab::work`](crate::Lab::work).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Password hashes computed.
    pub hashes: u64,
    /// Calls of the user store, by the names of their methods, in their order. Each is a trip to the database.
    pub users: Vec<&'static str>,
    /// As `users`, of the short-lived store.
    pub state: Vec<&'static str>,
}

impl Work {
    /// This much.
    pub fn of(hashes: u64, users: &[&'static str], state: &[&'static str]) -> Self {
        Self { hashes, users: users.into(), state: state.into() }
    }
}
