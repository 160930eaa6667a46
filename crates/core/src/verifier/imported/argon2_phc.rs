//! argon2 as a PHC string. Spec of one that is wrapped: `$argon2i$v=19$m=…,t=…,p=…$SALT$LENGTH`, with the length of the
//! hash in bytes.

use argon2::password_hash::phc::PasswordHash;
use zeroize::Zeroizing;

use super::{ImportedHash, InvalidHash, WeakHash};
use crate::verifier::{Argon2Cost, HashMemory, PHC_PREFIX, params_cost, phc_cost, phc_output};

/// A PHC string without hash, and the length of the hash.
pub(in crate::verifier) struct Argon2Spec {
    phc: PasswordHash,
    length: usize,
}

pub(super) fn import(text: &str) -> Result<ImportedHash, InvalidHash> {
    let unreadable = InvalidHash::DamagedArgon2;
    let cost = phc_cost(text).ok_or(unreadable)?;
    if !cost.is_within_limits() {
        return Err(InvalidHash::TooCostly);
    }
    // At the same cost, argon2i, argon2d and older versions resist brute force less than argon2id.
    if cost.is_strong() && text.starts_with("$argon2id$v=19$") {
        return Ok(ImportedHash::Strong(format!("{PHC_PREFIX}{text}")));
    }
    let phc = PasswordHash::new(text).map_err(|_| unreadable)?;
    let output = phc.hash.as_ref().ok_or(unreadable)?;
    let (spec, _) = text.rsplit_once('$').ok_or(unreadable)?;
    Ok(ImportedHash::Weak(WeakHash::new(format!("{spec}${}", output.len()), output.as_ref())))
}

impl Argon2Spec {
    /// Parses a spec; `None` also if it is too costly.
    pub(super) fn parse(spec: &str) -> Option<Self> {
        let (phc, length) = spec.rsplit_once('$')?;
        let length = length.parse().ok().filter(|length| (4..=64).contains(length))?;
        let spec = Self { phc: PasswordHash::new(phc).ok()?, length };
        spec.cost()?.is_within_limits().then_some(spec)
    }

    pub(super) fn cost(&self) -> Option<Argon2Cost> {
        params_cost(&self.phc)
    }

    pub(super) fn compute(&self, password: &str, memory: &mut HashMemory) -> Option<Zeroizing<Vec<u8>>> {
        phc_output(&self.phc, self.length, password.as_bytes(), memory).map(Zeroizing::new)
    }
}
