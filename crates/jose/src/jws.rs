//! JWS in compact form (RFC 7515 3.1), with exactly the header members that the signer writes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use stele_core::{Error, Result};

use crate::SigningKey;

/// The longest token that is issued or parsed, in bytes. Issued tokens have between a few hundred and two thousand.
pub const MAX_TOKEN_BYTES: usize = 4_096;

/// The header of a token (RFC 7515 4.1). A token with a further member is not one of ours: it could name a key of its
/// own (`jwk`, `jku`, `x5u`, `x5c`; RFC 8725 3.10) or demand an extension (`crit`, RFC 7515 4.1.11).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) typ: String,
    pub(crate) alg: String,
    pub(crate) kid: String,
}

/// The parts of a token whose signature is not verified yet.
pub(crate) struct UnverifiedToken<'a> {
    pub(crate) header: Header,
    /// Header and payload as they were signed.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    /// Splits a token and reads its header; `None` if it is malformed or longer than [`MAX_TOKEN_BYTES`].
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        if payload.contains('.') {
            return None;
        }
        let header = serde_json::from_slice(&decode(header)?).ok()?;
        Some(Self { header, message, payload, signature })
    }

    /// The payload, if `key` verifies the signature and the header names the algorithm of `key`.
    pub(crate) fn verify(&self, key: &SigningKey) -> Option<Vec<u8>> {
        let is_valid = self.header.alg == key.algorithm().as_str()
            && key.verifies(self.message.as_bytes(), &decode(self.signature)?);
        is_valid.then(|| decode(self.payload))?
    }
}

/// Signs `claims` with `key`.
///
/// # Errors
/// [`Error::Internal`] if the claims are not JSON, the library fails, or the token is longer than [`MAX_TOKEN_BYTES`].
pub(crate) fn sign(key: &SigningKey, typ: &str, claims: &impl Serialize) -> Result<String> {
    let header = Header { typ: typ.to_owned(), alg: key.algorithm().as_str().to_owned(), kid: key.key_id().to_owned() };
    let mut token = encode(&header)? + "." + &encode(claims)?;
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::internal(format!("a token of {} bytes is longer than {MAX_TOKEN_BYTES}", token.len())));
    }
    Ok(token)
}

fn encode(part: &impl Serialize) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).map_err(Error::internal)?))
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
