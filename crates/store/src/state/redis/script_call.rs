//! A script call: the script, its keys and its arguments, and the conversion of numbers to and from Lua.

use std::time::Duration;

use redis::{Cmd, ToRedisArgs};
use stele_core::rate_limit::{FailureLimit, Penalty};
use stele_core::time::Timestamp;

use super::scripts::Script;

/// The largest integer up to which Lua's numbers (doubles) represent every integer exactly. As a time in microseconds,
/// it is in the year 2255.
const MAX_EXACT_INTEGER: i64 = (1 << 53) - 1;

/// The server that a connection should lead to. Its fields are the last two arguments of every script.
pub(super) struct ExpectedServer<'a> {
    /// The server's id, as `server_id` in `common.lua` returns it; empty before the first connection.
    pub(super) server_id: &'a str,
    /// The server's time if a test sets the clock.
    pub(super) manual_clock: Option<Timestamp>,
}

/// A script with its keys and arguments, in the order that the comment at the head of the script lists.
pub(super) struct ScriptCall {
    pub(super) script: &'static Script,
    /// The bucket of the account whose keys the script accesses, on a cluster.
    pub(super) bucket: Option<usize>,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl ScriptCall {
    pub(super) fn new(script: &'static Script) -> Self {
        Self { script, bucket: None, keys: Vec::new(), args: Vec::new() }
    }

    /// Sets the bucket of the account. The script then fails with `NEWSERVER` if the bucket is not on the server that
    /// it was last seen on.
    pub(super) fn in_bucket(self, bucket: Option<usize>) -> Self {
        Self { bucket, ..self }
    }

    pub(super) fn key(mut self, key: String) -> Self {
        self.keys.push(key);
        self
    }

    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.args.extend(arg.to_redis_args());
        self
    }

    /// Adds an absent argument: `''`, which the scripts read as absent or false.
    pub(super) fn absent(self) -> Self {
        self.arg("")
    }

    /// Adds a boolean: `1`, or `''` for false.
    pub(super) fn flag(self, flag: bool) -> Self {
        self.arg(if flag { "1" } else { "" })
    }

    pub(super) fn timestamp(self, time: Timestamp) -> Self {
        self.arg(as_micros(time))
    }

    pub(super) fn optional_timestamp(self, time: Option<Timestamp>) -> Self {
        match time {
            Some(time) => self.timestamp(time),
            None => self.absent(),
        }
    }

    pub(super) fn duration(self, duration: Duration) -> Self {
        self.arg(i64::try_from(duration.as_micros()).unwrap_or(MAX_EXACT_INTEGER).min(MAX_EXACT_INTEGER))
    }

    /// Adds rate limits that differ only in their numbers of free failures: these numbers, separated by spaces, then
    /// window, base and cap; four absent arguments for no limits.
    pub(super) fn failure_limits(self, limits: &[FailureLimit]) -> Self {
        let Some(FailureLimit { window, penalty, .. }) = limits.first().copied() else {
            return self.absent().absent().absent().absent();
        };
        let free: Vec<_> = limits.iter().map(|limit| limit.free_failures.to_string()).collect();
        let call = self.arg(free.join(" ")).duration(window);
        match penalty {
            Penalty::ExponentialBackoff { base, cap } => call.duration(base).duration(cap),
            Penalty::BlockUntilWindowEnds => call.absent().absent(),
        }
    }

    /// `EVALSHA`, which fails with `NOSCRIPT` on a server that does not have the script.
    pub(super) fn evalsha_command(&self, server: &ExpectedServer<'_>) -> Cmd {
        self.build_command("EVALSHA", &self.script.sha1, server)
    }

    /// `EVAL` with the script's source, which the server then caches.
    pub(super) fn eval_command(&self, server: &ExpectedServer<'_>) -> Cmd {
        self.build_command("EVAL", self.script.source, server)
    }

    fn build_command(&self, name: &str, script: &str, server: &ExpectedServer<'_>) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args).arg(server.server_id);
        match server.manual_clock {
            Some(now) => command.arg(as_micros(now)),
            None => command.arg(""),
        };
        command
    }
}

/// A time as the scripts and records store it, limited to ±[`MAX_EXACT_INTEGER`].
pub(super) fn as_micros(time: Timestamp) -> i64 {
    time.as_micros().clamp(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER)
}

/// Parses a wait in microseconds that a script returned.
pub(super) fn parse_retry_after(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
