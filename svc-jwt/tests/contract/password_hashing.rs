//! Rehash on login: a successful login raises a password hash to at least the configured memory and total work
//! (memory × passes), and lowers neither.

use stele_core::hasher::Hasher;
use stele_core::identifier::Username;
use stele_core::random::OsRandom;
use stele_core::usecase::add_user::{AddUserRequest, ProvidedSecret};
use stele_core::user::{Account, Profile, Role};
use stele_core::verifier::{self, Argon2Cost};
use svc_jwt::SERVICE;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{ResponseExt as _, TestService};

impl TestService {
    /// Restarts the service with this argon2id cost: memory in KiB and passes.
    async fn restart_with_hash_cost(&mut self, memory: u32, passes: u32) {
        let hasher = Hasher::new(Argon2Cost { memory_kib: memory, passes, lanes: 1 }, 2, 64, &OsRandom).unwrap();
        self.service = self.lab.start_service_with(SERVICE, |deps| deps.hasher = hasher).await;
    }

    async fn account(&self, name: &str) -> Account {
        self.lab.dependencies().users.find_by_identifier(name).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_login_raises_memory_and_total_work_and_lowers_neither() {
    let mut service = TestService::new().await;
    service.lab.user("a").add().await;
    let epoch = service.account("a").await.epoch;
    let session = service.login("a", "123456").await;
    for (memory, passes, expected) in [
        (64, 1, "m=64,t=1,p=1"),
        (128, 1, "m=128,t=1,p=1"),
        (64, 1, "m=128,t=1,p=1"),
        (64, 2, "m=128,t=1,p=1"),
        // 192 KiB of work in 128 KiB of memory: two passes.
        (64, 3, "m=128,t=2,p=1"),
        // The same total work in more memory: one pass.
        (256, 1, "m=256,t=1,p=1"),
    ] {
        service.restart_with_hash_cost(memory, passes).await;
        let before = service.account("a").await.credential;
        assert_eq!(service.post("/api/v1/Auth/Login", "account=a&password=wrong").await.message(), "用户名或密码错误");
        assert_eq!(service.account("a").await.credential, before, "a failed login rehashes nothing");
        // Concurrent logins, as from clients that retry.
        let login = || service.login("a", "123456");
        tokio::join!(login(), login(), login(), login());
        let after = service.account("a").await;
        let start = format!("$argon2id$v=19${expected}$");
        assert!(after.credential.verifier.starts_with(&start), "{memory},{passes}: {}", after.credential.verifier);
        if before.verifier.starts_with(&start) {
            assert_eq!(after.credential, before, "{memory},{passes}: rehashed without need");
        }
        assert!(after.credential.sealed.is_some(), "salted logins still work");
        assert_eq!(after.epoch, epoch);
        assert!(service.is_session_valid(&session).await, "a rehash ends no session");
    }
    assert!(!service.post("/api/v1/Auth/Login", "account=a&password=1234567").await.text.contains("token"));
}

/// Imported tables contain the md5 of the empty string for accounts without a password.
#[tokio::test]
async fn an_empty_password_is_rejected_for_imported_hashes() {
    let service = TestService::new().await;
    let request = AddUserRequest {
        name: Username::parse("a").unwrap(),
        phone: None,
        email: None,
        role: Role::User,
        profile: Profile::default(),
        secret: ProvidedSecret::Hash(verifier::parse_imported("d41d8cd98f00b204e9800998ecf8427e").unwrap()),
    };
    service.lab.use_cases().add_user(request).await.unwrap();
    for password in ["", "%20"] {
        let rejected = service.post("/api/v1/Auth/Login", &format!("account=a&password={password}")).await;
        assert_eq!(rejected.message(), "用户名或密码错误");
    }
}

#[tokio::test]
async fn an_imported_hash_is_rehashed_on_login() {
    let mut service = TestService::new().await;
    service.restart_with_hash_cost(128, 2).await;
    // Hashes of other implementations: see the vectors of `crates/core`.
    let vectors = include_str!("../../../crates/core/tests/vectors/imported.txt");
    for (index, line) in vectors.lines().filter(|line| !line.starts_with('#')).enumerate() {
        let name = format!("user{index}");
        let request = AddUserRequest {
            name: Username::parse(&name).unwrap(),
            phone: None,
            email: None,
            role: Role::User,
            profile: Profile::default(),
            secret: ProvidedSecret::Hash(verifier::parse_imported(line).unwrap()),
        };
        service.lab.use_cases().add_user(request).await.unwrap();
        let rejected = service.post("/api/v1/Auth/Login", &format!("account={name}&password=wrong")).await;
        assert_eq!(rejected.message(), "用户名或密码错误", "{line}");
        service.login(&name, "correct horse").await;
        let after = service.account(&name).await.credential;
        assert!(after.verifier.starts_with("$argon2id$v=19$m=128,t=2,p=1$") && after.sealed.is_some(), "{line}");
        service.login(&name, "correct horse").await;
        assert_eq!(service.account(&name).await.credential, after, "{line}");
    }
}
