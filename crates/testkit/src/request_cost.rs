//! The cost of a request in password hashes and store calls, which is the same in every run on every machine.

/// Work done during one operation; see [`TestLab::measure_cost`](crate::TestLab::measure_cost).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCost {
    /// Password hashes computed.
    pub hashes: u64,
    /// Calls of the user store in their order, by operation name. Each is a round trip to the database.
    pub user_store_calls: Vec<&'static str>,
    /// Calls of the state store in their order, by operation name.
    pub state_store_calls: Vec<&'static str>,
}

impl RequestCost {
    /// This number of hashes, and these calls of the user store and of the state store.
    pub fn new(hashes: u64, user_store_calls: &[&'static str], state_store_calls: &[&'static str]) -> Self {
        Self { hashes, user_store_calls: user_store_calls.into(), state_store_calls: state_store_calls.into() }
    }
}
