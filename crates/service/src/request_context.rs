//! The request that is being served: its id and the client's address, as a task-local.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use crate::random;

/// The header that carries a request's id from the gateway to a service.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// A request's id in logs, traces and the audit trail, at the gateway and in every service: 1 to 64 letters, digits,
/// `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Reads an id; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| Self(text.into()))
    }

    /// A new one: 32 hex digits.
    pub fn generate() -> Self {
        Self(format!("{:032x}", random::random_u128()).into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<RequestId> for Arc<str> {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

/// The client of a request.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// Its address, as far as it is believed.
    pub address: IpAddr,
    /// Its request.
    pub request_id: RequestId,
}

tokio::task_local! {
    static CURRENT_CLIENT: ClientInfo;
}

/// Does `work` as part of the request of `client`.
pub fn with_client<F: Future>(client: ClientInfo, work: F) -> impl Future<Output = F::Output> {
    CURRENT_CLIENT.scope(client, work)
}

/// The client whose request is being served; `None` outside of requests.
pub fn current_client() -> Option<ClientInfo> {
    CURRENT_CLIENT.try_with(Clone::clone).ok()
}

/// Whether a request is being served.
pub fn is_in_request() -> bool {
    CURRENT_CLIENT.try_with(|_| ()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_validated() {
        assert_eq!(RequestId::parse("a.B-9_").unwrap().as_str(), "a.B-9_");
        for bad in ["", "a b", "a/b", "ü", &"x".repeat(65)] {
            assert!(RequestId::parse(bad).is_none(), "{bad:?}");
        }
        let random = RequestId::generate();
        assert_eq!((random.as_str().len(), RequestId::parse(random.as_str())), (32, Some(random.clone())));
    }
}
