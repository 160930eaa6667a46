//! The service under test, with clients, resource servers and sessions of every dialect.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use reqwest::RequestBuilder;
use serde_json::Value;
use stele_core::event::{Action, Event, Outcome, Subject};
use stele_core::identifier::Phone;
use stele_core::oauth::{
    ClientId, ClientSecret, Grant, LegacyTokenType, OAuthClient, Resource, ResourceName, ResourceUri, Scope, Secrets,
    SigningAlgorithm, SubjectTokenType,
};
use stele_core::password::RawPassword;
use stele_core::ports::{ClientAddition, EventSink, ResourceAddition};
use stele_core::proof::Proof;
use stele_core::session::{DialectName, Token};
use stele_core::usecase::RequestInfo;
use stele_core::usecase::login::{AllowedUsers, AuthenticatedSession, Challenge, LoginRequest, SessionTransport};
use stele_core::user::User;
use stele_jose::{KeySet, LoginTokens};
use stele_testkit::{TestApp, TestLab, TestResponse, impl_deref_to_test_app};
use svc_oauth::SERVICE;

pub(crate) const TOKEN: &str = "/oauth2/token";
pub(crate) const INTROSPECT: &str = "/oauth2/introspect";
pub(crate) const REVOKE: &str = "/oauth2/revoke";

pub(crate) const ISSUER: &str = "https://auth.example.com";
pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The audience of the resource server `orders`; `billing` has none of its own.
pub(crate) const ORDERS_URI: &str = "https://orders.example.com/";
pub(crate) const BILLING_URN: &str = "urn:stele:resource:billing";
pub(crate) const PHONE: &str = "13800138000";
pub(crate) const PASSWORD: &str = "123456";
/// The name of the app to which handover tokens are issued, and of the client that redeems them.
pub(crate) const APP: &str = "web";

pub(crate) const INACTIVE: &str = r#"{"active":false}"#;
pub(crate) const BAD_SUBJECT: &str =
    r#"{"error":"invalid_request","error_description":"The subject token is not valid."}"#;
pub(crate) const INVALID_CLIENT: &str =
    r#"{"error":"invalid_client","error_description":"Client authentication failed."}"#;
pub(crate) const INVALID_TARGET: &str =
    r#"{"error":"invalid_target","error_description":"The target is not one resource server of the client."}"#;
pub(crate) const INVALID_SCOPE: &str =
    r#"{"error":"invalid_scope","error_description":"The scope is malformed or wider than permitted."}"#;

/// Starts the service on a new user base with these settings.
pub(crate) async fn start(settings: &[(&str, &str)]) -> TestApp {
    TestApp::start(TestLab::with_settings(settings).await, SERVICE).await
}

/// Parameters of a form.
pub(crate) type Parameters<'a> = [(&'a str, &'a str)];

pub(crate) struct TestService {
    app: TestApp,
    /// The user `mark`.
    pub(crate) user: User,
    /// The client `web`: both grants, every subject type, both resource servers, the scope `read write`.
    pub(crate) web: Registered,
    /// The resource servers, which may introspect every legacy token.
    pub(crate) orders: Registered,
    pub(crate) billing: Registered,
}

impl_deref_to_test_app!(TestService);

