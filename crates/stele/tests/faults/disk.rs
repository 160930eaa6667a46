//! A disk that is full under the embedded stores: a small file system of the test's own.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{CLOUDBOX, Client, Dialect, base64, md5_hex};
use crate::scene::{PASSWORD, Scene, is_unavailable};
use crate::support::{Home, PATIENCE, Server};

/// A file system of so many KiB at a folder, as long as the value lives.
struct Disk {
    folder: PathBuf,
}

fn as_root(program: &str, args: &[&str], folder: &Path) -> bool {
    let root = rustix::process::geteuid().is_root();
    let mut command = if root { Command::new(program) } else { Command::new("sudo") };
    if !root {
        command.args(["-n", program]);
    }
    command.args(args).arg(folder).status().is_ok_and(|status| status.success())
}

impl Disk {
    fn at(folder: PathBuf, kib: usize) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let options = format!("size={kib}k,mode=0700,uid={uid},gid={gid}");
        let mounted = as_root("mount", &["-t", "tmpfs", "-o", &options, "stele-test"], &folder);
        assert!(mounted, "a file system of the test's own: run the tests as root, or let sudo mount");
        Self { folder }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Leaves no space.
    fn fill(&self) {
        let mut file = File::create(self.ballast()).unwrap();
        while file.write_all(&[0; 1_024]).is_ok() {}
    }

