//! Sends what a proxy sends, and reads what it gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use stele_core::oauth::SigningAlgorithm;
use stele_core::password::RawPassword;
use stele_core::proof::Proof;
use stele_core::session::Token;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::login::{AllowedUsers, AuthenticatedSession, Challenge, LoginRequest, SessionTransport};
use stele_jose::verifier::{Expected, ExpectedAudience};
use stele_jose::{KeySet, LoginTokens, Verifier};
use stele_testkit::{TestApp, TestLab, impl_deref_to_test_app, send_raw};

use crate::test_service::ISSUER;

/// The names of the identity headers.
pub(crate) const IDENTITY: [&str; 6] =
    ["x-stele-user", "x-stele-username", "x-stele-role", "x-stele-dialect", "x-stele-acr", "x-stele-assertion"];

/// The user of most tests.
pub(crate) const USER: &str = "mark";

/// The way in which a proxy asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contract {
    Nginx,
    Caddy,
    Traefik,
    Envoy,
}

impl Contract {
    pub(crate) const ALL: [Self; 4] = [Self::Nginx, Self::Caddy, Self::Traefik, Self::Envoy];

    /// The head of the request that the proxy sends about `GET target` of `host`: with the header fields `client` of the
    /// client, in which it does not replace those of other contracts.
    pub(crate) fn head(self, method: &str, host: &str, target: &str, client: &[(&str, &str)]) -> String {
        let own: Vec<(&str, String)> = match self {
            Self::Nginx => vec![
                ("Host", "stele".to_owned()),
                ("X-Original-URL", format!("https://{host}{target}")),
                ("X-Original-Method", method.to_owned()),
            ],
            Self::Caddy | Self::Traefik => {
                let mut own = vec![
                    ("Host", if self == Self::Caddy { host.to_owned() } else { "127.0.0.1:8106".to_owned() }),
                    ("X-Forwarded-Method", method.to_owned()),
                    ("X-Forwarded-Proto", "https".to_owned()),
                    ("X-Forwarded-Host", host.to_owned()),
                    ("X-Forwarded-Uri", target.to_owned()),
                    ("X-Forwarded-For", "192.0.2.7".to_owned()),
                ];
                if self == Self::Traefik {
                    own.extend([("X-Forwarded-Port", "443".to_owned()), ("X-Forwarded-Server", "proxy".to_owned())]);
                    own.push(("X-Real-Ip", "192.0.2.7".to_owned()));
                }
                own
            }
            Self::Envoy => vec![("Host", host.to_owned()), ("Content-Length", "0".to_owned())],
        };
        let line = match self {
            Self::Nginx => "GET /authz/auth-request HTTP/1.1".to_owned(),
            Self::Caddy | Self::Traefik => "GET /authz/forward-auth HTTP/1.1".to_owned(),
            Self::Envoy => format!("{method} /authz/ext-authz{target} HTTP/1.1"),
        };
        let is_own = |name: &str| own.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let client =
            client.iter().filter(|(name, _)| !is_own(name)).map(|(name, value)| format!("{name}: {value}\r\n"));
        let own: String = own.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{line}\r\n{own}{}Connection: close\r\n\r\n", client.collect::<String>())
    }
}

/// An answer to a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// By names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines.map(|line| line.split_once(": ").unwrap());
        let headers = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    /// Asserts the status, and that no user is named.
    #[track_caller]
    pub(crate) fn assert_denied(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        for name in IDENTITY {
            assert_eq!(self.header(name), "-", "{name}");
        }
        assert_eq!((self.header("cache-control"), self.body.as_str()), ("no-store", ""));
        let challenge = self.headers.get("www-authenticate").map(String::as_str);
        assert_eq!(challenge, (status == 401).then_some("Bearer realm=\"stele\""));
    }
}

/// Sends a request to the service at `address` as it is.
pub(crate) async fn send_head(address: SocketAddr, head: &str) -> Answer {
    Answer::parse(&send_raw(address, head.as_bytes()).await)
}

