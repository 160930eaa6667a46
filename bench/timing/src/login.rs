//! A user who is not there, and a password that is wrong (`docs/THREATS.md` 1).

use stele_bench_kit::dialect::now;
use stele_bench_kit::{
    BenchError, DialectClient, DialectKind, Installation, MefpApp, ProductProcess, ReleasePrograms, Result, TestUser,
    test_users,
};

use crate::Options;
use crate::report::{ComparisonPlan, Expectation, Report};

/// Limits out of the way, and one thread, so that no request waits for another one's. Nothing else differs from a
/// service as it is installed: a failure is counted as any, but a wait never begins and nobody is asked for a captcha.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("STELE_LIMIT_ACCOUNT", "1000000000"),
    ("STELE_LIMIT_ADDRESS", "1000000000"),
    ("STELE_LIMIT_APP", "1000000000"),
    ("STELE_SEND_RECIPIENT", "1000000000"),
    ("STELE_SEND_ADDRESS", "1000000000"),
    ("STELE_SEND_TOTAL", "0"),
    ("STELE_SEND_APP", "1000000000"),
    ("STELE_WORKERS", "1"),
    ("STELE_LOG", "warn"),
    ("STELE_DRAIN", "0"),
];

/// How many there are of those who are there, and of those who are not.
pub(crate) const USERS_PER_GROUP: usize = 500;

/// A service, and whom it knows.
pub(crate) struct ServiceFixture {
    pub process: ProductProcess,
    pub client: DialectClient,
    pub known_users: Vec<TestUser>,
    pub unknown_users: Vec<TestUser>,
    _site: Installation,
}

impl ServiceFixture {
    /// The service of a dialect alone, on an embedded store, with these settings on top.
    pub(crate) fn new(programs: &ReleasePrograms, dialect: DialectKind, extra: &[(&str, &str)]) -> Result<Self> {
        let site = Installation::embedded(programs, &[SETTINGS, extra].concat())?;
        let app: MefpApp = site.add_mefp_app("melink", "melink")?;
        let caller = DialectClient { app, tms_token: site.add_client_token("timing")? };
        let runtime = tokio::runtime::Runtime::new()?;
        let known = runtime.block_on(test_users::add_test_users(&site, 0, USERS_PER_GROUP, "the-right-password"))?;
        // Their names are as long.
        let unknown = (0..USERS_PER_GROUP).map(|number| TestUser::numbered(99_000_000 + number)).collect();
        let process = site.start_service(dialect, &[])?;
        // Or the first salted proofs would be older than the store.
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        Ok(Self { process, client: caller, known_users: known, unknown_users: unknown, _site: site })
    }
}

/// One of a crowd, another one each time, in no order that a cache could like better for one crowd than for the other.
pub(crate) fn pick_user(crowd: &[TestUser], number: u64) -> &TestUser {
    let at = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    &crowd[usize::try_from(at).unwrap_or_default() % crowd.len()]
}

/// A way to log in.
struct LoginCase {
    name: &'static str,
    dialect: DialectKind,
    settings: &'static [(&'static str, &'static str)],
    hashes_password: bool,
    expectation: Expectation,
}

const LOGIN_CASES: [LoginCase; 7] = [
    LoginCase {
        name: "cloudbox",
        dialect: DialectKind::Cloudbox,
        settings: &[],
        hashes_password: false,
        expectation: Expectation::Indistinguishable,
    },
    LoginCase {
        name: "tms, salted",
        dialect: DialectKind::Tms,
        settings: &[("STELE_TMS_PROOF", "salted")],
        hashes_password: false,
        expectation: Expectation::Indistinguishable,
    },
    LoginCase {
        name: "tms",
        dialect: DialectKind::Tms,
        settings: &[],
        hashes_password: true,
        expectation: Expectation::Indistinguishable,
    },
    // Its document has 3201 and 3202: the bytes tell, and the work must not.
    LoginCase {
        name: "portal",
        dialect: DialectKind::Portal,
        settings: &[],
        hashes_password: true,
        expectation: Expectation::SameTime,
    },
    LoginCase {
        name: "portal, not telling",
        dialect: DialectKind::Portal,
        settings: &[("STELE_PORTAL_TELL_UNKNOWN", "false")],
        hashes_password: true,
        expectation: Expectation::Indistinguishable,
    },
    LoginCase {
        name: "mefp",
        dialect: DialectKind::Mefp,
        settings: &[],
        hashes_password: true,
        expectation: Expectation::Indistinguishable,
    },
    LoginCase {
        name: "jwt",
        dialect: DialectKind::Jwt,
        settings: &[],
        hashes_password: true,
        expectation: Expectation::Indistinguishable,
    },
];

pub(crate) fn compare_logins(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    for door in LOGIN_CASES {
        let title = |what: &str| format!("1 {}: {what}", door.name);
        let names = [title("unknown user, wrong password"), title("the same twice"), title("control: no hash")];
        if !names.iter().any(|name| name.contains(&options.only)) {
            continue;
        }
        let scene = ServiceFixture::new(programs, door.dialect, door.settings)?;
        let login = |person: &TestUser, number: u64| {
            let name = if matches!(door.dialect, DialectKind::Jwt) { &person.email } else { &person.phone };
            let guess = format!("guess-{number:08}");
            // For an e-mail address is longer than a phone, and both crowds use the same.
            scene.client.login(door.dialect, name, &guess, now()).to_bytes()
        };
        let wrong = |number: u64| login(pick_user(&scene.known_users, number), number);
        let unknown = |number: u64| login(pick_user(&scene.unknown_users, number), number);
        let plan = |name: &str, kinds, must| ComparisonPlan {
            name: name.to_owned(),
            address: scene.process.address(),
            hashes_password: door.hashes_password,
            request_kinds: kinds,
            follow_up: None,
            expectation: must,
        };
        report.compare(options, plan(&names[0], [&wrong, &unknown], door.expectation))?;
        if matches!(door.name, "cloudbox" | "jwt") {
            let again = |number: u64| login(pick_user(&scene.known_users, number + 1_000_003), number);
            report.compare(options, plan(&names[1], [&wrong, &again], Expectation::Indistinguishable))?;
            // Less work, and no less to read: what is stale, or empty, is not checked.
            let idle = |number: u64| match door.dialect {
                DialectKind::Jwt => {
                    scene.client.login(door.dialect, &pick_user(&scene.known_users, number).email, "", now()).to_bytes()
                }
                _ => scene
                    .client
                    .login(door.dialect, &pick_user(&scene.known_users, number).phone, "x", now() - 5_000)
                    .to_bytes(),
            };
            report.compare(options, plan(&names[2], [&wrong, &idle], Expectation::Distinguishable))?;
        }
        if !scene.process.is_running() {
            return Err(BenchError::new(format!("{} ended: {}", door.name, scene.process.log())));
        }
    }
    Ok(())
}