    /// Bytes that are taken.
    fn used(&self) -> u64 {
        let disk = rustix::fs::statvfs(&self.folder).unwrap();
        (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        as_root("umount", &["-l"], &self.folder);
    }
}

/// What a client was told is done.
#[derive(Default)]
struct Told {
    /// Phones with the passwords that may be theirs: two where the last change was not answered.
    people: Vec<(String, Vec<String>)>,
    sessions: Vec<String>,
    used: Vec<(String, String)>,
}

/// Registers people, logs them in and changes their passwords until something is refused because the disk is full.
async fn load(client: Client, outbox: PathBuf, task: usize, full: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    for turn in 0.. {
        let phone = format!("13{task}{turn:08}");
        for (which, path) in ["/i/register", "/i/resetpwd"].into_iter().enumerate() {
            let password = format!("{PASSWORD}-{which}");
            let asked = client.form("/code/send", &[], &[("username", &phone)]).await;
            let Some(code) = code(&asked, &outbox, &phone, which, &full).await else { return told };
            if which == 1 {
                told.people.last_mut().unwrap().1.push(password.clone());
            }
            let fields = [("username", phone.as_str()), ("password", &base64(&password)), ("code", &base64(&code))];
            let answer = client.form(path, &[], &fields).await;
            if refused(Dialect::Portal, &answer, &full) {
                return told;
            }
            answer.good();
            told.used.push((phone.clone(), code));
            match which {
                0 => told.people.push((phone.clone(), vec![password.clone()])),
                _ => told.people.last_mut().unwrap().1 = vec![password.clone()],
            }
            let answer = client.login_as(Dialect::Cloudbox, &phone, &password).await;
            if refused(Dialect::Cloudbox, &answer, &full) {
                return told;
            }
            // The change to come ends what was opened before it.
            if which == 1 {
                told.sessions.push(answer.good().token());
            }
        }
    }
    told
}

/// Whether an answer is that we are in trouble, in dialect.
fn refused(dialect: Dialect, answer: &crate::client::Answer, full: &AtomicBool) -> bool {
    let refused = answer.status == 503;
    if refused {
        is_unavailable(dialect, answer);
        full.store(true, Ordering::SeqCst);
    }
    refused
}

/// The code after the `seen` before; none if it was refused, or nobody can be told any code any more.
async fn code(
    asked: &crate::client::Answer,
    outbox: &Path,
    phone: &str,
    seen: usize,
    full: &AtomicBool,
) -> Option<String> {
    if refused(Dialect::Portal, asked, full) {
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
async fn holds(scene: &Scene, told: &mut [Told]) {
    for told in told {
        for (phone, passwords) in &mut told.people {
            let mut right = Vec::new();
            for password in passwords.iter() {
                if scene.client.login_as(Dialect::Portal, phone, password).await.succeeded() {
                    right.push(password.clone());
                }
            }
            assert_eq!(right.len(), 1, "answered, and lost: {phone} {passwords:?}");
            *passwords = right;
        }
        for (phone, code) in &told.used {
            let fields = [("username", phone.as_str()), ("password", &base64("by-a-thief")), ("code", &base64(code))];
            scene.client.form("/i/resetpwd", &[], &fields).await.is(200, "3208");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_loses_nothing_and_is_left_behind_without_a_restart() {
    let mut home = Home::with(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LIMIT_ADDRESS", "1000000")]);
    for name in ["STELE_SEND_ADDRESS", "STELE_SEND_RECIPIENT", "STELE_LIMIT_ACCOUNT"] {
        home.set(name, "1000000");
    }
    let disk = Disk::at(home.data(), 8 * 1_024);
    let scene = Scene::up(home);
    let mark = scene.person("mark", "15800158000");
    let full = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..3)
        .map(|task| tokio::spawn(load(scene.client.clone(), scene.server.outbox().to_owned(), task, full.clone())))
        .collect();
    let began = Instant::now();
    while scene.server.codes("13000000010").is_empty() {
        assert!(began.elapsed() < PATIENCE, "nobody registers");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    disk.fill();
    let mut told = Vec::new();
    for task in tasks {
        told.push(tokio::time::timeout(PATIENCE * 2, task).await.expect("the disk is full in time").unwrap());
    }

    // What still fits is done; the rest is refused, in dialect, and soon by all.
    for dialect in Dialect::ALL {
        let began = Instant::now();
        loop {
            let answer = scene.client.login(dialect, &mark, PASSWORD).await;
            if refused(dialect, &answer, &full) {
                break;
            }
            answer.good();
            assert!(began.elapsed() < PATIENCE, "{dialect:?}: the disk is full, and nobody is told");
        }
    }
    let line = scene.logged("the disk is full");
    assert!(line.contains("ERROR") && line.contains(scene.home.data().to_str().unwrap()), "{line}");

    scene.says_why("not ready: the disk under the data folder is full").await;

    disk.free();
    scene.says_why("ready").await;
    let back = Instant::now();
    for dialect in Dialect::ALL {
        while !scene.client.login(dialect, &mark, PASSWORD).await.succeeded() {
            assert!(back.elapsed() < PATIENCE, "{dialect:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    scene.logged("the disk has space again");
    holds(&scene, &mut told).await;
    // A line of the outbox that was torn off does not take the next one with it.
    scene.send_code(Dialect::Portal, "", "15900159000").await.good();
    scene.server.code_after("15900159000", 0);
    let log = scene.server.log();
    assert!(!log.contains("panicked"), "{log}");

    scene.server.kill();
    let Scene { home, client, .. } = scene;
    let server = home.up();
    let client = Client::new(&server, client.app.clone(), &client.tms);
    let scene = Scene { client, server, home };
    holds(&scene, &mut told).await;
    let sessions: Vec<_> = told.iter().flat_map(|told| told.sessions.clone()).collect();
    assert!(sessions.len() > 5, "too few to tell anything: {}", sessions.len());
    for token in sessions {
        let answer = scene.client.json(crate::client::CLOUDBOX_LOGOUT, &[("authorization", &token)], &json!({})).await;
        assert_eq!(answer.status, 200, "answered, and lost: {answer:?}");
    }
    scene.server.stop();
    drop(disk);
}

/// Requests that cost a client nothing to have refused: a stale proof, and a logout of nothing, as seen from `address`.
async fn refuse(client: &Client, address: String) {
    let client = client.from(&address);
    let stale = json!({ "username": "mark", "password": md5_hex("x"), "timestamp": 1_000_000_000 });
    assert_eq!(client.json(CLOUDBOX, &[], &stale).await.code(), "1003");
    client
        .form(
            "/i/logout",
            &[("cookie", "stele_session=0123456789abcdef0123456789abcdef")],
            &[("username", "x@example.com")],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_requests_do_not_fill_the_disk() {
    let mut home = Home::with(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_TRUSTED_PROXIES", "127.0.0.1")]);
    home.set("STELE_AUDIT_REFUSALS", "100");
    let disk = Disk::at(home.data(), 8 * 1_024);
    let scene = Scene::up(home);
    let mark = scene.person("mark", "15800158000");
    for dialect in Dialect::ALL {
        scene.client.login(dialect, &mark, PASSWORD).await.good();
    }
    let before = disk.used();
    // From one /64, and from as many.
    for flood in ["2001:db8:1:1::", "2001:db8:2:"] {
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let client = scene.client.clone();
                tokio::spawn(async move {
                    for n in (0..1_200).filter(|n| n % 4 == task) {
                        let rest = if flood.ends_with("::") { format!("{n:x}") } else { format!("{n:x}::1") };
                        refuse(&client, format!("{flood}{rest}")).await;
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
    let grown = disk.used() - before;
    println!("4,800 refused requests: {grown} bytes");
    assert!(grown < 256 * 1_024, "{grown} bytes");
    for dialect in Dialect::ALL {
        scene.client.login(dialect, &mark, PASSWORD).await.good();
    }
    scene.says_why("ready").await;
    scene.server.stop();
    drop(disk);
}

#[test]
fn a_key_is_taken_out_of_service_only_where_its_file_can_be_put_aside() {
    let mut home = Home::new();
    let keys = home.path("keys");
    home.set("STELE_KEYS", keys.to_str().unwrap());
    let disk = Disk::at(keys.clone(), 1_024);
    home.run(&["migrate"]).done();
    home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).done();
    // As an orchestrator hands secrets out; the superuser cannot write there either.
    assert!(as_root("mount", &["-o", "remount,ro"], &disk.folder));
    home.run(&["keys", "retire", "1"]).refused(2, "seal-1.key.retired: the key cannot be put aside (Read-only");
    let listed = home.run(&["keys", "list"]).done().stdout.clone();
    assert!(listed.lines().any(|line| line.starts_with("seal-1\topens") && line.ends_with("here")), "{listed}");
    home.run(&["check"]).done();
    assert!(as_root("mount", &["-o", "remount,rw"], &disk.folder));
    home.run(&["keys", "retire", "1"]).done();
    assert!(!keys.join("seal-1.key").exists() && keys.join("seal-1.key.retired").exists());
    home.run(&["check"]).done();
}
