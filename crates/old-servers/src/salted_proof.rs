//! The salted proof of cloudbox and TMS: `md5(md5(password) + timestamp)`.

use std::time::Duration;

use crate::clock;
use crate::password::md5_hex;
use crate::state::State;
use crate::user::OldUser;

/// Which proofs an old server accepts apart from their being right. The documents demand neither rule, so both are off
/// by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProofRules {
    /// By how much a timestamp may differ from the server's clock.
    pub max_skew: Option<Duration>,
    /// Whether a proof is accepted only once.
    pub reject_replays: bool,
}

/// Why a right proof is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleViolation {
    Stale,
    Replayed,
}

/// Whether `proof` is `md5(md5(password) + timestamp)` in hex.
pub(crate) fn is_right(user: &OldUser, proof: &str, timestamp: &str) -> bool {
    user.password
        .digest()
        .is_some_and(|digest| md5_hex(format!("{digest}{timestamp}").as_bytes()).eq_ignore_ascii_case(proof))
}

impl ProofRules {
    /// Checks a right proof, and marks it as used.
    pub(crate) fn check(
        self,
        state: &State,
        user: &OldUser,
        proof: &str,
        timestamp: &str,
    ) -> Result<(), RuleViolation> {
        if let Some(max_skew) = self.max_skew {
            let seconds = timestamp.parse::<i64>().map_err(|_| RuleViolation::Stale)?;
            if clock::now().unix_timestamp().abs_diff(seconds) > max_skew.as_secs() {
                return Err(RuleViolation::Stale);
            }
        }
        if self.reject_replays && !state.use_proof(&user.id, proof) {
            return Err(RuleViolation::Replayed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::StoredPassword;

    /// Computed by `printf %s "$(printf %s hna123 | md5sum | cut -c1-32)1521515662" | md5sum`.
    #[test]
    fn the_proof_is_that_of_md5sum() {
        let user = OldUser::new("4", "mark", StoredPassword::md5("hna123"));
        let proof = "770f4f18467c6623e96fc53a1df722f5";
        assert!(is_right(&user, proof, "1521515662"));
        assert!(is_right(&user, &proof.to_uppercase(), "1521515662"));
        assert!(!is_right(&user, proof, "1521515663"));
    }
}
