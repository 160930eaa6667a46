//! The cost of a request in password hashes and store calls. Unlike a time, this cost is the same in every run and on
//! every machine.

/// Work done during one operation; see [`TestLab::measure_cost`](crate::TestLab::measure_cost).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCost {
    /// Password hashes computed.
    pub hashes: u64,
    /// The operation names of the user store's calls, in the order of the calls. Each call is a round trip to the
    /// database.
    pub user_store_calls: Vec<&'static str>,
    /// The operation names of the state store's calls, in the order of the calls.
    pub state_store_calls: Vec<&'static str>,
}

impl RequestCost {
    /// A cost of this number of hashes and these calls.
    pub fn new(hashes: u64, user_store_calls: &[&'static str], state_store_calls: &[&'static str]) -> Self {
        Self { hashes, user_store_calls: user_store_calls.into(), state_store_calls: state_store_calls.into() }
    }
}
