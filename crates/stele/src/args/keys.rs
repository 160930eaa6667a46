//! What can be typed about keys.

use std::time::Duration;

use clap::Subcommand;
use stele_service::setting;

/// Put keys in service and take them out of it.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the keys in service: name, state, age, what is sealed under each, and whether it is here
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Put a new key in service; then seal anew, under it, what is sealed under older ones
    Rotate {
        /// A key that signs JWTs, instead of a sealing key
        #[arg(long)]
        jwt: bool,
        /// How long every instance has to take the new key up before any works with it
        #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse_duration)]
        lead: Duration,
        /// Do not wait, and leave sealing anew to `stele keys reseal`
        #[arg(long)]
        no_reseal: bool,
        /// Tell the progress as JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Seal anew, under the newest key, what is sealed under older ones; goes on where it was broken off
    Reseal {
        /// Tell the progress as JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Take an old key out of service: refused while anything needs it
    Retire {
        /// A name that `stele keys list` shows, or the number of a sealing key
        key: String,
    },
}

/// End salted logins (cloudbox's and TMS's), or allow them again.
#[derive(Debug, Subcommand)]
pub enum ChallengeCommand {
    /// End salted logins and erase every sealed digest: TMS is left with D itself, cloudbox with nothing
    Off {
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Tell the progress as JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Allow salted logins: each user's work again after their next login with the password itself
    On,
}

fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    setting::parse_duration(text).ok_or("write seconds, or 90s, 15m, 12h, 30d")
}