/// The name and secret of a client or resource server.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl TestService {
    pub(crate) async fn new() -> Self {
        Self::with_settings(&[]).await
    }

    pub(crate) async fn with_settings(settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = [("STELE_PUBLIC_URL", ISSUER)].iter().chain(settings).copied().collect();
        Self::start(TestLab::with_settings(&settings).await).await
    }

    pub(crate) async fn start(lab: TestLab) -> Self {
        let user = lab.user("mark").phone(PHONE).password(PASSWORD).add().await;
        lab.add_app("melink", "melink-secret-16", &[APP]).await;
        lab.add_app(APP, "web-secret-of-16", &["melink"]).await;
        let every_type: Vec<_> = LegacyTokenType::all().filter(|kind| kind.can_be_introspected()).collect();
        let orders = add_resource(&lab, "orders", Some(ORDERS_URI), &every_type).await;
        let billing = add_resource(&lab, "billing", None, &every_type).await;
        let web = add_client(&lab, APP, |client| client).await;
        Self { app: TestApp::start(lab, SERVICE).await, user, web, orders, billing }
    }

    /// Restarts the service so that its audit events are recorded.
    pub(crate) async fn record_events(&mut self) -> Arc<RecordedEvents> {
        let log = Arc::<RecordedEvents>::default();
        let events = log.clone();
        self.app.service = self.app.lab.start_service_with(SERVICE, |dependencies| dependencies.events = events).await;
        log
    }

    /// A resource server that may introspect these legacy tokens.
    pub(crate) async fn add_resource(&self, name: &str, uri: Option<&str>, kinds: &[LegacyTokenType]) -> Registered {
        add_resource(&self.lab, name, uri, kinds).await
    }

    /// A client like `web`, but for `change`.
    pub(crate) async fn add_client(&self, id: &str, change: impl FnOnce(OAuthClient) -> OAuthClient) -> Registered {
        add_client(&self.lab, id, change).await
    }

    /// Posts a form, authenticated by `client_secret_basic`.
    pub(crate) async fn post(&self, path: &str, caller: &Registered, parameters: &Parameters<'_>) -> TestResponse {
        self.post_form(path, parameters, |request| request.basic_auth(&caller.id, Some(&caller.secret))).await
    }

    /// Posts a form after `change` of the request.
    pub(crate) async fn post_form(
        &self,
        path: &str,
        parameters: &Parameters<'_>,
        change: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> TestResponse {
        let response = self.send(change(self.request("POST", path).form(parameters))).await;
        // RFC 6749 §5.1 and §5.2. `send` asserts `Cache-Control: no-store`.
        assert_eq!(response.header("pragma"), "no-cache", "{response:?}");
        response
    }

    /// Asks for a token by `client_credentials`.
    pub(crate) async fn client_token(&self, client: &Registered, parameters: &Parameters<'_>) -> TestResponse {
        let all: Vec<_> = [("grant_type", "client_credentials")].iter().chain(parameters).copied().collect();
        self.post(TOKEN, client, &all).await
    }

    /// Exchanges a token.
    pub(crate) async fn exchange(
        &self,
        client: &Registered,
        token_type: &str,
        token: &str,
        parameters: &Parameters<'_>,
    ) -> TestResponse {
        let subject = [("grant_type", EXCHANGE), ("subject_token_type", token_type), ("subject_token", token)];
        let all: Vec<_> = subject.iter().chain(parameters).copied().collect();
        self.post(TOKEN, client, &all).await
    }

    /// Exchanges a token of a legacy type for one for `orders`.
    pub(crate) async fn exchange_legacy(&self, kind: LegacyTokenType, token: &str) -> TestResponse {
        self.exchange(&self.web, kind.urn(), token, &[("audience", "orders")]).await
    }

    /// An access token for `orders`, exchanged from a new TMS session.
    pub(crate) async fn user_token(&self) -> String {
        let session = self.log_in("tms").await;
        access_token(&self.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await)
    }

    /// Introspects a token, as an access token or as one of the type `hint`.
    pub(crate) async fn introspect(&self, caller: &Registered, hint: Option<&str>, token: &str) -> TestResponse {
        let mut parameters = vec![("token", token)];
        parameters.extend(hint.map(|hint| ("token_type_hint", hint)));
        self.post(INTROSPECT, caller, &parameters).await
    }

    /// Whether `orders` is answered that a token is valid.
    pub(crate) async fn is_active(&self, hint: Option<LegacyTokenType>, token: &str) -> bool {
        let response = self.introspect(&self.orders, hint.map(LegacyTokenType::urn), token).await;
        assert_eq!(response.status, 200, "{response:?}");
        match response.json()["active"].as_bool() {
            Some(true) => true,
            _ => {
                response.assert_is(200, INACTIVE);
                false
            }
        }
    }

    /// Opens a session of `mark` in a dialect. Returns its token.
    pub(crate) async fn log_in(&self, dialect: DialectName) -> Token {
        let caller = RequestInfo::from_client(dialect, [192, 0, 2, 1].into());
        self.open_session(&caller, SessionTransport::Token).await.token
    }

    /// Opens the session of `mark` at the MeFP app `melink`.
    pub(crate) async fn log_in_through_app(&self) {
        self.open_session(&RequestInfo::from_app("mefp", "melink"), SessionTransport::AppBound).await;
    }

    async fn open_session(&self, caller: &RequestInfo, transport: SessionTransport) -> AuthenticatedSession {
        let request = LoginRequest {
            identifier: PHONE,
            proof: Proof::Raw(RawPassword::new(PASSWORD.to_owned())),
            caller,
            allowed_users: AllowedUsers::Everyone,
            challenge: Challenge::Never,
            transport,
        };
        self.lab.use_cases().login(request).await.unwrap()
    }

    /// A handover token of `mark`, from `melink` to the app `to`. Opens the session at `melink`.
    pub(crate) async fn handover_token(&self, to: &str) -> String {
        self.log_in_through_app().await;
        self.issue_handover_token(to).await
    }

    /// A handover token of `mark`, who has logged in at `melink`.
    pub(crate) async fn issue_handover_token(&self, to: &str) -> String {
        let phone = Phone::parse(PHONE).unwrap();
        let from = self.lab.dependencies().users.find_app("melink").await.unwrap().unwrap();
        let caller = RequestInfo::from_app("mefp", "melink");
        self.lab.use_cases().issue_ticket(&caller, &from, to, &phone).await.unwrap().expose().to_owned()
    }

    /// Logs `mark` in by the JWT dialect. Returns the login token.
    pub(crate) async fn login_jwt(&self) -> String {
        let caller = RequestInfo::from_client("jwt", [192, 0, 2, 1].into());
        let opened = self.open_session(&caller, SessionTransport::Token).await;
        self.login_tokens().issue(&opened.session, &opened.token).unwrap()
    }

    /// What issues the login tokens of the JWT dialect.
    pub(crate) fn login_tokens(&self) -> LoginTokens {
        let keys = KeySet::register(&[SigningAlgorithm::EdDsa], &self.lab.context().keys).unwrap();
        LoginTokens::new(&keys, SigningAlgorithm::EdDsa, "stele")
    }

    /// A new token of this type. One of a handover can be exchanged by `web` alone.
    pub(crate) async fn legacy_token(&self, kind: LegacyTokenType) -> String {
        match kind {
            LegacyTokenType::MefpHandover => self.handover_token(APP).await,
            LegacyTokenType::JwtLogin => self.login_jwt().await,
            _ => self.log_in(kind.dialect()).await.expose().to_owned(),
        }
    }
}

