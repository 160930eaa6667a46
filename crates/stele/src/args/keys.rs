//! Options of `stele keys` (key rotation) and `stele challenge` (salted logins).

use std::time::Duration;

use clap::Subcommand;
use stele_core::oauth::SigningAlgorithm;
use stele_service::setting;

use super::parse_algorithm;

/// Key rotation: list, rotate and retire sealing keys and signing keys of tokens.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the registered keys: name, state, time of registration, number of rows that are sealed under the key, and
    /// whether the key's file is present
    List {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Register a new key, then re-encrypt under it the rows that are sealed under older keys
    Rotate {
        /// Rotate the key that signs login tokens (`STELE_JWT_ALG`) instead of the sealing key
        #[arg(long)]
        jwt: bool,
        /// Rotate the signing key of this algorithm, RS256, EdDSA or ES256, instead of the sealing key
        #[arg(long, value_name = "ALG", value_parser = parse_algorithm)]
        alg: Option<SigningAlgorithm>,
        /// Time until the new key becomes active; by then, every instance must have loaded the key's file
        #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse_duration)]
        lead: Duration,
        /// Do not wait until the key is active; run `stele keys reseal` later
        #[arg(long)]
        no_reseal: bool,
        /// Print the progress as JSON, one object per line
        #[arg(long)]
        json: bool,
    },
    /// Re-encrypt under the active key the rows that are sealed under older keys. Resumes an interrupted run
    Reseal {
        /// Print the progress as JSON, one object per line
        #[arg(long)]
        json: bool,
    },
    /// Retire an old key. Refused for the active and the newest key, and while stored rows or unexpired tokens need the
    /// key
    Retire {
        /// Name of the key as in `stele keys list`, or the number of a sealing key
        key: String,
        /// Retire a signing key that has leaked at once, although unexpired tokens that it signed end by this: users of
        /// the JWT dialect log in again. Services that have cached the key accept forged tokens until they read the keys
        /// again
        #[arg(long)]
        compromised: bool,
    },
}

/// Disable salted logins (cloudbox, TMS), or enable them again.
#[derive(Debug, Subcommand)]
pub enum ChallengeCommand {
    /// Disable salted logins and erase every sealed digest. TMS clients can then log in only with the md5 of the
    /// password, cloudbox clients not at all
    Off {
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        /// Print the progress as JSON, one object per line
        #[arg(long)]
        json: bool,
    },
    /// Enable salted logins again; each user can use them after one login with the password itself
    On,
}

fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    setting::parse_duration(text).ok_or("write seconds, or a span such as 90s, 15m, 12h, 30d")
}
