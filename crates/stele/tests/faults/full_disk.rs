//! A full disk under the embedded stores, on a small tmpfs that the test mounts.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{CLOUDBOX_LOGIN, DialectClient, DialectKind, encode_base64, md5_hex};
use crate::stele_fixture::{PASSWORD, SteleFixture, assert_unavailable};
use crate::support::{Installation, Server, TEST_TIMEOUT};

/// A tmpfs mounted at a folder, unmounted when dropped.
pub(crate) struct SmallFileSystem {
    folder: PathBuf,
}

fn run_as_root(program: &str, args: &[&str], folder: &Path) -> bool {
    let root = rustix::process::geteuid().is_root();
    let mut command = if root { Command::new(program) } else { Command::new("sudo") };
    if !root {
        command.args(["-n", program]);
    }
    command.args(args).arg(folder).status().is_ok_and(|status| status.success())
}

impl SmallFileSystem {
    pub(crate) fn mount(folder: PathBuf, kib: usize) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let options = format!("size={kib}k,mode=0700,uid={uid},gid={gid}");
        let mounted = run_as_root("mount", &["-t", "tmpfs", "-o", &options, "stele-test"], &folder);
        assert!(mounted, "the test needs to mount a tmpfs: run the tests as root, or allow sudo mount");
        Self { folder }
    }

    fn ballast_file(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Fills the file system completely.
    fn fill(&self) {
        let mut file = File::create(self.ballast_file()).unwrap();
        while file.write_all(&[0; 1_024]).is_ok() {}
    }

    /// Fills the file system but for `kib` KiB.
    pub(crate) fn fill_but(&self, kib: u64) {
        let disk = rustix::fs::statvfs(&self.folder).unwrap();
        let free = disk.f_bfree * disk.f_frsize;
        let mut file = File::create(self.ballast_file()).unwrap();
        for _ in 0..(free / 1_024).saturating_sub(kib) {
            file.write_all(&[0; 1_024]).unwrap();
        }
    }

    /// The used space in bytes.
    fn used_bytes(&self) -> u64 {
        let disk = rustix::fs::statvfs(&self.folder).unwrap();
        (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    }

    pub(crate) fn free_space(&self) {
        fs::remove_file(self.ballast_file()).unwrap();
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        run_as_root("umount", &["-l"], &self.folder);
    }
}

/// Operations that the server acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Phones with the possible passwords: two if the last change was not acknowledged.
    users: Vec<(String, Vec<String>)>,
    sessions: Vec<String>,
    used_codes: Vec<(String, String)>,
}

/// Registers users, logs them in and changes their passwords until a call fails because the disk is full.
async fn load_until_full(client: DialectClient, outbox: PathBuf, task: usize, full: Arc<AtomicBool>) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    for user_index in 0.. {
        let phone = format!("13{task}{user_index:08}");
        for (index, path) in ["/i/register", "/i/resetpwd"].into_iter().enumerate() {
            let password = format!("{PASSWORD}-{index}");
            let sent = client.post_form("/code/send", &[], &[("username", &phone)]).await;
            let Some(code) = next_code(&sent, &outbox, &phone, index, &full).await else { return acknowledged };
            if index == 1 {
                acknowledged.users.last_mut().unwrap().1.push(password.clone());
            }
            let fields = [
                ("username", phone.as_str()),
                ("password", &encode_base64(&password)),
                ("code", &encode_base64(&code)),
            ];
            let response = client.post_form(path, &[], &fields).await;
            if is_disk_full_response(DialectKind::Portal, &response, &full) {
                return acknowledged;
            }
            response.assert_success();
            acknowledged.used_codes.push((phone.clone(), code));
            match index {
                0 => acknowledged.users.push((phone.clone(), vec![password.clone()])),
                _ => acknowledged.users.last_mut().unwrap().1 = vec![password.clone()],
            }
            let response = client.login_as(DialectKind::Cloudbox, &phone, &password).await;
            if is_disk_full_response(DialectKind::Cloudbox, &response, &full) {
                return acknowledged;
            }
            // Only sessions after the last change are recorded: the change revokes the earlier ones.
            if index == 1 {
                acknowledged.sessions.push(response.assert_success().token());
            }
        }
    }
    acknowledged
}

