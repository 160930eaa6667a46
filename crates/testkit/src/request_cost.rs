//! What a request costs, counted: the same in every run, on every machine.

/// What was done between two points, see [`Lab::work`](crate::TestLab::measure_cost).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCost {
    /// Password hashes computed.
    pub hashes: u64,
    /// Calls of the user store, by the names of their methods, in their order. Each is a trip to the database.
    pub user_store_calls: Vec<&'static str>,
    /// As `users`, of the short-lived store.
    pub state_store_calls: Vec<&'static str>,
}

impl RequestCost {
    /// This much.
    pub fn new(hashes: u64, users: &[&'static str], state: &[&'static str]) -> Self {
        Self { hashes, user_store_calls: users.into(), state_store_calls: state.into() }
    }
}
