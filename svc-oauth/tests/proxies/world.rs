//! The three proxies between a client and the application, with svc-oauth beside them.

use serde_json::Value;
use stele_core::oauth::SigningAlgorithm;
use stele_core::password::RawPassword;
use stele_core::proof::Proof;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::login::{AllowedUsers, AuthenticatedSession, Challenge, LoginRequest, SessionTransport};
use stele_jose::verifier::{Expected, ExpectedAudience};
use stele_jose::{KeySet, Verifier};
use stele_testkit::servers::{ProxyProgram, ReverseProxy};
use stele_testkit::{RunningService, TestLab};

use crate::application::Application;

/// The issuer of assertions.
const ISSUER: &str = "https://auth.example.com";

/// The names of the identity headers.
pub(crate) const IDENTITY: [&str; 6] =
    ["X-Stele-User", "X-Stele-Username", "X-Stele-Role", "X-Stele-Dialect", "X-Stele-Acr", "X-Stele-Assertion"];

/// `/admin/` of `a.example` is for administrators; other hosts are closed.
const RULES: &str =
    "[[rule]]\nhost = \"a.example\"\n[[rule]]\nhost = \"a.example\"\npath = \"/admin/\"\nroles = [\"admin\"]\n";

/// The configuration of deploy/forward-auth with the ports of a test.
pub(crate) fn configuration(program: ProxyProgram, listen: u16, application: u16, stele: u16) -> String {
    let text = match program {
        ProxyProgram::Nginx => include_str!("../../../deploy/forward-auth/nginx.conf"),
        ProxyProgram::Caddy => include_str!("../../../deploy/forward-auth/Caddyfile"),
        ProxyProgram::Envoy => include_str!("../../../deploy/forward-auth/envoy.yaml"),
    };
    // A test that waits for an answer in vain need not wait longer.
    let text = text.replace("5s", "1s");
    let replace = |text: String, documented: &str, port: u16| {
        assert!(text.contains(documented), "{program:?}: {documented}");
        text.replace(documented, &port.to_string())
    };
    let text = replace(text, "8106", stele);
    let text = replace(text, "9000", application);
    replace(text, "8000", listen)
}

/// The proxies and what is behind them.
pub(crate) struct World {
    pub(crate) lab: TestLab,
    pub(crate) application: Application,
    pub(crate) proxies: Vec<ReverseProxy>,
    pub(crate) service: Option<RunningService>,
    /// A portal session of an ordinary user.
    pub(crate) login: AuthenticatedSession,
    verifier: Verifier,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("rules.toml");
        std::fs::write(&rules, RULES).unwrap();
        let lab =
            TestLab::with_settings(&[("STELE_AUTHZ_RULES", rules.to_str().unwrap()), ("STELE_PUBLIC_URL", ISSUER)])
                .await;
        lab.user("mark").add().await;
        lab.user("root").admin().add().await;
        let service = lab.start_service(svc_oauth::SERVICE).await;
        let application = Application::start();
        let (app_port, stele_port) = (application.port, service.address().port());
        let proxies = ProxyProgram::ALL
            .map(|program| ReverseProxy::start(program, |port| configuration(program, port, app_port, stele_port)));
        let keys = KeySet::register(&[SigningAlgorithm::EdDsa], &lab.context().keys).unwrap();
        let login = log_in(&lab, "mark").await;
        let verifier = Verifier::new(keys);
        Self { lab, application, proxies: proxies.into(), service: Some(service), login, verifier, _folder: folder }
    }

    /// A portal session of the administrator `root`.
    pub(crate) async fn log_in_administrator(&self) -> AuthenticatedSession {
        log_in(&self.lab, "root").await
    }

    /// `Authorization` of the ordinary user.
    pub(crate) fn authorization(&self) -> (&'static str, &str) {
        ("Authorization", self.login.token.expose())
    }

    /// The identity headers that the application must get for the ordinary user, but the assertion.
    pub(crate) fn identity(&self) -> [String; 5] {
        [&self.login.user.id.to_string(), "mark", "user", "portal", "pwd"].map(str::to_owned)
    }

    /// The claims of an assertion, as an application verifies it.
    pub(crate) fn verify(&self, assertion: &str) -> Value {
        let audience = ExpectedAudience::Contains("a.example");
        let expected = Expected { typ: "stele-assertion+jwt", issuer: ISSUER, audience };
        self.verifier.verify(assertion, &expected, self.lab.clock().now()).expect("a valid assertion")
    }
}

async fn log_in(lab: &TestLab, name: &str) -> AuthenticatedSession {
    let caller = RequestInfo::from_client("portal", [192, 0, 2, 1].into());
    let request = LoginRequest {
        identifier: name,
        proof: Proof::Raw(RawPassword::new("123456".to_owned())),
        caller: &caller,
        allowed_users: AllowedUsers::Everyone,
        challenge: Challenge::Never,
        transport: SessionTransport::Token,
    };
    lab.use_cases().login(request).await.unwrap()
}
