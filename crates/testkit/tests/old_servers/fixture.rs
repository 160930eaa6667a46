//! A lab with old servers, users without a password, and logins.

use std::time::Duration;

use stele_core::identifier::{Phone, Username};
use stele_core::old_server::{LegacyId, OldApi};
use stele_core::password::RawPassword;
use stele_core::proof::{Proof, SaltedProof};
use stele_core::usecase::RequestInfo;
use stele_core::usecase::login::{AllowedUsers, AuthenticatedSession, Challenge, LoginRequest, SessionTransport};
use stele_core::user::{Account, Credential, NewUser, Profile, Role, UserId};
use stele_core::verifier::NO_PASSWORD;
use stele_core::{Error, Result};
use stele_old_servers::{
    Call, MemoryTable, OldCloudbox, OldJwt, OldMefp, OldPortal, OldServer, OldTms, OldUser, PasswordFormat,
    PasswordReading, StoredPassword,
};
use stele_testkit::TestLab;

pub(crate) const MEFP_SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const APP_SECRET: &str = "fedcba9876543210";

/// A kind of old server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cloudbox,
    TmsSalted,
    TmsDigest,
    Portal,
    Mefp,
    Jwt,
}

impl Kind {
    pub(crate) fn api(self) -> OldApi {
        match self {
            Self::Cloudbox => OldApi::Cloudbox,
            Self::TmsSalted | Self::TmsDigest => OldApi::Tms,
            Self::Portal => OldApi::Portal,
            Self::Mefp => OldApi::Mefp,
            Self::Jwt => OldApi::Jwt,
        }
    }

    fn format(self) -> PasswordFormat {
        match self {
            Self::Cloudbox | Self::TmsSalted | Self::TmsDigest => PasswordFormat::Md5,
            Self::Portal => PasswordFormat::Base64,
            Self::Mefp => PasswordFormat::Clear,
            Self::Jwt => PasswordFormat::Md5,
        }
    }

    /// Starts a server whose users have the password `123456`.
    pub(crate) fn start(self, names: &[&str]) -> OldServer {
        let users = names.iter().enumerate().map(|(n, name)| old_user(n, name, self.password("123456")));
        let table = std::sync::Arc::new(MemoryTable::new(self.format(), users));
        match self {
            Self::Cloudbox => OldCloudbox::default().serve(table),
            Self::TmsSalted | Self::TmsDigest => {
                let reading = if self == Self::TmsSalted { PasswordReading::Salted } else { PasswordReading::Digest };
                OldTms { reading, client_tokens: vec!["client".to_owned()], ..OldTms::default() }.serve(table)
            }
            Self::Portal => OldPortal::default().serve(table),
            Self::Mefp => OldMefp::new(MEFP_SECRET, &[("melink", APP_SECRET)]).serve(table),
            Self::Jwt => OldJwt::default().serve(table),
        }
    }

    /// A password as the server's table keeps it.
    pub(crate) fn password(self, password: &str) -> StoredPassword {
        StoredPassword::new(self.format(), password)
    }

    /// The settings that name the server.
    pub(crate) fn settings(self, server: &OldServer) -> Vec<(&'static str, String)> {
        let url = |name| vec![(name, server.url())];
        match self {
            Self::Cloudbox => url("STELE_OLD_CLOUDBOX_URL"),
            Self::TmsSalted | Self::TmsDigest => {
                let proof = if self == Self::TmsSalted { "salted" } else { "digest" };
                vec![
                    ("STELE_OLD_TMS_URL", server.url()),
                    ("STELE_OLD_TMS_TOKEN", "client".to_owned()),
                    ("STELE_OLD_TMS_PROOF", proof.to_owned()),
                ]
            }
            Self::Portal => url("STELE_OLD_PORTAL_URL"),
            Self::Mefp => vec![
                ("STELE_OLD_MEFP_URL", server.url()),
                ("STELE_OLD_MEFP_APP", "melink".to_owned()),
                ("STELE_OLD_MEFP_SECRET", MEFP_SECRET.to_owned()),
                ("STELE_OLD_MEFP_APP_SECRET", APP_SECRET.to_owned()),
            ],
            Self::Jwt => url("STELE_OLD_JWT_URL"),
        }
    }
}

