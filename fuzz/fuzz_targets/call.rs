//! A complete request to any dialect: path, query, headers and body are parsed, and the dialect's handler runs. Both
//! stores are down, except for one MeFP app, so that no login succeeds: the response must be a rejection in the
//! dialect.
//!
//! The input has the form of the golden transcripts: request line, headers, an empty line, body. A request to MeFP is
//! sent as it is, and again with the body inside an envelope.
#![no_main]

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use actix_http::Request;
use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::dev::Service as _;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::rt::{System, SystemRunner};
use actix_web::test::{self, TestRequest};
use actix_web::web::{self, Data};
use async_trait::async_trait;
use gateway::Config;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stele_app::context::{self, ContextBuilder};
use stele_app::{Context, Environment, Service};
use stele_core::common_passwords::ListedPasswordKey;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, ProofResult, QuotaExceeded,
    QuotaUse, RateLimitDecision, ServerClock, StateStore, UsedProof, UserStore,
};
use stele_core::random::OsRandom;
use stele_core::session::{
    DialectName, NewSession, Session, SessionAndRevocation, SessionList, Ticket, TicketKind, TokenKey,
};
use stele_core::time::Timestamp;
use stele_core::user::{Account, ClientUserId, Credential, NewUser, User, UserId, UserRef, UserStatus};
use stele_core::{Error, Result, app};
use stele_dialect::RequestRejection;
use stele_dialect::extractors::RejectionRenderer;
use stele_service::Settings;
use svc_mefp::envelope::{EnvelopeCipher, EnvelopeKey, Padding};
use zeroize::Zeroizing;

// dialects: services
#[rustfmt::skip]
const SERVICES: [Service; 6] = [
    svc_cloudbox::SERVICE,
    svc_tms::SERVICE,
    svc_portal::SERVICE,
    svc_mefp::SERVICE,
    svc_jwt::SERVICE,
    svc_oauth::SERVICE,
];
// dialects: end
/// The metadata of the OAuth service, which needs no store.
const PUBLIC_PATHS: [&str; 3] =
    ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/oauth2/jwks"];
const MEFP_SECRET: &str = "0123456789abcdefghijklmnopqrstuv";
const APP_SECRET: &[u8; 16] = b"melinkmelinkmeli";
/// The statuses of rejections. 503: the stores are down.
const ALLOWED_STATUSES: [u16; 8] = [400, 401, 404, 405, 408, 413, 429, 503];

/// Stores that are down, except for the lookup of one MeFP app.
struct UnavailableStore {
    app: app::App,
}

/// Implements a port: the methods in braces as written, all others return [`Error::Unavailable`].
macro_rules! unavailable_port {
    ($port:ident { $($implemented:tt)* } $($name:ident($($argument:ty),*) -> $value:ty;)*) => {
        #[async_trait]
        impl $port for UnavailableStore {
            $($implemented)*
            $(async fn $name(&self, $(_: $argument),*) -> Result<$value> {
                Err(Error::unavailable("store down"))
            })*
        }
    };
}

unavailable_port! {
    UserStore {
        async fn find_app(&self, name: &str) -> Result<Option<app::App>> {
            Ok(Some(self.app.clone()).filter(|app| app.name == name))
        }
    }
    find_by_identifier(&str) -> Option<Account>;
    find_for_login(DialectName, &str) -> Option<Account>;
    find_for_client(DialectName, &ClientUserId) -> Option<Account>;
    find_by_ref(UserRef) -> Option<Account>;
    add(&NewUser) -> Option<User>;
    change_credential(UserId, i64, i64, &Credential) -> bool;
    upgrade_credential(UserId, i64, &str, &Credential) -> bool;
    set_status(UserId, UserStatus, i64) -> bool;
    list(i64, u32) -> Vec<User>;
    is_password_listed(ListedPasswordKey) -> bool;
    add_app(&app::App) -> bool;
    find_client_token(&[u8; 32]) -> Option<app::ClientToken>;
    add_client_token(&app::ClientToken) -> bool;
    mark_proof_used(&UsedProof) -> bool;
    unmark_proof_used(&UsedProof) -> ();
    delete_expired_proofs(Timestamp, u32) -> u64;
    ping() -> ();
    server_clocks() -> Vec<ServerClock>;
}

