//! Timing side channel of logins: user enumeration by comparing an unknown user with a wrong password
//! (`docs/THREATS.md` 1).

use stele_bench_kit::dialect::unix_seconds;
use stele_bench_kit::{
    BenchError, DialectClient, DialectKind, Installation, MefpApp, ProductProcess, ReleasePrograms, Result, TestUser,
    test_users,
};

use crate::Options;
use crate::report::{ComparisonPlan, Expectation, Report};

/// Settings of a measured service: rate limits so high that failures are counted as usual, but no wait begins and no
/// captcha is required; and one worker thread, so that threads do not wait for each other.
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

/// The number of known users, and of unknown users.
pub(crate) const USERS_PER_GROUP: usize = 500;

/// A running service, users that it knows, and users that it does not know.
pub(crate) struct ServiceFixture {
    pub process: ProductProcess,
    pub client: DialectClient,
    pub known_users: Vec<TestUser>,
    pub unknown_users: Vec<TestUser>,
    _installation: Installation,
}

impl ServiceFixture {
    /// Starts the service of `dialect` alone on embedded stores, with additional settings.
    pub(crate) fn new(programs: &ReleasePrograms, dialect: DialectKind, extra: &[(&str, &str)]) -> Result<Self> {
        let installation = Installation::embedded(programs, &[SETTINGS, extra].concat())?;
        let app: MefpApp = installation.add_mefp_app("melink", "melink")?;
        let client = DialectClient { app, tms_token: installation.add_client_token("timing")? };
        let runtime = tokio::runtime::Runtime::new()?;
        let known_users =
            runtime.block_on(test_users::add_test_users(&installation, 0, USERS_PER_GROUP, "the-right-password"))?;
        // Their phones have the same length as those of known users.
        let unknown_users = (0..USERS_PER_GROUP).map(|number| TestUser::numbered(99_000_000 + number)).collect();
        let process = installation.start_service(dialect, &[])?;
        // Wait a second, since salted proofs from before the state store's creation are rejected as stale.
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        Ok(Self { process, client, known_users, unknown_users, _installation: installation })
    }
}

/// Selects a user by a hash of `number`, so that caches favour neither group.
pub(crate) fn pick_user(users: &[TestUser], number: u64) -> &TestUser {
    let at = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    &users[usize::try_from(at).unwrap_or_default() % users.len()]
}

/// A kind of login to compare.
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
    // Its documented results 3201 and 3202 distinguish the cases; the work must not.
    LoginCase {
        name: "portal",
        dialect: DialectKind::Portal,
        settings: &[],
        hashes_password: true,
        expectation: Expectation::SameTime,
    },
    LoginCase {
        name: "portal, without 3201",
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
    for case in LOGIN_CASES {
        let comparison_name = |what: &str| format!("1 {}: {what}", case.name);
        let names = [
            comparison_name("unknown user, wrong password"),
            comparison_name("the same twice"),
            comparison_name("control: no hash"),
        ];
        if !names.iter().any(|name| name.contains(&options.only)) {
            continue;
        }
        let fixture = ServiceFixture::new(programs, case.dialect, case.settings)?;
        let login_request = |user: &TestUser, number: u64| {
            // The same kind of identifier for both groups, since e-mail addresses are longer than phones.
            let identifier = if matches!(case.dialect, DialectKind::Jwt) { &user.email } else { &user.phone };
            let guess = format!("guess-{number:08}");
            fixture.client.login_request(case.dialect, identifier, &guess, unix_seconds()).to_bytes()
        };
        let wrong_password = |number: u64| login_request(pick_user(&fixture.known_users, number), number);
        let unknown_user = |number: u64| login_request(pick_user(&fixture.unknown_users, number), number);
        let new_plan = |name: &str, request_kinds, expectation| ComparisonPlan {
            name: name.to_owned(),
            address: fixture.process.address(),
            hashes_password: case.hashes_password,
            request_kinds,
            follow_up: None,
            expectation,
        };
        report.compare(options, new_plan(&names[0], [&wrong_password, &unknown_user], case.expectation))?;
        if matches!(case.name, "cloudbox" | "jwt") {
            let wrong_password_again =
                |number: u64| login_request(pick_user(&fixture.known_users, number + 1_000_003), number);
            report.compare(
                options,
                new_plan(&names[1], [&wrong_password, &wrong_password_again], Expectation::Indistinguishable),
            )?;
            // Control: a request with less work, since a stale proof or an empty password is rejected without
            // verification.
            let rejected_unverified = |number: u64| match case.dialect {
                DialectKind::Jwt => fixture
                    .client
                    .login_request(case.dialect, &pick_user(&fixture.known_users, number).email, "", unix_seconds())
                    .to_bytes(),
                _ => fixture
                    .client
                    .login_request(
                        case.dialect,
                        &pick_user(&fixture.known_users, number).phone,
                        "x",
                        unix_seconds() - 5_000,
                    )
                    .to_bytes(),
            };
            report.compare(
                options,
                new_plan(&names[2], [&wrong_password, &rejected_unverified], Expectation::Distinguishable),
            )?;
        }
        if !fixture.process.is_running() {
            return Err(BenchError::new(format!("{} exited: {}", case.name, fixture.process.read_log())));
        }
    }
    Ok(())
}
