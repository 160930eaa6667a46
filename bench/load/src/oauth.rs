//! The OAuth service: introspection and exchange of session tokens, and forward authentication behind nginx. Beside them
//! nginx with an empty handler in place of the service, and the introspection of oidc-provider.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stele_bench_kit::{BenchError, BlockingConnection, Request, Result};

use crate::engine::{ExpectedResponse, Requests};
use crate::external_tools;
use crate::installation::{PopulationSizes, TestStores};
use crate::server_process::{ServerProcess, accepts_connections, free_address, returns_200};
use crate::servers::{self, RunningServer};
use crate::test_bed::{DEFAULT_CONNECTIONS, workload};
use crate::user_population::SaltedLogins;
use crate::workloads::{BENCH_PATH, LoadKind, Workload};

/// The workload of oidc-provider's introspection, which runs only if it is named.
pub(crate) const OIDC_PROVIDER_KEY: &str = "introspect-oidc-provider";

/// The number of sessions that the requests of a workload present in turn.
const SESSIONS: u64 = 5_000;
/// The number of access tokens in oidc-provider. Its store in memory keeps a thousand.
const OIDC_PROVIDER_TOKENS: usize = 500;
const RESOURCE: &str = "bench";
const AUDIENCE: &str = "https://bench.example/";
const SUBJECT_TOKEN_TYPE: &str = "urn:stele:token-type:cloudbox-session";
const EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// Clients whose access tokens are signed with this algorithm, and their workloads.
const CLIENTS: [(&str, &str, &str); 3] = [
    ("exchange", "bench-eddsa", "EdDSA"),
    ("exchange-rs256", "bench-rs256", "RS256"),
    ("exchange-es256", "bench-es256", "ES256"),
];
/// What oidc-provider is installed from, and the program that configures it: those of `scripts/check-oauth`.
const OIDC_PROVIDER_FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../../../scripts/oauth/package.json")),
    ("package-lock.json", include_str!("../../../scripts/oauth/package-lock.json")),
    ("control.mjs", include_str!("../../../scripts/oauth/control.mjs")),
];

/// A request that presents a session token.
pub(crate) type SessionRequest = Box<dyn Fn(&str) -> Request>;

/// The running programs.
pub(crate) struct OAuthServers {
    service: RunningServer,
    nginx: ServerProcess,
    /// nginx with the service, and with the empty handler, for `auth_request`.
    protected: [SocketAddr; 2],
    cloudbox: SocketAddr,
    /// Values of `Authorization`: of the resource, and of the clients.
    resource: String,
    clients: Vec<String>,
    oidc_provider: Option<OidcProvider>,
}

impl OAuthServers {
    /// Registers a resource and clients, and starts the service and nginx. `cloudbox` creates the sessions, and
    /// `upstream` is the empty handler. `with_oidc_provider`: also starts oidc-provider.
    ///
    /// # Errors
    /// If a program does not start, or a command of `stele` fails.
    pub(crate) fn start(
        stores: &TestStores,
        sizes: PopulationSizes,
        [cloudbox, upstream]: [SocketAddr; 2],
        oidc_provider: Option<OidcProvider>,
    ) -> Result<Self> {
        let (resource, clients) = register(stores, sizes.main_users)?;
        let service = stores.service(stores.current_build(), "oauth", "svc-oauth", sizes.main_users);
        let service = stores.start(&service)?;
        let (nginx, protected) = start_nginx(stores.run_folder_path(), service.address, upstream)?;
        Ok(Self { service, nginx, protected, cloudbox, resource, clients, oidc_provider })
    }

    /// Names and ids of the processes.
    pub(crate) fn named_processes(&self) -> Vec<(&'static str, u32)> {
        let control = self.oidc_provider.iter().map(|provider| &provider.process);
        [&self.service.process, &self.nginx]
            .into_iter()
            .chain(control)
            .map(|process| (process.name, process.process_id))
            .collect()
    }

