//! A whole call of any dialect, from the request's line to the answer: what a service reads of a path, a query, headers
//! and a body, and the dialect makes of the fields. Both stores are away, but for one MeFP app: so whatever is sent,
//! nobody gets in, and the answer is a refusal in the dialect.
//!
//! The input is a request as in the golden transcripts: a line, headers, an empty line, a body. What is sent to MeFP's
//! service comes as it is, and once more as the content of an envelope.
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
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, ProofResult, QuotaExceeded,
    QuotaUse, RateLimitDecision, StateStore, UsedProof, UserStore,
};
use stele_core::random::OsRandom;
use stele_core::session::{NewSession, Session, Ticket, TicketKind, TokenKey};
use stele_core::time::Timestamp;
use stele_core::user::{Account, Credential, NewUser, User, UserId, UserRef, UserStatus};
use stele_core::{Error, Result, app};
use stele_dialect::RequestRejection;
use stele_dialect::extractors::RejectionRenderer;
use stele_service::Settings;
use svc_mefp::envelope::{Envelope, EnvelopeKey, Padding};
use zeroize::Zeroizing;

const SERVICES: [Service; 5] =
    [svc_cloudbox::SERVICE, svc_tms::SERVICE, svc_portal::SERVICE, svc_mefp::SERVICE, svc_jwt::SERVICE];
const MEFP_SECRET: &str = "0123456789abcdefghijklmnopqrstuv";
const APP_SECRET: &[u8; 16] = b"melinkmelinkmeli";
/// What a refusal's status may be. 503: the stores are away.
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
    find_by_ref(UserRef) -> Option<Account>;
    add(&NewUser) -> Option<User>;
    change_credential(UserId, i64, i64, &Credential) -> bool;
    upgrade_credential(UserId, i64, &str, &Credential) -> bool;
    set_status(UserId, UserStatus, i64) -> bool;
    list(i64, u32) -> Vec<User>;
    add_app(&app::App) -> bool;
    find_client_token(&[u8; 32]) -> Option<app::ClientToken>;
    add_client_token(&app::ClientToken) -> bool;
    mark_proof_used(&UsedProof) -> bool;
    unmark_proof_used(&UsedProof) -> ();
    delete_expired_proofs(Timestamp, u32) -> u64;
    ping() -> ();
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
    open_session(&NewSession) -> ();
    touch_session(&TokenKey, &Session) -> ();
    set_session_epoch(&TokenKey, i64) -> ();
    end_session(&TokenKey, UserId) -> bool;
    store_ticket(&TokenKey, &Ticket) -> ();
    redeem_ticket(&TokenKey, TicketKind, &str, Timestamp) -> Option<Ticket>;
    store_captcha(u64, Timestamp) -> ();
    count_captcha_view(u64, u32, Timestamp) -> bool;
    consume_captcha(u64, Timestamp) -> bool;
    delete_expired(Timestamp) -> ();
    ping() -> ();
}

/// The services' context, with its keys in `folder`.
async fn service_context(folder: &Path) -> Context {
    let settings = Settings::default().with_values([
        ("STELE_DATA", folder.to_str().expect("a path of letters").to_owned()),
        ("STELE_HASH_COST", "64,1,1,weak".to_owned()),
        ("STELE_MEFP_SECRET", MEFP_SECRET.to_owned()),
        // Behind a token, nobody could come to where the fields are read.
        ("STELE_TMS_REQUIRE_TOKEN", "false".to_owned()),
    ]);
    stele_app::provision(&settings, &SERVICES, &OsRandom).await.expect("a folder with keys");
    let surroundings = Environment::default();
    let plan = context::delivery_config(&settings, &surroundings).expect("good settings");
    let delivery = plan.open(&surroundings.metrics).expect("good settings");
    let mut assembly = ContextBuilder::open(settings, surroundings, delivery).await.expect("good settings");
    let secret = assembly.dependencies.seal(&app::App::seal_context("melink"), APP_SECRET);
    let app =
        app::App { name: "melink".to_owned(), secret, may_token: Vec::new(), created_at: assembly.dependencies.now() };
    let away = Arc::new(UnavailableStore { app });
    assembly.dependencies.users = away.clone();
    assembly.dependencies.state = away;
    assembly.build()
}

/// Answers a request: status, content type, body.
type RequestHandler = Box<dyn Fn(Request) -> (StatusCode, String, Vec<u8>)>;

