//! Delivery of codes through real sockets: a mail server and a gateway for short messages, well and unwell.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers may panic")]

mod config;
mod gateway;
mod mail;
mod mailserver;
mod short;
mod tls;
mod trouble;

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use stele_core::code::{Code, Purpose};
use stele_core::identifier::Recipient;
use stele_core::ports::{Delivery, Message};
use stele_core::random::{OsRandom, Random};
use stele_core::time::{Clock, Timestamp};
use stele_delivery::{Bounds, Plan};
use stele_service::metrics::Metrics;
use stele_service::{ConfigError, Settings};

/// 2026-01-01T08:00:00Z.
const NOW: Timestamp = Timestamp::from_secs(1_767_254_400);
const PHONE: &str = "13800138042";
const CODE: &str = "012345";
const SECRET: &str = "a secret of the gateway's";

/// How long codes are good by default.
const HOUR: Duration = Duration::from_secs(3_600);

/// Whatever has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(60);

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// What these settings ask for, with codes that are good for so long.
fn plan(settings: &Settings, valid: Duration) -> Result<Plan, ConfigError> {
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(Stopped), Arc::new(OsRandom));
    Plan::read(settings, valid, &clock, &random)
}

fn settings(delivery: &str) -> Settings {
    Settings::default().with([("STELE_DELIVERY", delivery.to_owned()), ("STELE_WEBHOOK_SECRET", SECRET.to_owned())])
}

/// Tries again at once, and ends nothing before the test does.
fn bounds() -> Bounds {
    let (pause, never) = (Duration::from_millis(1), PATIENCE * 2);
    Bounds { pause, attempt: never, drain: never, ..Bounds::default() }
}

fn open(delivery: &str, bounds: Bounds) -> Arc<dyn Delivery> {
    plan(&settings(delivery), HOUR).unwrap().open_within(bounds, &Metrics::default()).unwrap()
}

fn message(to: &str) -> Message {
    let to = Recipient::parse(to).unwrap();
    Message { at: NOW, to, purpose: Purpose::Reset, dialect: "jwt", code: Code::typed(CODE) }
}

/// Whether this process was started by [`alone`].
const ALONE: &str = "DELIVERY_TEST_ALONE";

/// Runs a test of this program in a process of its own, with this variable of the environment.
async fn alone(test: &str, name: &str, value: &OsStr) {
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test]).env(ALONE, "1").env(name, value).kill_on_drop(true);
    let output = soon(child.output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}