    /// The workloads, in the order of measurement.
    ///
    /// # Errors
    /// If oidc-provider issues no tokens.
    pub(crate) fn workloads(&self) -> Result<Vec<Workload>> {
        let service = self.service.address;
        let sessions = |address, request: SessionRequest, marker: &[u8]| LoadKind::Sessions {
            address,
            connections: DEFAULT_CONNECTIONS,
            logins: self.cloudbox,
            count: SESSIONS,
            request,
            expected: Box::new(ExpectedResponse::new(200, marker)),
        };
        let resource = self.resource.clone();
        let introspect = move |token: &str| introspection(&resource, token, Some(SUBJECT_TOKEN_TYPE));
        let mut workloads = vec![workload(
            "introspect",
            "introspection of a cloudbox session",
            sessions(service, Box::new(introspect), br#""active":true"#),
        )];
        if let Some(provider) = &self.oidc_provider {
            workloads.push(provider.workload()?);
        }
        for ((key, _, algorithm), authorization) in CLIENTS.into_iter().zip(&self.clients) {
            let authorization = authorization.clone();
            let request = move |token: &str| exchange(&authorization, token);
            let title = format!("exchange of a cloudbox session, {algorithm}");
            workloads.push(workload(key, &title, sessions(service, Box::new(request), br#""access_token""#)));
        }
        for (key, title, address) in [
            ("nginx-auth", "GET through nginx with forward authentication", self.protected[0]),
            ("nginx-auth-empty", "the same nginx with an empty auth upstream", self.protected[1]),
        ] {
            let request = |token: &str| Request::get(BENCH_PATH).with_header("authorization", token);
            workloads.push(workload(key, title, sessions(address, Box::new(request), b"")));
        }
        Ok(workloads)
    }
}

/// Registers the resource and the clients again, since their secrets are printed only once. Returns the values of
/// `Authorization`.
fn register(stores: &TestStores, users: u64) -> Result<(String, Vec<String>)> {
    let stele = |arguments: &[&str]| stores.run_stele_on_servers(arguments, users);
    for (_, client, _) in CLIENTS {
        // They exist after an earlier run on the same databases.
        let _ = stele(&["client", "remove", client]);
    }
    let _ = stele(&["resource", "remove", RESOURCE]);
    let basic = |name: &str, printed: &str| {
        let secret = printed.split_whitespace().last().unwrap_or_default();
        format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
    };
    let legacy = ["--legacy-tokens", "cloudbox-session"];
    let resource = stele(&[&["resource", "add", RESOURCE, "--uri", AUDIENCE], &legacy[..]].concat())?;
    let mut clients = Vec::new();
    for (_, client, algorithm) in CLIENTS {
        let grants = ["--grants", "token-exchange", "--resources", RESOURCE, "--subject-types", "cloudbox-session"];
        let printed = stele(&[&["client", "add", client, "--alg", algorithm], &grants[..]].concat())?;
        clients.push(basic(client, &printed));
    }
    Ok((basic(RESOURCE, &resource), clients))
}

/// Introspection of a token (RFC 7662 section 2.1).
fn introspection(authorization: &str, token: &str, hint: Option<&str>) -> Request {
    let hint = hint.map(|hint| format!("&token_type_hint={hint}")).unwrap_or_default();
    form(INTROSPECT_PATH, authorization, format!("token={token}{hint}"))
}

const INTROSPECT_PATH: &str = "/oauth2/introspect";

/// Exchange of a session token (RFC 8693 section 2.1).
fn exchange(authorization: &str, token: &str) -> Request {
    let body = format!(
        "grant_type={EXCHANGE_GRANT}&subject_token={token}&subject_token_type={SUBJECT_TOKEN_TYPE}&audience={RESOURCE}"
    );
    form("/oauth2/token", authorization, body)
}

fn form(path: &str, authorization: &str, body: String) -> Request {
    Request::post(path, "application/x-www-form-urlencoded", body).with_header("authorization", authorization)
}

/// Logs in `count` users at the cloudbox service; returns the session tokens.
///
/// # Errors
/// If a login fails.
pub(crate) fn log_in(cloudbox: SocketAddr, logins: &mut SaltedLogins, count: u64) -> Result<Vec<String>> {
    let mut requests = logins.next_requests(count)?;
    let mut connection = BlockingConnection::connect(cloudbox, Duration::from_secs(10))?;
    let mut tokens = Vec::new();
    while let Some(request) = requests.take() {
        let response = connection.request(&request)?.to_response();
        let json: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let token = json["data"]["user_token"].as_str();
        let token = token.ok_or_else(|| BenchError::new(format!("a login returned {}", response.text())))?;
        tokens.push(token.to_owned());
    }
    Ok(tokens)
}

/// Starts nginx with one worker and two addresses: both ask an auth upstream about each request (`auth_request`), over
/// connections that are kept open, and pass it to the empty handler with the identity headers of
/// `deploy/forward-auth/nginx.conf`.
fn start_nginx(folder: &Path, service: SocketAddr, upstream: SocketAddr) -> Result<(ServerProcess, [SocketAddr; 2])> {
    let folder = folder.join("auth");
    std::fs::create_dir_all(&folder)?;
    let addresses = [free_address()?, free_address()?];
    let keepalive = "keepalive 256; keepalive_requests 1000000000;";
    let mut config = format!("upstream app {{ server {upstream}; {keepalive} }}\n");
    let kept = "proxy_http_version 1.1; proxy_set_header Connection \"\";";
    let (mut read, mut set) = (String::new(), String::new());
    for name in ["user", "username", "role", "dialect", "acr", "assertion"] {
        read += &format!("auth_request_set $stele_{name} $upstream_http_x_stele_{name};\n");
        set += &format!("proxy_set_header X-Stele-{name} $stele_{name};\n");
    }
    for (number, (address, auth)) in addresses.iter().zip([service, upstream]).enumerate() {
        config += &format!(
            "upstream auth{number} {{ server {auth}; {keepalive} }}\n\
             server {{ listen {address}; keepalive_requests 1000000000;\n\
             location / {{ auth_request /auth; {read} proxy_pass http://app; {kept}\n\
             proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;\n{set} }}\n\
             location = /auth {{ internal; proxy_pass http://auth{number}/authz/auth-request; {kept}\n\
             proxy_pass_request_body off; proxy_set_header Content-Length \"\";\n\
             proxy_set_header X-Original-URL $scheme://$host$request_uri;\n\
             proxy_set_header X-Original-Method $request_method; }} }}\n"
        );
    }
    let process = servers::start_nginx_with(&folder, "nginx-auth", &config)?;
    process.wait_until(|| addresses.iter().all(|address| accepts_connections(*address)))?;
    Ok((process, addresses))
}

/// oidc-provider, a certified OAuth server on Node.js, with its store in memory.
pub(crate) struct OidcProvider {
    process: ServerProcess,
    address: SocketAddr,
}

impl OidcProvider {
    /// Starts it, and installs it in `parent` if it is missing there or has another version.
    ///
    /// # Errors
    /// If Node.js is missing, npm's registry cannot be reached, or the program does not start.
    pub(crate) fn start(parent: &Path, run_folder: &Path) -> Result<Self> {
        let folder = install_oidc_provider(parent)?;
        let address = free_address()?;
        let client = |id: &str, grants: &[&str]| json!({ "id": id, "secret": "secret", "auth": "client_secret_basic", "grants": grants });
        let config = json!({
            "port": address.port(),
            "clients": [client("client", &["client_credentials"]), client(RESOURCE, &[])],
            "resources": { RESOURCE: { "audience": AUDIENCE } },
            "exchangeGrant": EXCHANGE_GRANT,
        });
        let file = run_folder.join("oidc-provider.json");
        std::fs::write(&file, config.to_string())?;
        let mut command = Command::new(external_tools::require_tool("node")?);
        command.arg(folder.join("control.mjs")).arg(file).env("NODE_ENV", "production");
        let process = ServerProcess::start("oidc-provider", &command, "TERM", run_folder.join("oidc-provider.log"))?;
        process.wait_until(|| returns_200(address, "/.well-known/openid-configuration"))?;
        Ok(Self { process, address })
    }

    /// Introspection of its access tokens.
    fn workload(&self) -> Result<Workload> {
        let mut connection = BlockingConnection::connect(self.address, Duration::from_secs(10))?;
        let basic = |name: &str| format!("Basic {}", STANDARD.encode(format!("{name}:secret")));
        let body = "grant_type=client_credentials&resource=https%3A%2F%2Fbench.example%2F";
        let request = form("/token", &basic("client"), body.to_owned()).to_bytes();
        let mut requests = Requests::repeating();
        for _ in 0..OIDC_PROVIDER_TOKENS {
            let response = connection.request(&request)?.to_response();
            let json: Value = serde_json::from_slice(&response.body).unwrap_or_default();
            let token = json["access_token"].as_str();
            let token = token.ok_or_else(|| BenchError::new(format!("oidc-provider returned {}", response.text())))?;
            let mut request = introspection(&basic(RESOURCE), token, None);
            "/token/introspection".clone_into(&mut request.path);
            requests.add(|bytes| bytes.extend(request.to_bytes()));
        }
        let load = LoadKind::RepeatedRequests {
            address: self.address,
            connections: DEFAULT_CONNECTIONS,
            requests,
            expected: Box::new(ExpectedResponse::new(200, br#""active":true"#)),
        };
        Ok(workload(OIDC_PROVIDER_KEY, "introspection by oidc-provider (Node.js, tokens in memory)", load))
    }
}

/// The folder in `parent` with oidc-provider, by the lock file of `scripts/check-oauth`.
fn install_oidc_provider(parent: &Path) -> Result<PathBuf> {
    let folder = parent.join("oidc-provider");
    let is_current = OIDC_PROVIDER_FILES
        .iter()
        .all(|(name, text)| std::fs::read_to_string(folder.join(name)).is_ok_and(|found| found == *text));
    if is_current && folder.join("ready").exists() {
        return Ok(folder);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    for (name, text) in OIDC_PROVIDER_FILES {
        std::fs::write(folder.join(name), text)?;
    }
    eprintln!("Installing oidc-provider from npm in {} (once)", folder.display());
    let mut npm = Command::new(external_tools::require_tool("npm")?);
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder);
    let ended = npm.stdin(Stdio::null()).output()?;
    if !ended.status.success() {
        let why = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        return Err(BenchError::new(format!("npm ci in {} failed: {why}", folder.display())));
    }
    std::fs::write(folder.join("ready"), "")?;
    Ok(folder)
}
