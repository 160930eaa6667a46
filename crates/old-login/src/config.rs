//! The settings of the old servers.

use std::sync::Arc;

use reqwest::Url;
use stele_core::old_server::{AcceptedProof, Leader, OldApi, OldServer, UnknownUsers};
use stele_core::ports::OldServers;
use stele_service::metrics::Metrics;
use stele_service::setting::{AnySetting as _, optional, parsed, parsed_optional, with_default};
use stele_service::{ConfigError, Setting, Settings};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::OldServerClients;
use crate::client::{MAX_CONCURRENT_QUESTIONS, OldServerClient};
use crate::cloudbox::OldCloudbox;
use crate::exchange::OldDialect;
use crate::http::HttpClient;
use crate::jwt::OldJwt;
use crate::mefp::{IV_LENGTH, KEY_LENGTH, OldMefp};
use crate::metrics::OldServerMetrics;
use crate::portal::OldPortal;
use crate::tms::OldTms;
use crate::turns::AccountTurns;

stele_service::settings! {
    /// The old servers.
    pub const SETTINGS = "STELE_";
    /// lazy migration: old cloudbox server, which is asked about imported users who have no password yet
    OLD_CLOUDBOX_URL: Option<Url> = parsed_optional(parse_url, URL_FORMAT, NOT_ASKED).secret();
    /// ask the old cloudbox server about identifiers that no user has, too, and add the users whom it accepts
    OLD_CLOUDBOX_OPEN: bool = with_default("false");
    /// lazy migration: old TMS server, as `STELE_OLD_CLOUDBOX_URL`
    OLD_TMS_URL: Option<Url> = parsed_optional(parse_url, URL_FORMAT, NOT_ASKED).secret();
    /// as `STELE_OLD_CLOUDBOX_OPEN`
    OLD_TMS_OPEN: bool = with_default("false");
    /// client token that the old TMS server demands in `Authorization`
    OLD_TMS_TOKEN: Option<Secret> = optional("none").secret();
    /// proof that the old TMS server checks: `salted` (a digest over `D` and the timestamp) or `digest` (`D`)
    OLD_TMS_PROOF: AcceptedProof = parsed(parse_proof, "salted or digest", "salted");
    /// lazy migration: old portal server, as `STELE_OLD_CLOUDBOX_URL`
    OLD_PORTAL_URL: Option<Url> = parsed_optional(parse_url, URL_FORMAT, NOT_ASKED).secret();
    /// as `STELE_OLD_CLOUDBOX_OPEN`
    OLD_PORTAL_OPEN: bool = with_default("false");
    /// lazy migration: old MeFP server, as `STELE_OLD_CLOUDBOX_URL`
    OLD_MEFP_URL: Option<Url> = parsed_optional(parse_url, URL_FORMAT, NOT_ASKED).secret();
    /// as `STELE_OLD_CLOUDBOX_OPEN`
    OLD_MEFP_OPEN: bool = with_default("false");
    /// app (`app_from`) that asks the old MeFP server
    OLD_MEFP_APP: Option<String> = optional("none");
    /// `mefp_secret` of the old MeFP server
    OLD_MEFP_SECRET: Option<Secret> = optional("none").value_format("32 bytes").secret();
    /// `app_secret` of that app at the old MeFP server
    OLD_MEFP_APP_SECRET: Option<Secret> = optional("none").value_format("16 bytes").secret();
    /// lazy migration: old JWT server, as `STELE_OLD_CLOUDBOX_URL`
    OLD_JWT_URL: Option<Url> = parsed_optional(parse_url, URL_FORMAT, NOT_ASKED).secret();
    /// as `STELE_OLD_CLOUDBOX_OPEN`
    OLD_JWT_OPEN: bool = with_default("false");
    /// old servers that lead while both run: a wrong password of a user who has not changed it here is asked about there,
    /// and a yes replaces the one here; without a name here, users who have a password are not asked about
    OLD_LEADS: Vec<OldApi> = parsed(parse_apis, "names of dialects, separated by commas", "");
}

const URL_FORMAT: &str = "an http:// or https:// URL";
const NOT_ASKED: &str = "not asked";

/// A text that is erased from memory on drop.
type Secret = Zeroizing<String>;

fn parse_url(text: &str) -> Result<Option<Url>, String> {
    let url = Url::parse(text).map_err(|e| format!("{e}; write for example http://10.0.0.5:8080"))?;
    let is_usable = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !is_usable {
        return Err("unsupported URL; use http:// or https://".to_owned());
    }
    let is_plain = url.username().is_empty() && url.password().is_none();
    if !is_plain || url.query().is_some() || url.fragment().is_some() {
        return Err("the URL must have no user, password, query or fragment; write the address alone".to_owned());
    }
    Ok(Some(url))
}

fn parse_proof(text: &str) -> Result<AcceptedProof, String> {
    match text {
        "salted" => Ok(AcceptedProof::Salted),
        "digest" => Ok(AcceptedProof::Digest),
        _ => Err(format!("`{text}` is not a proof; write salted or digest")),
    }
}

fn parse_apis(text: &str) -> Result<Vec<OldApi>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| OldApi::parse(name).ok_or_else(|| format!("`{name}` is not a dialect"))).collect()
}

/// The configured old servers.
pub struct OldServersConfig {
    servers: Vec<ServerConfig>,
}

struct ServerConfig {
    server: OldServer,
    url: Url,
    dialect: Box<dyn OldDialect>,
}

