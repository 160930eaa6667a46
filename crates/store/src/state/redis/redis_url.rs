//! Which servers: read from a URL.

use std::fmt;

use crate::OpenError;
use percent_encoding::percent_decode_str;

const DEFAULT_PORT: u16 = 6_379;
const DEFAULT_SENTINEL_PORT: u16 = 26_379;

/// What servers are to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    SingleServer,
    /// The servers are sentinels, who know where the master of this name is.
    Sentinel(String),
    Cluster,
}

/// What a URL says. It may hold a password: [`fmt::Display`] leaves that out.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RedisUrl {
    pub(super) topology: Topology,
    pub(super) tls: bool,
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) sentinel_user: Option<String>,
    pub(super) sentinel_password: Option<String>,
    pub(super) db: i64,
    pub(super) prefix: String,
}

impl RedisUrl {
    /// Reads `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `redis+sentinel://…HOST[:PORT],…/MASTER[/DB]` or
    /// `redis+cluster://…HOST[:PORT],…`, each with `rediss` for TLS, and `?prefix=` and, for sentinels with a password
    /// of their own, `sentinel_user=` and `sentinel_password=` behind it.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        parse(url).map_err(OpenError::InvalidRedisUrl)
    }

    /// Whether keys are spread over servers: a script then has to do with keys of one slot alone.
    pub(super) fn is_cluster(&self) -> bool {
        self.topology == Topology::Cluster
    }
}

fn parse(url: &str) -> Result<RedisUrl, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (tls, kind) = match scheme.to_ascii_lowercase().as_str() {
        "redis" => (false, ""),
        "rediss" => (true, ""),
        scheme => match scheme.split_once('+') {
            Some(("redis", "sentinel")) => (false, "sentinel"),
            Some(("rediss", "sentinel")) => (true, "sentinel"),
            Some(("redis", "cluster")) => (false, "cluster"),
            Some(("rediss", "cluster")) => (true, "cluster"),
            _ => return Err("unknown scheme"),
        },
    };
    let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let default_port = if kind == "sentinel" { DEFAULT_SENTINEL_PORT } else { DEFAULT_PORT };
    let hosts: Vec<_> =
        hosts.split(',').map(|host| host_and_port(host, default_port)).collect::<Option<_>>().ok_or("host or port")?;
    let mut path = path.split('/').filter(|part| !part.is_empty());
    let mode = match kind {
        "sentinel" => {
            Topology::Sentinel(percent_decode(path.next().ok_or("no name of a master after the sentinels")?)?)
        }
        "cluster" => Topology::Cluster,
        _ if hosts.len() > 1 => return Err("several servers are a redis+sentinel or a redis+cluster"),
        _ => Topology::SingleServer,
    };
    let db = path.next().map_or(Some(0), |db| db.parse().ok().filter(|db| *db >= 0)).ok_or("database number")?;
    if path.next().is_some() || (db != 0 && mode == Topology::Cluster) {
        return Err("path");
    }
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        None => (None, None),
        Some((user, password)) => (non_empty(percent_decode(user)?), non_empty(percent_decode(password)?)),
    };
    let (sentinel_user, sentinel_password) = (None, None);
    let prefix = "stele".to_owned();
    let mut place =
        RedisUrl { topology: mode, tls, hosts, user, password, sentinel_user, sentinel_password, db, prefix };
    for (name, value) in
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    {
        let value = percent_decode(value)?;
        match name {
            "prefix" if is_valid_prefix(&value) => place.prefix = value,
            "prefix" => return Err("a prefix is letters, digits, `.`, `-`, `_` and `:`"),
            "sentinel_user" => place.sentinel_user = non_empty(value),
            "sentinel_password" => place.sentinel_password = non_empty(value),
            _ => return Err("unknown parameter"),
        }
    }
    Ok(place)
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port != 0))?;
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-_:".contains(&b);
    (!host.is_empty() && host.bytes().all(is_host)).then(|| (host.to_owned(), port))
}

fn percent_decode(text: &str) -> Result<String, &'static str> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| "not UTF-8")
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// No braces: they are for the hash tag.
fn is_valid_prefix(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b))
}

impl fmt::Display for RedisUrl {
    /// The URL without user, password and parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path) = match &self.topology {
            Topology::SingleServer => ("", String::new()),
            Topology::Sentinel(master) => ("+sentinel", format!("/{master}")),
            Topology::Cluster => ("+cluster", String::new()),
        };
        let host = |(host, port): &(String, u16)| {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        let hosts: Vec<_> = self.hosts.iter().map(host).collect();
        write!(f, "redis{}{kind}://{}{path}", if self.tls { "s" } else { "" }, hosts.join(","))?;
        if self.db == 0 { Ok(()) } else { write!(f, "/{}", self.db) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::servers::RedisClient;
    use super::*;

    #[test]
    fn redis_urls_are_parsed_and_displayed_without_passwords() {
        for (url, shown) in [
            ("redis://cache", "redis://cache:6379"),
            ("REDISS://u:hunter2@cache:7000/3?prefix=a.b", "rediss://cache:7000/3"),
            ("redis://:hunt@er%2F2@[2001:db8::1]", "redis://[2001:db8::1]:6379"),
            ("redis+sentinel://u:hunter2@a,b:5/main/2", "redis+sentinel://a:26379,b:5/main/2"),
            ("rediss+cluster://a:1,b:2/", "rediss+cluster://a:1,b:2"),
        ] {
            let place = RedisUrl::parse(url).ok().unwrap();
            assert_eq!(place.to_string(), shown);
            assert!(RedisClient::new(&place).is_ok(), "{url}");
        }
        let place = RedisUrl::parse("redis+sentinel://u%40:p%3A@h/m?sentinel_password=s&prefix=x").ok().unwrap();
        let texts = [place.user, place.password, place.sentinel_password, Some(place.prefix)];
        assert_eq!(texts.map(Option::unwrap), ["u@", "p:", "s", "x"]);
    }

    #[test]
    fn invalid_redis_urls_are_rejected_without_echoing_them() {
        for bad in [
            "",
            "cache:6379",
            "http://cache",
            "redis+sentinel://hunter2:x@a,b",
            "redis+cluster://a/1",
            "redis://a,b",
            "redis://u:hunter2@",
            "redis://a:0",
            "redis://a:hunter2",
            "redis://a/x",
            "redis://a/1/2",
            "redis://a?hunter2=1",
            "redis://a?prefix={hunter2}",
            "redis://a#insecure",
        ] {
            let error = RedisUrl::parse(bad).err().unwrap().to_string();
            assert!(error.contains("redis+cluster") && !error.contains("hunter2"), "{bad}: {error}");
        }
    }
}
