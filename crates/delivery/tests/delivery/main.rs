//! Delivery of codes over real sockets, by a mail server and an SMS gateway that work, fail or hang.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers may panic")]

mod config;
mod mail;
mod mail_server;
mod provider_failures;
mod sms;
mod sms_gateway;
mod tls;

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use stele_core::code::{Code, CodePurpose};
use stele_core::identifier::Recipient;
use stele_core::ports::{CodeMessage, Delivery};
use stele_core::random::{OsRandom, Random};
use stele_core::time::{Clock, Timestamp};
use stele_delivery::{DeliveryConfig, QueueConfig};
use stele_service::metrics::Metrics;
use stele_service::{ConfigError, Settings};

/// 2026-01-01T08:00:00Z.
const NOW: Timestamp = Timestamp::from_secs(1_767_254_400);
const PHONE: &str = "13800138042";
const CODE: &str = "012345";
const SECRET: &str = "a secret of the gateway's";

/// Lifetime of codes.
const HOUR: Duration = Duration::from_secs(3_600);

/// Timeout of every wait in these tests.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// The delivery configuration of these settings, with codes of this lifetime.
fn delivery_config(settings: &Settings, code_ttl: Duration) -> Result<DeliveryConfig, ConfigError> {
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(FixedClock), Arc::new(OsRandom));
    DeliveryConfig::from_settings(settings, code_ttl, &clock, &random)
}

/// Settings with this value of `STELE_DELIVERY`.
fn settings(delivery: &str) -> Settings {
    Settings::default()
        .with_values([("STELE_DELIVERY", delivery.to_owned()), ("STELE_WEBHOOK_SECRET", SECRET.to_owned())])
}

/// A queue configuration that retries almost at once, with timeouts longer than the tests.
fn test_config() -> QueueConfig {
    let (backoff, never) = (Duration::from_millis(1), TEST_TIMEOUT * 2);
    QueueConfig { initial_backoff: backoff, attempt_timeout: never, drain_timeout: never, ..QueueConfig::default() }
}

fn open_delivery(delivery: &str, config: QueueConfig) -> Arc<dyn Delivery> {
    delivery_config(&settings(delivery), HOUR).unwrap().open_with_config(config, &Metrics::default()).unwrap()
}

/// A message with [`CODE`] to this phone number or mail address.
fn message(to: &str) -> CodeMessage {
    let to = Recipient::parse(to).unwrap();
    CodeMessage { at: NOW, to, purpose: CodePurpose::Reset, dialect: "jwt", code: Code::from_user_input(CODE) }
}

/// Environment variable of processes started by [`run_in_subprocess`].
const SUBPROCESS_MARKER: &str = "DELIVERY_TEST_SUBPROCESS";

/// Runs one test of this program in a separate process, with this environment variable.
async fn run_in_subprocess(test: &str, name: &str, value: &OsStr) {
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test]).env(SUBPROCESS_MARKER, "1").env(name, value).kill_on_drop(true);
    let output = within_timeout(child.output()).await.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}");
    assert!(stdout.contains("1 passed"), "no test is named {test}: {stdout}");
}

async fn within_timeout<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(TEST_TIMEOUT, work).await.expect("in time")
}
