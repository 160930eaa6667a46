//! One call: a script, its keys and its arguments; and what the scripts' numbers are in Rust.

use std::time::Duration;

use redis::{Cmd, ToRedisArgs};
use stele_core::rate_limit::{FailureLimit, Penalty};
use stele_core::time::Timestamp;

use super::scripts::Script;

/// The last number that Lua counts to one by one: as an instant in microseconds, in the year 2255.
const MAX_EXACT_INTEGER: i64 = (1 << 53) - 1;

/// The server that a connection is taken to lead to: the last two arguments of every script.
pub(super) struct ExpectedServer<'a> {
    /// Its id, as `server_id` in `common.lua` gives it; empty before the first connection.
    pub(super) server_id: &'a str,
    /// What counts as its time, where a test sets the clock.
    pub(super) manual_clock: Option<Timestamp>,
}

/// A script with its keys and arguments, in the order that its head names them.
pub(super) struct ScriptCall {
    pub(super) script: &'static Script,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl ScriptCall {
    pub(super) fn new(script: &'static Script) -> Self {
        Self { script, keys: Vec::new(), args: Vec::new() }
    }

    pub(super) fn key(mut self, key: String) -> Self {
        self.keys.push(key);
        self
    }

    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.args.extend(arg.to_redis_args());
        self
    }

    /// Whether something is there: the scripts read `''` as no.
    pub(super) fn flag(self, flag: bool) -> Self {
        self.arg(if flag { "1" } else { "" })
    }

    pub(super) fn timestamp(self, instant: Timestamp) -> Self {
        self.arg(as_micros(instant))
    }

    pub(super) fn optional_timestamp(self, instant: Option<Timestamp>) -> Self {
        match instant {
            Some(instant) => self.timestamp(instant),
            None => self.flag(false),
        }
    }

    pub(super) fn duration(self, span: Duration) -> Self {
        self.arg(i64::try_from(span.as_micros()).unwrap_or(MAX_EXACT_INTEGER).min(MAX_EXACT_INTEGER))
    }

    /// Schedules that differ in their free failures only.
    pub(super) fn schedule(self, schedules: &[FailureLimit]) -> Self {
        let Some(FailureLimit { window, penalty: cost, .. }) = schedules.first().copied() else { return self };
        let free: Vec<_> = schedules.iter().map(|schedule| schedule.free_failures.to_string()).collect();
        let call = self.arg(free.join(" ")).duration(window);
        match cost {
            Penalty::ExponentialBackoff { base, cap } => call.duration(base).duration(cap),
            Penalty::BlockUntilWindowEnds => call.flag(false).flag(false),
        }
    }

    /// The command, by the script's hash.
    pub(super) fn evalsha_command(&self, peer: &ExpectedServer<'_>) -> Cmd {
        self.command("EVALSHA", &self.script.sha1, peer)
    }

    /// The command with the whole script, for a server that has not seen it yet.
    pub(super) fn eval_command(&self, peer: &ExpectedServer<'_>) -> Cmd {
        self.command("EVAL", self.script.source, peer)
    }

    fn command(&self, name: &str, script: &str, peer: &ExpectedServer<'_>) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args).arg(peer.server_id);
        match peer.manual_clock {
            Some(now) => command.arg(as_micros(now)),
            None => command.arg(""),
        };
        command
    }
}

/// An instant as the scripts and records have it.
pub(super) fn as_micros(instant: Timestamp) -> i64 {
    instant.as_micros().clamp(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER)
}

/// A wait that a script tells.
pub(super) fn retry_after(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
