//! Sends requests to an old server: no redirects, no proxy, no cookies kept, responses bounded.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use stele_service::ConfigError;

use crate::exchange::{OutboundRequest, Response};

/// The largest response that is read, in bytes. The documents' answers have some hundred bytes.
pub(crate) const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no response. The text is for the log, without secrets and without the URL.
pub(crate) enum SendError {
    /// The server cannot be reached, or says that it cannot answer now.
    Unavailable(String),
    /// The response is one that no document describes.
    Malformed(String),
}

/// The address of a server, and the connections to it.
pub(crate) struct HttpClient {
    client: Client,
    base: Url,
}

impl HttpClient {
    /// A client of the server at `base`.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(crate) fn new(base: Url, max_connections: usize) -> Result<Self, ConfigError> {
        let mut client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .user_agent("stele")
            .referer(false)
            .pool_max_idle_per_host(max_connections)
            .pool_idle_timeout(IDLE_TIMEOUT);
        if base.scheme() == "http" {
            // No certificate to verify: start also on machines without CA certificates.
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(|e| ConfigError::new(stele_service::with_sources(&e)))?;
        Ok(Self { client, base })
    }

    /// Sends a request and reads the whole response.
    pub(crate) async fn send(&self, request: OutboundRequest) -> Result<Response, SendError> {
        let OutboundRequest { method, path, headers, body } = request;
        let url = format!("{}/{path}", self.base.as_str().trim_end_matches('/'));
        let mut builder = self.client.request(method, url).body(body.to_vec());
        for (name, value) in &headers {
            builder = builder.header(*name, value.as_str());
        }
        let unavailable = |e: reqwest::Error| {
            SendError::Unavailable(format!("no answer: {}", stele_service::with_sources(&e.without_url())))
        };
        let mut response = builder.send().await.map_err(unavailable)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(SendError::Malformed(format!("status {}, which is not followed", status.as_u16())));
        }
        // A failure of this request: one client must not be able to open the circuit for all with a request that the
        // server cannot process.
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            return Err(SendError::Malformed("status 500".to_owned()));
        }
        if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
            return Err(SendError::Unavailable(format!("status {}", status.as_u16())));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            if bytes.len() + chunk.len() > MAX_RESPONSE_BYTES {
                return Err(SendError::Malformed(format!("more than {MAX_RESPONSE_BYTES} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers: std::mem::take(response.headers_mut()), body: bytes })
    }
}