/// A running service, with the user [`USER`].
pub(crate) struct ForwardAuthApp {
    app: TestApp,
    keys: KeySet,
    /// Has the file with the rules.
    _folder: Option<tempfile::TempDir>,
}

impl_deref_to_test_app!(ForwardAuthApp);

impl ForwardAuthApp {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let settings = [&[("STELE_PUBLIC_URL", ISSUER)], settings].concat();
        let lab = TestLab::with_settings(&settings).await;
        lab.user(USER).add().await;
        Self::start_on(lab).await
    }

    /// Starts with the rules in this TOML text.
    pub(crate) async fn start_with_rules(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rules.toml");
        std::fs::write(&file, rules).unwrap();
        let app = Self::start_with(&[("STELE_AUTHZ_RULES", file.to_str().unwrap())]).await;
        Self { _folder: Some(folder), ..app }
    }

    async fn start_on(lab: TestLab) -> Self {
        let app = TestApp::start(lab, svc_oauth::SERVICE).await;
        let keys = KeySet::register(&[SigningAlgorithm::EdDsa], &app.lab.context().keys).unwrap();
        Self { app, keys, _folder: None }
    }

    /// Logs [`USER`] in through a dialect.
    pub(crate) async fn log_in(&self, dialect: &'static str) -> AuthenticatedSession {
        self.log_in_as(USER, dialect).await
    }

    pub(crate) async fn log_in_as(&self, name: &str, dialect: &'static str) -> AuthenticatedSession {
        let caller = RequestInfo::from_client(dialect, [192, 0, 2, 1].into());
        let request = LoginRequest {
            identifier: name,
            proof: Proof::Raw(RawPassword::new("123456".to_owned())),
            caller: &caller,
            allowed_users: AllowedUsers::Everyone,
            challenge: Challenge::Never,
            transport: SessionTransport::Token,
        };
        self.lab.use_cases().login(request).await.unwrap()
    }

    /// The token that the JWT dialect issues for a session.
    pub(crate) fn login_jwt(&self, session: &AuthenticatedSession) -> String {
        let tokens = LoginTokens::new(&self.keys, SigningAlgorithm::EdDsa, "stele");
        tokens.issue(&session.session, &session.token).unwrap()
    }

    /// What the proxy gets for `GET target` of `a.example`, which the client sends with these header fields.
    pub(crate) async fn ask(&self, contract: Contract, target: &str, client: &[(&str, &str)]) -> Answer {
        self.ask_host(contract, "a.example", target, client).await
    }

    pub(crate) async fn ask_host(
        &self,
        contract: Contract,
        host: &str,
        target: &str,
        client: &[(&str, &str)],
    ) -> Answer {
        self.send_head(&contract.head("GET", host, target, client)).await
    }

    /// Sends a request as it is.
    pub(crate) async fn send_head(&self, head: &str) -> Answer {
        send_head(self.service.address(), head).await
    }

    /// As [`ForwardAuthApp::ask`], by nginx, with a session token.
    pub(crate) async fn ask_with(&self, host: &str, target: &str, token: &Token) -> Answer {
        self.ask_host(Contract::Nginx, host, target, &[("Authorization", token.expose())]).await
    }

    /// The claims of an assertion for this host; panics if an application would not accept it.
    pub(crate) fn verify_assertion(&self, assertion: &str, host: &str) -> Value {
        self.try_verify_assertion(assertion, host).unwrap_or_else(|| panic!("not valid for {host}: {assertion}"))
    }

    pub(crate) fn try_verify_assertion(&self, assertion: &str, host: &str) -> Option<Value> {
        let expected =
            Expected { typ: "stele-assertion+jwt", issuer: ISSUER, audience: ExpectedAudience::Contains(host) };
        Verifier::new(self.keys.clone()).verify(assertion, &expected, self.lab.clock().now())
    }
}
