//! The cost of a password's hash rises at the next login that shows the password, and never falls.

use stele_core::hasher::Hasher;
use stele_core::identifier::Name;
use stele_core::random::OsRandom;
use stele_core::usecase::add_user::{AddUser, Provided};
use stele_core::user::{Account, Profile, Role};
use stele_core::verifier::{self, Cost};
use svc_jwt::SERVICE;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{Bench, Reply as _};

impl Bench {
    /// An instance whose hashes cost so much takes the place of the one before.
    async fn costing(&mut self, memory: u32, passes: u32) {
        let hasher = Hasher::new(Cost { memory, passes, lanes: 1 }, 2, 64, &OsRandom).unwrap();
        self.service = self.lab.start_with(SERVICE, |deps| deps.hasher = hasher).await;
    }

    async fn account(&self, name: &str) -> Account {
        self.lab.deps().users.find(name).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_hash_rises_at_a_login_and_never_falls() {
    let mut bench = Bench::new().await;
    bench.lab.user("a").add().await;
    let epoch = bench.account("a").await.epoch;
    let session = bench.login("a", "123456").await;
    for (memory, passes, expected) in [
        (64, 1, "m=64,t=1,p=1"),
        (128, 1, "m=128,t=1,p=1"),
        (64, 1, "m=128,t=1,p=1"),
        (64, 2, "m=128,t=1,p=1"),
        (64, 3, "m=128,t=2,p=1"),
        (256, 1, "m=256,t=1,p=1"),
    ] {
        bench.costing(memory, passes).await;
        let before = bench.account("a").await.credential;
        assert_eq!(bench.post("/api/v1/Auth/Login", "account=a&password=wrong").await.message(), "用户名或密码错误");
        assert_eq!(bench.account("a").await.credential, before, "who shows no password changes nothing");
        // At once, as old clients do that try again.
        let login = || bench.login("a", "123456");
        tokio::join!(login(), login(), login(), login());
        let after = bench.account("a").await;
        let start = format!("$argon2id$v=19${expected}$");
        assert!(after.credential.verifier.starts_with(&start), "{memory},{passes}: {}", after.credential.verifier);
        if before.verifier.starts_with(&start) {
            assert_eq!(after.credential, before, "{memory},{passes}: made anew for nothing");
        }
        assert!(after.credential.sealed.is_some(), "salted logins still work");
        assert_eq!(after.epoch, epoch);
        assert!(bench.lives(&session).await, "a better hash ends no session");
    }
    assert!(!bench.post("/api/v1/Auth/Login", "account=a&password=1234567").await.text.contains("token"));
}

/// Tables have the md5 of nothing for accounts without a password.
#[tokio::test]
async fn an_empty_password_is_wrong_whatever_was_imported() {
    let bench = Bench::new().await;
    let request = AddUser {
        name: Name::parse("a").unwrap(),
        phone: None,
        email: None,
        role: Role::User,
        profile: Profile::default(),
        secret: Provided::Foreign(verifier::import("d41d8cd98f00b204e9800998ecf8427e").unwrap()),
    };
    bench.lab.use_cases().add_user(request).await.unwrap();
    for password in ["", "%20"] {
        let refused = bench.post("/api/v1/Auth/Login", &format!("account=a&password={password}")).await;
        assert_eq!(refused.message(), "用户名或密码错误");
    }
}

#[tokio::test]
async fn an_imported_hash_becomes_one_of_todays_whatever_it_cost() {
    let mut bench = Bench::new().await;
    bench.costing(128, 2).await;
    // By another implementation: see the vectors of `crates/core`.
    let vectors = include_str!("../../../crates/core/tests/vectors/foreign.txt");
    for (turn, line) in vectors.lines().filter(|line| !line.starts_with('#')).enumerate() {
        let name = format!("user{turn}");
        let request = AddUser {
            name: Name::parse(&name).unwrap(),
            phone: None,
            email: None,
            role: Role::User,
            profile: Profile::default(),
            secret: Provided::Foreign(verifier::import(line).unwrap()),
        };
        bench.lab.use_cases().add_user(request).await.unwrap();
        let refused = bench.post("/api/v1/Auth/Login", &format!("account={name}&password=wrong")).await;
        assert_eq!(refused.message(), "用户名或密码错误", "{line}");
        bench.login(&name, "correct horse").await;
        let after = bench.account(&name).await.credential;
        assert!(after.verifier.starts_with("$argon2id$v=19$m=128,t=2,p=1$") && after.sealed.is_some(), "{line}");
        bench.login(&name, "correct horse").await;
        assert_eq!(bench.account(&name).await.credential, after, "{line}");
    }
}