/// Whether a response has the status 503. If so, asserts the dialect's format and records in `full` that the disk is
/// full.
fn is_disk_full_response(dialect: DialectKind, response: &crate::client::Response, full: &AtomicBool) -> bool {
    let is_unavailable = response.status == 503;
    if is_unavailable {
        assert_unavailable(dialect, response);
        full.store(true, Ordering::SeqCst);
    }
    is_unavailable
}

/// The code for `phone` that follows the first `already_sent` codes; `None` if `sent` is a rejection or the code is not
/// in the outbox in time.
async fn next_code(
    sent: &crate::client::Response,
    outbox: &Path,
    phone: &str,
    already_sent: usize,
    full: &AtomicBool,
) -> Option<String> {
    if is_disk_full_response(DialectKind::Portal, sent, full) {
        return None;
    }
    let started_at = Instant::now();
    loop {
        if let Some(code) = Server::codes_in(outbox, phone).into_iter().nth(already_sent) {
            return Some(code);
        }
        // The outbox is on the same disk, so the code may be lost, too.
        if full.load(Ordering::SeqCst) || started_at.elapsed() > Duration::from_secs(2) {
            full.store(true, Ordering::SeqCst);
            return None;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Asserts that every acknowledged change is still in effect.
async fn assert_acknowledged_persisted(fixture: &SteleFixture, acknowledged: &mut [Acknowledged]) {
    for acknowledged in acknowledged {
        for (phone, passwords) in &mut acknowledged.users {
            let mut accepted = Vec::new();
            for password in passwords.iter() {
                if fixture.client.login_as(DialectKind::Portal, phone, password).await.is_success() {
                    accepted.push(password.clone());
                }
            }
            assert_eq!(accepted.len(), 1, "acknowledged, but lost: {phone} {passwords:?}");
            *passwords = accepted;
        }
        for (phone, code) in &acknowledged.used_codes {
            let fields = [
                ("username", phone.as_str()),
                ("password", &encode_base64("by-a-thief")),
                ("code", &encode_base64(code)),
            ];
            fixture.client.post_form("/i/resetpwd", &[], &fields).await.assert_is(200, "3208");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_reported_loses_no_data_and_recovers_without_restart() {
    let mut installation =
        Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LIMIT_ADDRESS", "1000000")]);
    for name in ["STELE_SEND_ADDRESS", "STELE_SEND_RECIPIENT", "STELE_LIMIT_ACCOUNT"] {
        installation.set(name, "1000000");
    }
    let disk = SmallFileSystem::mount(installation.data(), 8 * 1_024);
    let fixture = SteleFixture::start_on(installation);
    let mark = fixture.add_user("mark", "15800158000");
    let full = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..3)
        .map(|task| {
            tokio::spawn(load_until_full(
                fixture.client.clone(),
                fixture.server.outbox().to_owned(),
                task,
                full.clone(),
            ))
        })
        .collect();
    let started_at = Instant::now();
    while fixture.server.codes("13000000010").is_empty() {
        assert!(started_at.elapsed() < TEST_TIMEOUT, "no user is registered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    disk.fill();
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged
            .push(tokio::time::timeout(TEST_TIMEOUT * 2, task).await.expect("the disk is full in time").unwrap());
    }

    // Writes that still fit succeed; soon every dialect reports 503.
    for dialect in DialectKind::ALL {
        let started_at = Instant::now();
        loop {
            let response = fixture.client.login(dialect, &mark, PASSWORD).await;
            if is_disk_full_response(dialect, &response, &full) {
                break;
            }
            response.assert_success();
            assert!(started_at.elapsed() < TEST_TIMEOUT, "{dialect:?}: the full disk is not reported");
        }
    }
    let line = fixture.log_line_containing("the disk is full");
    assert!(line.contains("ERROR") && line.contains(fixture.installation.data().to_str().unwrap()), "{line}");

    fixture.wait_for_readiness_reason("not ready: the disk under the data folder is full").await;

    disk.free_space();
    fixture.wait_for_readiness_reason("ready").await;
    let freed_at = Instant::now();
    for dialect in DialectKind::ALL {
        while !fixture.client.login(dialect, &mark, PASSWORD).await.is_success() {
            assert!(freed_at.elapsed() < TEST_TIMEOUT, "{dialect:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    fixture.log_line_containing("the disk has space again");
    assert_acknowledged_persisted(&fixture, &mut acknowledged).await;
    // A truncated line in the outbox does not corrupt the next one.
    fixture.send_code(DialectKind::Portal, "", "15900159000").await.assert_success();
    fixture.server.next_code("15900159000", 0);
    let log = fixture.server.log();
    assert!(!log.contains("panicked"), "{log}");

    fixture.server.kill();
    let SteleFixture { installation, client, .. } = fixture;
    let server = installation.start_up();
    let client = DialectClient::new(&server, client.app.clone(), &client.client_token);
    let fixture = SteleFixture { client, server, installation };
    assert_acknowledged_persisted(&fixture, &mut acknowledged).await;
    let sessions: Vec<_> = acknowledged.iter().flat_map(|acknowledged| acknowledged.sessions.clone()).collect();
    assert!(sessions.len() > 5, "too few sessions for a result: {}", sessions.len());
    for token in sessions {
        let response =
            fixture.client.post_json(crate::client::CLOUDBOX_LOGOUT, &[("authorization", &token)], &json!({})).await;
        assert_eq!(response.status, 200, "acknowledged, but lost: {response:?}");
    }
    fixture.server.stop();
    drop(disk);
}

/// Sends two requests that are always rejected, at no cost to the client: a stale proof and a logout without a session.
async fn send_rejected_requests(client: &DialectClient, address: String) {
    let client = client.with_address(&address);
    let stale = json!({ "username": "mark", "password": md5_hex("x"), "timestamp": 1_000_000_000 });
    assert_eq!(client.post_json(CLOUDBOX_LOGIN, &[], &stale).await.code(), "1003");
    client
        .post_form(
            "/i/logout",
            &[("cookie", "stele_session=0123456789abcdef0123456789abcdef")],
            &[("username", "x@example.com")],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_requests_do_not_fill_the_disk() {
    let mut installation =
        Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_TRUSTED_PROXIES", "127.0.0.1")]);
    installation.set("STELE_AUDIT_REFUSALS", "100");
    let disk = SmallFileSystem::mount(installation.data(), 8 * 1_024);
    let fixture = SteleFixture::start_on(installation);
    let mark = fixture.add_user("mark", "15800158000");
    for dialect in DialectKind::ALL {
        fixture.client.login(dialect, &mark, PASSWORD).await.assert_success();
    }
    let before = disk.used_bytes();
    // From one /64, then from a different /64 for each request.
    for flood in ["2001:db8:1:1::", "2001:db8:2:"] {
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let client = fixture.client.clone();
                tokio::spawn(async move {
                    for n in (0..1_200).filter(|n| n % 4 == task) {
                        let suffix = if flood.ends_with("::") { format!("{n:x}") } else { format!("{n:x}::1") };
                        send_rejected_requests(&client, format!("{flood}{suffix}")).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    // Merged entries are written within a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = disk.used_bytes() - before;
    println!("4,800 rejected requests: {grown} bytes");
    assert!(grown < 256 * 1_024, "{grown} bytes");
    for dialect in DialectKind::ALL {
        fixture.client.login(dialect, &mark, PASSWORD).await.assert_success();
    }
    fixture.wait_for_readiness_reason("ready").await;
    fixture.server.stop();
    drop(disk);
}

#[test]
fn a_key_is_retired_only_if_its_file_can_be_copied() {
    let mut installation = Installation::new();
    let keys = installation.path("keys");
    installation.set("STELE_KEYS", keys.to_str().unwrap());
    let disk = SmallFileSystem::mount(keys.clone(), 1_024);
    installation.run(&["migrate"]).assert_success();
    installation.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
    // Read-only, as an orchestrator mounts secrets; not even the superuser can write there.
    assert!(run_as_root("mount", &["-o", "remount,ro"], &disk.folder));
    installation
        .run(&["keys", "retire", "1"])
        .assert_failed(2, "seal-1.key.retired: the key file cannot be copied to this name (Read-only");
    let listed = installation.run(&["keys", "list"]).assert_success().stdout.clone();
    assert!(listed.lines().any(|line| line.starts_with("seal-1\topens") && line.ends_with("here")), "{listed}");
    installation.run(&["check"]).assert_success();
    assert!(run_as_root("mount", &["-o", "remount,rw"], &disk.folder));
    installation.run(&["keys", "retire", "1"]).assert_success();
    assert!(!keys.join("seal-1.key").exists() && keys.join("seal-1.key.retired").exists());
    installation.run(&["check"]).assert_success();
}
