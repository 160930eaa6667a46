//! A disk that is full under the embedded stores: a small file system of the test's own.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{CLOUDBOX_LOGIN, DialectClient, DialectKind, base64, md5_hex};
use crate::stele_fixture::{PASSWORD, SteleFixture, assert_unavailable};
use crate::support::{Installation, Server, TEST_TIMEOUT};

/// A file system of so many KiB at a folder, as long as the value lives.
struct SmallFileSystem {
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
    fn at(folder: PathBuf, kib: usize) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let options = format!("size={kib}k,mode=0700,uid={uid},gid={gid}");
        let mounted = run_as_root("mount", &["-t", "tmpfs", "-o", &options, "stele-test"], &folder);
        assert!(mounted, "a file system of the test's own: run the tests as root, or let sudo mount");
        Self { folder }
    }

    fn ballast_file(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Leaves no space.
    fn fill(&self) {
        let mut file = File::create(self.ballast_file()).unwrap();
        while file.write_all(&[0; 1_024]).is_ok() {}
    }

    /// Bytes that are taken.
    fn used_bytes(&self) -> u64 {
        let disk = rustix::fs::statvfs(&self.folder).unwrap();
        (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    }

    fn free_space(&self) {
        fs::remove_file(self.ballast_file()).unwrap();
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        run_as_root("umount", &["-l"], &self.folder);
    }
}

/// What a client was told is done.
#[derive(Default)]
struct Acknowledged {
    /// Phones with the passwords that may be theirs: two where the last change was not answered.
    users: Vec<(String, Vec<String>)>,
    sessions: Vec<String>,
    used_codes: Vec<(String, String)>,
}

/// Registers people, logs them in and changes their passwords until something is refused because the disk is full.
async fn load_until_full(client: DialectClient, outbox: PathBuf, task: usize, full: Arc<AtomicBool>) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    for turn in 0.. {
        let phone = format!("13{task}{turn:08}");
        for (which, path) in ["/i/register", "/i/resetpwd"].into_iter().enumerate() {
            let password = format!("{PASSWORD}-{which}");
            let asked = client.form("/code/send", &[], &[("username", &phone)]).await;
            let Some(code) = next_code(&asked, &outbox, &phone, which, &full).await else { return acknowledged };
            if which == 1 {
                acknowledged.users.last_mut().unwrap().1.push(password.clone());
            }
            let fields = [("username", phone.as_str()), ("password", &base64(&password)), ("code", &base64(&code))];
            let answer = client.form(path, &[], &fields).await;
            if is_disk_full_response(DialectKind::Portal, &answer, &full) {
                return acknowledged;
            }
            answer.assert_success();
            acknowledged.used_codes.push((phone.clone(), code));
            match which {
                0 => acknowledged.users.push((phone.clone(), vec![password.clone()])),
                _ => acknowledged.users.last_mut().unwrap().1 = vec![password.clone()],
            }
            let answer = client.login_as(DialectKind::Cloudbox, &phone, &password).await;
            if is_disk_full_response(DialectKind::Cloudbox, &answer, &full) {
                return acknowledged;
            }
            // The change to come ends what was opened before it.
            if which == 1 {
                acknowledged.sessions.push(answer.assert_success().token());
            }
        }
    }
    acknowledged
}

/// Whether an answer is that we are in trouble, in dialect.
fn is_disk_full_response(dialect: DialectKind, answer: &crate::client::Response, full: &AtomicBool) -> bool {
    let refused = answer.status == 503;
    if refused {
        assert_unavailable(dialect, answer);
        full.store(true, Ordering::SeqCst);
    }
    refused
}

