//! Load generator: clients that log in repeatedly, each on its keep-alive connection, and collect the failures.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use awc::Client;

use crate::processes::{PASSWORD, PHONE, TEST_TIMEOUT};

/// A login that did not succeed.
#[derive(Debug)]
pub(crate) struct FailedLogin {
    pub(crate) started_at: Instant,
    pub(crate) response: String,
}

/// Clients that log in until [`LoginLoad::stop`].
pub(crate) struct LoginLoad {
    shared: Arc<SharedLoadState>,
    clients: JoinHandle<()>,
}

struct SharedLoadState {
    /// The gateways that a load balancer would use.
    gateways: Mutex<Vec<SocketAddr>>,
    is_stopping: AtomicBool,
    succeeded: AtomicUsize,
    failed: Mutex<Vec<FailedLogin>>,
}

impl LoginLoad {
    /// Starts `clients` concurrent clients on another thread, because the test blocks while it stops programs.
    pub(crate) fn start(clients: usize, gateways: &[SocketAddr]) -> Self {
        let shared = Arc::new(SharedLoadState {
            gateways: Mutex::new(gateways.to_vec()),
            is_stopping: AtomicBool::new(false),
            succeeded: AtomicUsize::new(0),
            failed: Mutex::default(),
        });
        let client_state = shared.clone();
        let run = move || {
            let logins = (0..clients).map(|number| log_in_repeatedly(client_state.clone(), number));
            actix_web::rt::System::new().block_on(futures_util::future::join_all(logins));
        };
        Self { shared, clients: std::thread::spawn(run) }
    }

    /// Sends new logins to these gateways only.
    pub(crate) fn set_gateways(&self, gateways: &[SocketAddr]) {
        *self.shared.gateways.lock().unwrap() = gateways.to_vec();
    }

    /// Waits until `count` more logins have succeeded.
    pub(crate) fn wait_for_logins(&self, count: usize) {
        let target = self.shared.succeeded.load(Ordering::SeqCst) + count;
        let deadline = Instant::now() + TEST_TIMEOUT;
        while self.shared.succeeded.load(Ordering::SeqCst) < target {
            let failed = self.shared.failed.lock().unwrap().len();
            assert!(Instant::now() < deadline, "too few logins; {failed} failed");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops the clients, each after the response that it waits for. Returns the failed logins.
    pub(crate) fn stop(self) -> Vec<FailedLogin> {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        self.clients.join().unwrap();
        std::mem::take(&mut *self.shared.failed.lock().unwrap())
    }
}

async fn log_in_repeatedly(shared: Arc<SharedLoadState>, number: usize) {
    let client = Client::builder().timeout(TEST_TIMEOUT).finish();
    let password = encode_base64(PASSWORD);
    for round in number.. {
        if shared.is_stopping.load(Ordering::SeqCst) {
            return;
        }
        let gateway = {
            let gateways = shared.gateways.lock().unwrap();
            gateways[round % gateways.len()]
        };
        let started_at = Instant::now();
        let form = [("username", PHONE), ("password", &password)];
        let response = match client.post(format!("http://{gateway}/i/login")).send_form(&form).await {
            Ok(mut response) => match response.body().await {
                Ok(body) => String::from_utf8_lossy(&body).into_owned(),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if response.contains(r#""status_code":"200""#) {
            shared.succeeded.fetch_add(1, Ordering::SeqCst);
        } else {
            shared.failed.lock().unwrap().push(FailedLogin { started_at, response });
        }
    }
}

/// Standard base64 of a text whose length is a multiple of three, so that it needs no padding.
fn encode_base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert!(text.len().is_multiple_of(3));
    let groups =
        text.as_bytes().chunks(3).map(|group| group.iter().fold(0, |bits, &byte| bits << 8 | usize::from(byte)));
    let digits = groups.flat_map(|bits| [18, 12, 6, 0].map(|shift| DIGITS[bits >> shift & 63]));
    digits.map(char::from).collect()
}