pub(crate) fn phone(n: usize) -> String {
    format!("138001380{n:02}")
}

/// The user of this position in the list of names.
pub(crate) fn old_user(n: usize, name: &str, password: StoredPassword) -> OldUser {
    let mut user = OldUser::new(&(n + 1).to_string(), name, password);
    user.phone = phone(n);
    user.real_name = format!("real {name}");
    user.organization = format!("org of {name}");
    user.memo = format!("memo of {name}");
    user
}

/// A lab that asks `server`, with these further settings.
pub(crate) async fn lab(kind: Kind, server: &OldServer, more: &[(&str, &str)]) -> TestLab {
    let own = kind.settings(server);
    let settings: Vec<_> =
        own.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied()).collect();
    TestLab::with_settings(&settings).await
}

/// Adds the users that an import without passwords leaves, with their ids at the server of `api`.
pub(crate) async fn add_imported(lab: &TestLab, api: OldApi, names: &[&str]) {
    for (n, name) in names.iter().enumerate() {
        let deps = lab.dependencies();
        let new = NewUser {
            id: UserId::from_random(deps.random.bits128()),
            name: Username::parse(name),
            phone: Phone::parse(&phone(n)),
            email: None,
            registered_with: None,
            registered_through: String::new(),
            registered_at: deps.now(),
            alias_id: deps.random.hex128(),
            role: Role::User,
            profile: Profile::default(),
            credential: Credential { verifier: NO_PASSWORD.to_owned(), sealed: None },
        };
        let legacy_id = LegacyId { api, id: (n + 1).to_string() };
        assert!(deps.legacy_users.add_with_legacy_id(&new, &legacy_id).await.unwrap().is_some(), "{name}");
    }
}

pub(crate) async fn account(lab: &TestLab, name: &str) -> Account {
    lab.dependencies().users.find_by_identifier(name).await.unwrap().unwrap()
}

pub(crate) fn raw(password: &str) -> Proof {
    Proof::Raw(RawPassword::new(password.to_owned()))
}

pub(crate) fn digest(password: &str) -> Proof {
    Proof::Digest(RawPassword::new(password.to_owned()).digest())
}

/// A salted proof with the current time plus `seconds`.
pub(crate) fn salted(lab: &TestLab, password: &str, seconds: u64) -> Proof {
    let timestamp = u64::try_from(lab.dependencies().now().as_secs()).unwrap() + seconds;
    let digest = RawPassword::new(password.to_owned()).digest().salted_hash(timestamp);
    Proof::Salted(SaltedProof { digest, timestamp: timestamp.into() })
}

pub(crate) async fn log_in(
    lab: &TestLab,
    dialect: &'static str,
    identifier: &str,
    proof: Proof,
) -> Result<AuthenticatedSession> {
    let caller = RequestInfo::from_client(dialect, [203, 0, 113, 7].into());
    let request = LoginRequest {
        identifier,
        proof,
        caller: &caller,
        allowed_users: AllowedUsers::Everyone,
        challenge: Challenge::Never,
        transport: SessionTransport::Token,
    };
    lab.use_cases().login(request).await
}

#[track_caller]
pub(crate) fn assert_wrong_password<T: std::fmt::Debug>(result: &Result<T>) {
    assert!(matches!(result, Err(Error::WrongPassword)), "{result:?}");
}

#[track_caller]
pub(crate) fn assert_unavailable<T: std::fmt::Debug>(result: &Result<T>) {
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
}

pub(crate) fn logins(server: &OldServer) -> usize {
    server.count(Call::Login)
}

/// Polls until `condition` is true, for ten seconds at most.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}