/// The code after the `seen` before; none if it was refused, or nobody can be told any code any more.
async fn next_code(
    asked: &crate::client::Response,
    outbox: &Path,
    phone: &str,
    seen: usize,
    full: &AtomicBool,
) -> Option<String> {
    if is_disk_full_response(DialectKind::Portal, asked, full) {
        return None;
    }
    let began = Instant::now();
    loop {
        if let Some(code) = Server::codes_in(outbox, phone).into_iter().nth(seen) {
            return Some(code);
        }
        // The outbox, which is for development, is on the same disk.
        if full.load(Ordering::SeqCst) || began.elapsed() > Duration::from_secs(2) {
            full.store(true, Ordering::SeqCst);
            return None;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What was told is so.
async fn assert_acknowledged_persisted(scene: &SteleFixture, acknowledged: &mut [Acknowledged]) {
    for acknowledged in acknowledged {
        for (phone, passwords) in &mut acknowledged.users {
            let mut right = Vec::new();
            for password in passwords.iter() {
                if scene.client.login_as(DialectKind::Portal, phone, password).await.is_success() {
                    right.push(password.clone());
                }
            }
            assert_eq!(right.len(), 1, "answered, and lost: {phone} {passwords:?}");
            *passwords = right;
        }
        for (phone, code) in &acknowledged.used_codes {
            let fields = [("username", phone.as_str()), ("password", &base64("by-a-thief")), ("code", &base64(code))];
            scene.client.form("/i/resetpwd", &[], &fields).await.assert_is(200, "3208");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_reported_loses_no_data_and_recovers_without_restart() {
    let mut home =
        Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LIMIT_ADDRESS", "1000000")]);
    for name in ["STELE_SEND_ADDRESS", "STELE_SEND_RECIPIENT", "STELE_LIMIT_ACCOUNT"] {
        home.set(name, "1000000");
    }
    let disk = SmallFileSystem::at(home.data(), 8 * 1_024);
    let scene = SteleFixture::start_on(home);
    let mark = scene.add_user("mark", "15800158000");
    let full = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..3)
        .map(|task| {
            tokio::spawn(load_until_full(scene.client.clone(), scene.server.outbox().to_owned(), task, full.clone()))
        })
        .collect();
    let began = Instant::now();
    while scene.server.codes("13000000010").is_empty() {
        assert!(began.elapsed() < TEST_TIMEOUT, "nobody registers");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    disk.fill();
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged
            .push(tokio::time::timeout(TEST_TIMEOUT * 2, task).await.expect("the disk is full in time").unwrap());
    }

    // What still fits is done; the rest is refused, in dialect, and soon by all.
    for dialect in DialectKind::ALL {
        let began = Instant::now();
        loop {
            let answer = scene.client.login(dialect, &mark, PASSWORD).await;
            if is_disk_full_response(dialect, &answer, &full) {
                break;
            }
            answer.assert_success();
            assert!(began.elapsed() < TEST_TIMEOUT, "{dialect:?}: the disk is full, and nobody is told");
        }
    }
    let line = scene.log_line_containing("the disk is full");
    assert!(line.contains("ERROR") && line.contains(scene.installation.data().to_str().unwrap()), "{line}");

    scene.wait_for_readiness_reason("not ready: the disk under the data folder is full").await;

    disk.free_space();
    scene.wait_for_readiness_reason("ready").await;
    let back = Instant::now();
    for dialect in DialectKind::ALL {
        while !scene.client.login(dialect, &mark, PASSWORD).await.is_success() {
            assert!(back.elapsed() < TEST_TIMEOUT, "{dialect:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    scene.log_line_containing("the disk has space again");
    assert_acknowledged_persisted(&scene, &mut acknowledged).await;
    // A line of the outbox that was torn off does not take the next one with it.
    scene.send_code(DialectKind::Portal, "", "15900159000").await.assert_success();
    scene.server.next_code("15900159000", 0);
    let log = scene.server.log();
    assert!(!log.contains("panicked"), "{log}");

    scene.server.kill();
    let SteleFixture { installation, client, .. } = scene;
    let server = installation.start_up();
    let client = DialectClient::new(&server, client.app.clone(), &client.client_token);
    let scene = SteleFixture { client, server, installation };
    assert_acknowledged_persisted(&scene, &mut acknowledged).await;
    let sessions: Vec<_> = acknowledged.iter().flat_map(|told| told.sessions.clone()).collect();
    assert!(sessions.len() > 5, "too few to tell anything: {}", sessions.len());
    for token in sessions {
        let answer = scene.client.json(crate::client::CLOUDBOX_LOGOUT, &[("authorization", &token)], &json!({})).await;
        assert_eq!(answer.status, 200, "answered, and lost: {answer:?}");
    }
    scene.server.stop();
    drop(disk);
}

/// Requests that cost a client nothing to have refused: a stale proof, and a logout of nothing, as seen from `address`.
async fn send_rejected_requests(client: &DialectClient, address: String) {
    let client = client.with_address(&address);
    let stale = json!({ "username": "mark", "password": md5_hex("x"), "timestamp": 1_000_000_000 });
    assert_eq!(client.json(CLOUDBOX_LOGIN, &[], &stale).await.code(), "1003");
    client
        .form(
            "/i/logout",
            &[("cookie", "stele_session=0123456789abcdef0123456789abcdef")],
            &[("username", "x@example.com")],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_requests_do_not_fill_the_disk() {
    let mut home =
        Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_TRUSTED_PROXIES", "127.0.0.1")]);
    home.set("STELE_AUDIT_REFUSALS", "100");
    let disk = SmallFileSystem::at(home.data(), 8 * 1_024);
    let scene = SteleFixture::start_on(home);
    let mark = scene.add_user("mark", "15800158000");
    for dialect in DialectKind::ALL {
        scene.client.login(dialect, &mark, PASSWORD).await.assert_success();
    }
    let before = disk.used_bytes();
    // From one /64, and from as many.
    for flood in ["2001:db8:1:1::", "2001:db8:2:"] {
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let client = scene.client.clone();
                tokio::spawn(async move {
                    for n in (0..1_200).filter(|n| n % 4 == task) {
                        let rest = if flood.ends_with("::") { format!("{n:x}") } else { format!("{n:x}::1") };
                        send_rejected_requests(&client, format!("{flood}{rest}")).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    // What is gathered is written within a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = disk.used_bytes() - before;
    println!("4,800 refused requests: {grown} bytes");
    assert!(grown < 256 * 1_024, "{grown} bytes");
    for dialect in DialectKind::ALL {
        scene.client.login(dialect, &mark, PASSWORD).await.assert_success();
    }
    scene.wait_for_readiness_reason("ready").await;
    scene.server.stop();
    drop(disk);
}

#[test]
fn a_key_is_retired_only_if_its_file_can_be_moved_aside() {
    let mut home = Installation::new();
    let keys = home.path("keys");
    home.set("STELE_KEYS", keys.to_str().unwrap());
    let disk = SmallFileSystem::at(keys.clone(), 1_024);
    home.run(&["migrate"]).assert_success();
    home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
    // As an orchestrator hands secrets out; the superuser cannot write there either.
    assert!(run_as_root("mount", &["-o", "remount,ro"], &disk.folder));
    home.run(&["keys", "retire", "1"]).assert_failed(2, "seal-1.key.retired: the key cannot be put aside (Read-only");
    let listed = home.run(&["keys", "list"]).assert_success().stdout.clone();
    assert!(listed.lines().any(|line| line.starts_with("seal-1\topens") && line.ends_with("here")), "{listed}");
    home.run(&["check"]).assert_success();
    assert!(run_as_root("mount", &["-o", "remount,rw"], &disk.folder));
    home.run(&["keys", "retire", "1"]).assert_success();
    assert!(!keys.join("seal-1.key").exists() && keys.join("seal-1.key.retired").exists());
    home.run(&["check"]).assert_success();
}
