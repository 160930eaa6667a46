//! Context of the current request as a task-local: request id, client address and client name.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use crate::random;

/// Header with the request id, from the gateway to a service.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// A request id in logs, traces and the audit log, at the gateway and in every service: 1 to 64 ASCII letters, digits,
/// `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Parses a request id; `None` if it is invalid.
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| Self(text.into()))
    }

    /// A new random request id: 32 hex digits.
    pub fn generate() -> Self {
        Self(format!("{:032x}", random::random_u128()).into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<RequestId> for Arc<str> {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

/// The client address and name of a request, and the request id.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The client address: the peer's, or as reported by a trusted proxy.
    pub address: IpAddr,
    /// The id of the request.
    pub request_id: RequestId,
    /// The client's name on the operator's list ([`crate::client_list`]); `None` if the list does not name it.
    pub name: Option<Arc<str>>,
}

tokio::task_local! {
    static CURRENT_CLIENT: ClientInfo;
}

/// Runs `work` as part of a request of `client`, which [`current_client`] returns in it.
pub fn with_client<F: Future>(client: ClientInfo, work: F) -> impl Future<Output = F::Output> {
    CURRENT_CLIENT.scope(client, work)
}

/// The client of the current request; `None` outside of requests.
pub fn current_client() -> Option<ClientInfo> {
    CURRENT_CLIENT.try_with(Clone::clone).ok()
}

/// Whether the current task serves a request.
pub fn is_in_request() -> bool {
    CURRENT_CLIENT.try_with(|_| ()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_request_ids_are_validated_and_generated_ones_are_valid() {
        assert_eq!(RequestId::parse("a.B-9_").unwrap().as_str(), "a.B-9_");
        for bad in ["", "a b", "a/b", "ü", &"x".repeat(65)] {
            assert!(RequestId::parse(bad).is_none(), "{bad:?}");
        }
        let generated = RequestId::generate();
        assert_eq!((generated.as_str().len(), RequestId::parse(generated.as_str())), (32, Some(generated.clone())));
    }
}