impl OldServersConfig {
    /// Reads the settings of the old servers.
    ///
    /// # Errors
    /// One line: the invalid or missing setting, and the remedy.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let leaders = settings.get(&OLD_LEADS)?;
        let mut servers = Vec::new();
        for api in OldApi::all() {
            let (url_setting, open) = url_settings(api);
            let leads = leaders.contains(&api);
            let unknown_users = if settings.get(open)? { UnknownUsers::Ask } else { UnknownUsers::Reject };
            let Some(url) = settings.get(url_setting)? else {
                let unused = match (leads, unknown_users) {
                    (true, _) => OLD_LEADS.name(),
                    (false, UnknownUsers::Ask) => open.name(),
                    (false, UnknownUsers::Reject) => continue,
                };
                let missing = url_setting.name();
                return Err(ConfigError::new(format!(
                    "{unused}: there is no old {} server; set {missing}",
                    api.as_str()
                )));
            };
            let leader = if leads { Leader::OldServer } else { Leader::Stele };
            let (accepted_proof, dialect) = build_dialect(api, settings)?;
            servers.push(ServerConfig {
                server: OldServer { api, accepted_proof, unknown_users, leader },
                url,
                dialect,
            });
        }
        Ok(Self { servers })
    }

    /// The names of the configured servers' dialects, with what is asked there, for `stele check`.
    pub fn describe(&self) -> Vec<String> {
        let describe = |ServerConfig { server, url, .. }: &ServerConfig| {
            let unknown = match server.unknown_users {
                UnknownUsers::Ask => "also about unknown users",
                UnknownUsers::Reject => "about imported users alone",
            };
            let leader = match server.leader {
                Leader::Stele => "Stele leads",
                Leader::OldServer => "the old server leads",
            };
            format!("the old {} server at {url} is asked {unknown}; {leader}", server.api.as_str())
        };
        self.servers.iter().map(describe).collect()
    }

    /// Creates the clients of the servers. Their tasks run on the current runtime.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn open(self, metrics: &Metrics) -> Result<Arc<dyn OldServers>, ConfigError> {
        if self.servers.is_empty() {
            return Ok(Arc::new(()));
        }
        let apis = self.servers.iter().map(|config| config.server.api);
        let metrics = OldServerMetrics::register(metrics, apis);
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for ServerConfig { server, url, dialect } in self.servers {
            let setting = url_settings(server.api).0.name();
            if url.scheme() == "http" && !is_loopback(&url) {
                tracing::warn!("passwords are sent unencrypted to the old {} server ({setting})", server.api.as_str());
            }
            let http = HttpClient::new(url, MAX_CONCURRENT_QUESTIONS)
                .map_err(|e| ConfigError::new(format!("{setting}: {e}")))?;
            let client = OldServerClient::new(server.api, dialect, http, metrics.clone(), Handle::current());
            servers.push(server);
            clients.push(Arc::new(client));
        }
        Ok(Arc::new(OldServerClients { servers, clients, turns: AccountTurns::default(), metrics }))
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn url_settings(api: OldApi) -> (&'static Setting<Option<Url>>, &'static Setting<bool>) {
    match api {
        OldApi::Cloudbox => (&OLD_CLOUDBOX_URL, &OLD_CLOUDBOX_OPEN),
        OldApi::Tms => (&OLD_TMS_URL, &OLD_TMS_OPEN),
        OldApi::Portal => (&OLD_PORTAL_URL, &OLD_PORTAL_OPEN),
        OldApi::Mefp => (&OLD_MEFP_URL, &OLD_MEFP_OPEN),
        OldApi::Jwt => (&OLD_JWT_URL, &OLD_JWT_OPEN),
    }
}

fn build_dialect(api: OldApi, settings: &Settings) -> Result<(AcceptedProof, Box<dyn OldDialect>), ConfigError> {
    Ok(match api {
        OldApi::Cloudbox => (AcceptedProof::Salted, Box::new(OldCloudbox)),
        OldApi::Tms => {
            let accepted_proof = settings.get(&OLD_TMS_PROOF)?;
            let token = settings.get(&OLD_TMS_TOKEN)?;
            if token.as_ref().is_some_and(|token| !is_header_value(token)) {
                let name = OLD_TMS_TOKEN.name();
                return Err(ConfigError::new(format!("{name}: only visible ASCII characters can be sent in a header")));
            }
            (accepted_proof, Box::new(OldTms { token, accepted_proof }))
        }
        OldApi::Portal => (AcceptedProof::Raw, Box::new(OldPortal)),
        OldApi::Mefp => {
            let app = settings.get(&OLD_MEFP_APP)?.ok_or_else(|| {
                ConfigError::new(format!("{}: set the app that asks the old MeFP server", OLD_MEFP_APP.name()))
            })?;
            let key = fixed_secret::<KEY_LENGTH>(settings, &OLD_MEFP_SECRET)?;
            let iv = fixed_secret::<IV_LENGTH>(settings, &OLD_MEFP_APP_SECRET)?;
            (AcceptedProof::Raw, Box::new(OldMefp { app, key, iv }))
        }
        OldApi::Jwt => (AcceptedProof::Raw, Box::new(OldJwt { boundary: random_boundary })),
    })
}

fn is_header_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

fn fixed_secret<const N: usize>(
    settings: &Settings,
    setting: &Setting<Option<Secret>>,
) -> Result<Zeroizing<[u8; N]>, ConfigError> {
    let secret = settings.get(setting)?;
    let bytes = secret.as_ref().and_then(|secret| secret.as_bytes().try_into().ok()).map(Zeroizing::new);
    bytes.ok_or_else(|| ConfigError::new(format!("{}: the old MeFP server needs it; set {N} bytes", setting.name())))
}

fn random_boundary() -> String {
    format!("stele-{:032x}", stele_service::random::random_u128())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