unavailable_port! {
    StateStore {
        fn misconfiguration(&self) -> Option<String> {
            None
        }
    }
    created_at() -> Timestamp;
    check_rate_limit(&LoginAttempt) -> RateLimitDecision;
    record_login_attempt(&LoginAttempt, &ProofResult) -> AttemptOutcome;
    verify_code(&LoginAttempt, &CodeVerification) -> CodeVerificationResult;
    consume_quotas(&[QuotaUse], Option<&NewCode>, Timestamp) -> Option<QuotaExceeded>;
    find_session(&TokenKey, Timestamp) -> Option<Session>;
    find_session_and_revocation(Option<&TokenKey>, &TokenKey, Timestamp) -> SessionAndRevocation;
    list_sessions(UserId, Timestamp) -> SessionList;
    open_session(&NewSession) -> ();
    touch_session(&TokenKey, &Session) -> ();
    set_session_epoch(&TokenKey, i64) -> ();
    end_session(&TokenKey, UserId) -> bool;
    end_sessions(UserId, Timestamp) -> u64;
    revoke_token(&TokenKey, Timestamp) -> ();
    store_ticket(&TokenKey, &Ticket) -> ();
    redeem_ticket(&TokenKey, TicketKind, &str, Timestamp) -> Option<Ticket>;
    store_captcha(u64, Timestamp) -> ();
    count_captcha_view(u64, u32, Timestamp) -> bool;
    consume_captcha(u64, Timestamp) -> bool;
    delete_expired(Timestamp) -> ();
    ping() -> ();
    server_clocks() -> Vec<ServerClock>;
}

/// The context of the services, with the stores replaced and its keys in `folder`.
async fn service_context(folder: &Path) -> Context {
    let settings = Settings::default().with_values([
        ("STELE_DATA", folder.to_str().expect("a UTF-8 path").to_owned()),
        ("STELE_HASH_COST", "64,1,1,weak".to_owned()),
        ("STELE_MEFP_SECRET", MEFP_SECRET.to_owned()),
        ("STELE_PUBLIC_URL", "https://auth.example.com".to_owned()),
        // A required token would reject every request before its fields are read.
        ("STELE_TMS_REQUIRE_TOKEN", "false".to_owned()),
    ]);
    stele_app::provision(&settings, &SERVICES, &OsRandom).await.expect("a folder with keys");
    let environment = Environment::default();
    let config = context::delivery_config(&settings, &environment).expect("valid settings");
    let delivery = config.open(&environment.metrics).expect("valid settings");
    let mut builder = ContextBuilder::open(settings, environment, delivery).await.expect("valid settings");
    let secret = builder.dependencies.seal(&app::App::seal_context("melink"), APP_SECRET);
    let app =
        app::App { name: "melink".to_owned(), secret, may_token: Vec::new(), created_at: builder.dependencies.now() };
    let store = Arc::new(UnavailableStore { app });
    builder.dependencies.users = store.clone();
    builder.dependencies.state = store;
    builder.build()
}

/// Handles a request; returns status, content type and body.
type RequestHandler = Box<dyn Fn(Request) -> (StatusCode, String, Vec<u8>)>;

/// Builds a service as `stele_dialect::server` does, without the middleware.
fn request_handler(system: &Rc<SystemRunner>, context: &Context, service: Service) -> RequestHandler {
    let routes = (service.routes)(context).expect("valid settings");
    let render_rejection = service.render_rejection;
    let app = App::new()
        .app_data(Data::new(context.use_cases.clone()))
        .app_data(context.trusted_proxies.clone())
        .app_data(RejectionRenderer(render_rejection))
        .configure(|config| routes(config))
        .default_service(web::to(move || std::future::ready(render_rejection(&RequestRejection::NotFound))));
    let app = system.block_on(test::init_service(app));
    let system = system.clone();
    Box::new(move |request| {
        system.block_on(async {
            let response = match app.call(request).await {
                Ok(response) => response.into_parts().1.map_into_boxed_body(),
                Err(error) => error.error_response(),
            };
            let status = response.status();
            let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let content_type = content_type.unwrap_or_default().to_owned();
            let body = to_bytes(response.into_body()).await.expect("a complete body");
            (status, content_type, body.to_vec())
        })
    })
}