/// The audit events of a service.
#[derive(Default)]
pub(crate) struct RecordedEvents(Mutex<Vec<Event>>);

impl EventSink for RecordedEvents {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl RecordedEvents {
    /// Returns and clears the recorded events, each with the app that it names.
    pub(crate) fn take(&self) -> Vec<(Action, Outcome, Option<Subject>, String)> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        let app = |event: &Event| event.entry_point.as_ref().map_or_else(String::new, |entry| entry.app.clone());
        events.into_iter().map(|event| (event.action, event.outcome, event.subject.clone(), app(&event))).collect()
    }
}

async fn add_resource(lab: &TestLab, name: &str, uri: Option<&str>, kinds: &[LegacyTokenType]) -> Registered {
    let secret = ClientSecret::generate(lab.dependencies().random.as_ref());
    let now = lab.dependencies().now();
    let resource = Resource {
        name: ResourceName::parse(name).unwrap(),
        uri: uri.map(|uri| ResourceUri::parse(uri).unwrap()),
        secrets: Secrets::new(&secret, now),
        legacy_tokens: kinds.iter().copied().collect(),
        created_at: now,
    };
    assert_eq!(lab.oauth_registry().add_resource(&resource).await.unwrap(), ResourceAddition::Added);
    Registered { id: name.to_owned(), secret: secret.expose().to_owned() }
}

async fn add_client(lab: &TestLab, id: &str, change: impl FnOnce(OAuthClient) -> OAuthClient) -> Registered {
    let secret = ClientSecret::generate(lab.dependencies().random.as_ref());
    let now = lab.dependencies().now();
    let client = change(OAuthClient {
        id: ClientId::parse(id).unwrap(),
        secrets: Secrets::new(&secret, now),
        grants: Grant::all().collect(),
        resources: resource_names(&["orders", "billing"]),
        subject_types: SubjectTokenType::all().collect(),
        scopes: Scope::parse("read write").unwrap(),
        algorithm: SigningAlgorithm::EdDsa,
        redirect_uris: Vec::new(),
        created_at: now,
    });
    assert_eq!(lab.oauth_registry().add_client(&client).await.unwrap(), ClientAddition::Added);
    Registered { id: id.to_owned(), secret: secret.expose().to_owned() }
}

/// Names of resource servers.
pub(crate) fn resource_names(names: &[&str]) -> BTreeSet<ResourceName> {
    names.iter().map(|name| ResourceName::parse(name).unwrap()).collect()
}

/// The access token in a response.
#[track_caller]
pub(crate) fn access_token(response: &TestResponse) -> String {
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["access_token"].as_str().unwrap().to_owned()
}

/// The header and the claims of a token, without verification.
pub(crate) fn decode(token: &str) -> (Value, Value) {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let part = |index| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap());
    (part(0).unwrap(), part(1).unwrap())
}

/// The claims of a token, without verification.
pub(crate) fn claims(token: &str) -> Value {
    decode(token).1
}