/// A service as the chassis sets it up, without what is around every request there.
fn request_handler(system: &Rc<SystemRunner>, context: &Context, service: Service) -> RequestHandler {
    let routes = (service.routes)(context).expect("good settings");
    let refuse = service.render_refusal;
    let app = App::new()
        .app_data(Data::new(context.use_cases.clone()))
        .app_data(context.trusted_proxies.clone())
        .app_data(RejectionRenderer(refuse))
        .configure(|config| routes(config))
        .default_service(web::to(move || std::future::ready(refuse(&RequestRejection::NotFound))));
    let app = system.block_on(test::init_service(app));
    let system = system.clone();
    Box::new(move |request| {
        system.block_on(async {
            let answer = match app.call(request).await {
                Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
                Err(error) => error.error_response(),
            };
            let status = answer.status();
            let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let kind = kind.to_owned();
            let body = to_bytes(answer.into_body()).await.expect("a body that is there");
            (status, kind, body.to_vec())
        })
    })
}

thread_local! {
    static HANDLERS: HashMap<&'static str, RequestHandler> = {
        let system = Rc::new(System::new());
        // Gone at the end of this, for all in it was read by then.
        let folder = tempfile::tempdir().expect("a folder");
        let context = system.block_on(service_context(folder.path()));
        SERVICES.into_iter().map(|service| (service.name, request_handler(&system, &context, service))).collect()
    };
}

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config::from_settings(&Settings::default()).expect("built in"));
static ENVELOPE: LazyLock<Envelope> =
    LazyLock::new(|| Envelope::new(EnvelopeKey::new(MEFP_SECRET).expect("32 bytes"), Zeroizing::new(*APP_SECRET)));

/// The request that `data` is, as its parts.
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
        let mut line = lines.next()?.split(' ');
        let method: Method = line.next()?.parse().ok()?;
        let target = line.next()?;
        // What a server takes for a request's target at all.
        let uri: Uri = target.parse().ok().filter(|_| target.starts_with('/'))?;
        let (service, _) = CONFIG.service_for(uri.path())?;
        let service = SERVICES.iter().find(|known| known.name == service)?.name;
        let header = |line: &str| -> Option<(HeaderName, HeaderValue)> {
            let (name, value) = line.split_once(':')?;
            Some((name.parse().ok()?, value.trim().parse().ok()?))
        };
        let headers = lines.filter_map(header).collect();
        Some(Self { service, method, target, headers, body: data.get(end + 2..).unwrap_or_default() })
    }

    /// Sends it with this body, and sees that it is refused in the dialect, as any is without stores.
    fn assert_rejected(&self, headers: &[(HeaderName, HeaderValue)], body: &[u8]) {
        let mut request = TestRequest::with_uri(self.target).method(self.method.clone());
        for header in headers {
            request = request.append_header(header.clone());
        }
        let request = request.set_payload(body.to_vec()).to_request();
        let (status, kind, body) = HANDLERS.with(|served| served[self.service](request));
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(kind, "application/json; charset=utf-8", "{status} {answer}");
        assert!(status == StatusCode::OK || ALLOWED_STATUSES.contains(&status.as_u16()), "{status} {answer}");
        assert!(self.is_dialect_error(&answer), "{status} {answer}");
    }

    fn is_dialect_error(&self, answer: &Value) -> bool {
        match self.service {
            "cloudbox" | "tms" => answer["code"].is_string() && answer["code"] != "0000",
            // Without a cookie that could be a session's, there is nothing to end, and that is done.
            "portal" if self.target.starts_with("/i/logout") && answer["status"]["status_code"] == "200" => true,
            "portal" => answer["status"]["status_code"].is_string() && answer["status"]["status_code"] != "200",
            "mefp" => match answer["encrypt"].as_str() {
                Some(sealed) => {
                    let opened = ENVELOPE.open(sealed).expect("sealed for the app that asked");
                    let opened = opened.fields.expect("one of each");
                    opened.len() == 2 && opened.optional("result") == Ok(Some("0"))
                }
                None => answer["result"] == 0 && answer["errors"]["code"].as_u64().is_some_and(|code| code >= 40_000),
            },
            _ => answer["code"] == -1 && answer["message"].is_string(),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(asked) = FuzzRequest::parse(data) else { return };
    asked.assert_rejected(&asked.headers, asked.body);
    if asked.service == "mefp" {
        let body = serde_json::json!({ "encrypt": ENVELOPE.seal(asked.body, Padding::Pkcs7), "app_from": "melink" });
        asked.assert_rejected(
            &[(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body.to_string().as_bytes(),
        );
    }
});
