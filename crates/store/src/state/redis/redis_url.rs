//! URL of the Redis servers: single server, sentinels or cluster.

use std::fmt;

use crate::OpenError;
use percent_encoding::percent_decode_str;

const DEFAULT_PORT: u16 = 6_379;
const DEFAULT_SENTINEL_PORT: u16 = 26_379;

/// How the servers of a URL are related.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    SingleServer,
    /// The servers are sentinels that monitor the master of this name.
    Sentinel(String),
    Cluster,
}

/// A parsed Redis URL. It may contain passwords, which [`fmt::Display`] omits.
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
    /// Parses `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `redis+sentinel://…HOST[:PORT],…/MASTER[/DB]` or
    /// `redis+cluster://…HOST[:PORT],…`, each with `rediss` for TLS. Parameters: `prefix` for the keys, and
    /// `sentinel_user` and `sentinel_password` for the login at the sentinels.
    ///
    /// # Errors
    /// [`OpenError::InvalidRedisUrl`], which does not repeat any part of the URL.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        parse(url).map_err(OpenError::InvalidRedisUrl)
    }

    /// Whether keys are distributed over several servers. A script may then access only keys of one slot.
    pub(super) fn is_cluster(&self) -> bool {
        self.topology == Topology::Cluster
    }
}

fn parse(url: &str) -> Result<RedisUrl, &'static str> {
    let (scheme, after_scheme) = url.split_once("://").ok_or("no scheme")?;
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
    let (userinfo, after_userinfo) = match after_scheme.rsplit_once('@') {
        Some((userinfo, after)) => (Some(userinfo), after),
        None => (None, after_scheme),
    };
    let (hosts_and_path, query) = after_userinfo.split_once('?').unwrap_or((after_userinfo, ""));
    let (hosts, path) = hosts_and_path.split_once('/').unwrap_or((hosts_and_path, ""));
    let default_port = if kind == "sentinel" { DEFAULT_SENTINEL_PORT } else { DEFAULT_PORT };
    let hosts: Vec<_> = hosts
        .split(',')
        .map(|host| parse_host_and_port(host, default_port))
        .collect::<Option<_>>()
        .ok_or("invalid host or port")?;
    let mut path = path.split('/').filter(|part| !part.is_empty());
    let topology = match kind {
        "sentinel" => Topology::Sentinel(percent_decode(path.next().ok_or("no master name after the sentinels")?)?),
        "cluster" => Topology::Cluster,
        _ if hosts.len() > 1 => return Err("several hosts need redis+sentinel or redis+cluster"),
        _ => Topology::SingleServer,
    };
    let db =
        path.next().map_or(Some(0), |db| db.parse().ok().filter(|db| *db >= 0)).ok_or("invalid database number")?;
    if path.next().is_some() || (db != 0 && topology == Topology::Cluster) {
        return Err("invalid path");
    }
    let (user, password) = match userinfo.map(|userinfo| userinfo.split_once(':').unwrap_or((userinfo, ""))) {
        None => (None, None),
        Some((user, password)) => (non_empty(percent_decode(user)?), non_empty(percent_decode(password)?)),
    };
    let (sentinel_user, sentinel_password) = (None, None);
    let prefix = "stele".to_owned();
    let mut parsed = RedisUrl { topology, tls, hosts, user, password, sentinel_user, sentinel_password, db, prefix };
    for (name, value) in
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    {
        let value = percent_decode(value)?;
        match name {
            "prefix" if is_valid_prefix(&value) => parsed.prefix = value,
            "prefix" => return Err("the prefix may contain letters, digits, `.`, `-`, `_` and `:`"),
            "sentinel_user" => parsed.sentinel_user = non_empty(value),
            "sentinel_password" => parsed.sentinel_password = non_empty(value),
            _ => return Err("unknown parameter"),
        }
    }
    Ok(parsed)
}

/// Parses `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn parse_host_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(ipv6) => {
            let (host, after_host) = ipv6.split_once(']')?;
            (host, if after_host.is_empty() { None } else { Some(after_host.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port != 0))?;
    let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || b".-_:".contains(&b);
    (!host.is_empty() && host.bytes().all(is_host_byte)).then(|| (host.to_owned(), port))
}

fn percent_decode(text: &str) -> Result<String, &'static str> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| "not UTF-8")
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Whether a key prefix is not empty and has only letters, digits, `.`, `-`, `_` and `:`. Braces would change the hash
/// tag.
fn is_valid_prefix(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b))
}

impl fmt::Display for RedisUrl {
    /// Writes the URL without user, password and parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path) = match &self.topology {
            Topology::SingleServer => ("", String::new()),
            Topology::Sentinel(master) => ("+sentinel", format!("/{master}")),
            Topology::Cluster => ("+cluster", String::new()),
        };
        let format_host = |(host, port): &(String, u16)| {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        let hosts: Vec<_> = self.hosts.iter().map(format_host).collect();
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
            let parsed = RedisUrl::parse(url).ok().unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert!(RedisClient::new(&parsed).is_ok(), "{url}");
        }
        let parsed = RedisUrl::parse("redis+sentinel://u%40:p%3A@h/m?sentinel_password=s&prefix=x").ok().unwrap();
        let texts = [parsed.user, parsed.password, parsed.sentinel_password, Some(parsed.prefix)];
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