thread_local! {
    static HANDLERS: HashMap<&'static str, RequestHandler> = {
        let system = Rc::new(System::new());
        // Deleted at the end of this block, after everything in it was read.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let context = system.block_on(service_context(folder.path()));
        SERVICES.into_iter().map(|service| (service.name, request_handler(&system, &context, service))).collect()
    };
}

static CONFIG: LazyLock<Config> =
    LazyLock::new(|| Config::from_settings(&Settings::default()).expect("default settings"));
static CIPHER: LazyLock<EnvelopeCipher> = LazyLock::new(|| {
    EnvelopeCipher::new(EnvelopeKey::new(MEFP_SECRET).expect("32 bytes"), Zeroizing::new(*APP_SECRET))
});

/// A request, parsed from the fuzz input.
struct FuzzRequest<'a> {
    service: &'static str,
    method: Method,
    target: &'a str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: &'a [u8],
}

impl<'a> FuzzRequest<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
        let mut lines = std::str::from_utf8(&data[..end]).ok()?.lines();
        let mut request_line = lines.next()?.split(' ');
        let method: Method = request_line.next()?.parse().ok()?;
        let target = request_line.next()?;
        // Only targets that an HTTP server accepts.
        let uri: Uri = target.parse().ok().filter(|_| target.starts_with('/'))?;
        let (service, _) = CONFIG.service_for(uri.path())?;
        let service = SERVICES.iter().find(|candidate| candidate.name == service)?.name;
        let header = |line: &str| -> Option<(HeaderName, HeaderValue)> {
            let (name, value) = line.split_once(':')?;
            Some((name.parse().ok()?, value.trim().parse().ok()?))
        };
        let headers = lines.filter_map(header).collect();
        Some(Self { service, method, target, headers, body: data.get(end + 2..).unwrap_or_default() })
    }

    /// Sends the request with these headers and this body; fails unless the response is a rejection in the dialect.
    fn assert_rejected(&self, headers: &[(HeaderName, HeaderValue)], body: &[u8]) {
        let mut request = TestRequest::with_uri(self.target).method(self.method.clone());
        for header in headers {
            request = request.append_header(header.clone());
        }
        let request = request.set_payload(body.to_vec()).to_request();
        let (status, content_type, body) = HANDLERS.with(|handlers| handlers[self.service](request));
        let response: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(content_type, "application/json; charset=utf-8", "{status} {response}");
        assert!(status == StatusCode::OK || ALLOWED_STATUSES.contains(&status.as_u16()), "{status} {response}");
        assert!(self.is_dialect_error(&response), "{status} {response}");
    }

    fn is_dialect_error(&self, response: &Value) -> bool {
        match self.service {
            "cloudbox" | "tms" => response["code"].is_string() && response["code"] != "0000",
            // A logout without a session succeeds.
            "portal" if self.target.starts_with("/i/logout") && response["status"]["status_code"] == "200" => true,
            "portal" => response["status"]["status_code"].is_string() && response["status"]["status_code"] != "200",
            "mefp" => match response["encrypt"].as_str() {
                Some(encrypted) => {
                    let decrypted = CIPHER.decrypt(encrypted).expect("an envelope for the calling app");
                    let fields = decrypted.fields.expect("valid fields");
                    fields.len() == 2 && fields.optional("result") == Ok(Some("0"))
                }
                None => {
                    response["result"] == 0 && response["errors"]["code"].as_u64().is_some_and(|code| code >= 40_000)
                }
            },
            "oauth" => {
                let path = self.target.split('?').next().unwrap_or_default();
                let is_public = response["issuer"] == "https://auth.example.com" || response["keys"].is_array();
                (is_public && PUBLIC_PATHS.contains(&path)) || response["error"].is_string()
            }
            _ => response["code"] == -1 && response["message"].is_string(),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(request) = FuzzRequest::parse(data) else { return };
    request.assert_rejected(&request.headers, request.body);
    if request.service == "mefp" {
        let body = serde_json::json!({ "encrypt": CIPHER.encrypt(request.body, Padding::Pkcs7), "app_from": "melink" });
        request.assert_rejected(
            &[(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body.to_string().as_bytes(),
        );
    }
});
