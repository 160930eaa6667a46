//! Options of `stele client` and `stele resource`, which register OAuth clients and resource servers.

use std::time::Duration;

use clap::{Args, Subcommand};
use stele_core::oauth::{
    ClientId, Grant, LegacyTokenType, RedirectUri, ResourceName, ResourceUri, Scope, SigningAlgorithm, SubjectTokenType,
};
use stele_service::setting;

use super::parse_algorithm;

/// The longest `--overlap`.
const MAX_OVERLAP: Duration = Duration::from_secs(90 * 86_400);

const CLIENT_EXAMPLES: &str = "\
Examples:
  stele resource add orders                      first the resource server that tokens are for
  stele client add nightly --grants client_credentials --resources orders
  stele client add web --grants token-exchange --resources orders --subject-types cloudbox-session,tms-session \\
      --scopes \"orders:read orders:write\"
  stele client list
  stele client show web --json
  stele client rotate web --overlap 24h          the old secret stays valid for a day
  stele client remove web

The secret is printed once, as the last word; only its hash is stored. Running services know a change within 5 s. The
columns of the list are name, grants, resource servers and algorithm. Exit code 1: there is no such client or resource
server, the name is taken, or two secrets are valid already (`rotate`).";

const RESOURCE_EXAMPLES: &str = "\
Examples:
  stele resource add orders                      tokens for it have the aud urn:stele:resource:orders
  stele resource add orders --uri https://orders.example/api
  stele resource add old-backend --legacy-tokens cloudbox-session,jwt-login
  stele resource list
  stele resource show orders --json
  stele resource rotate orders --overlap 7d      the old secret stays valid for a week
  stele resource remove orders

Name and secret authenticate the resource server at /oauth2/introspect. The secret is printed once, as the last word;
only its hash is stored. Running services know a change within 5 s. The columns of the list are name, audience (aud)
and kinds of legacy tokens. Exit code 1: there is no such resource server, the name or URI is taken, two secrets are
valid already (`rotate`), or a client names it (`remove`).";

/// Register OAuth clients: services that get access tokens, for themselves or for the user of a legacy token.
#[derive(Debug, Subcommand)]
#[command(after_help = CLIENT_EXAMPLES)]
pub enum ClientCommand {
    /// Register a client and print its secret, which is not shown again
    Add(Box<AddClientOptions>),
    /// List clients, by name
    #[command(after_help = CLIENT_EXAMPLES)]
    List {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show one client
    #[command(after_help = CLIENT_EXAMPLES)]
    Show {
        /// Name of the client (client_id)
        #[arg(value_parser = parse_client_id)]
        name: ClientId,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Give a client a new secret and print it. The secret so far stays valid for --overlap
    #[command(after_help = CLIENT_EXAMPLES)]
    Rotate {
        /// Name of the client (client_id)
        #[arg(value_parser = parse_client_id)]
        name: ClientId,
        /// Which secrets stay valid
        #[command(flatten)]
        rotation: RotationOptions,
    },
    /// Remove a client. Its access tokens are no longer active at introspection; services that verify them offline
    /// accept them for at most 5 minutes more
    #[command(after_help = CLIENT_EXAMPLES)]
    Remove {
        /// Name of the client (client_id)
        #[arg(value_parser = parse_client_id)]
        name: ClientId,
    },
}

/// Options of `stele client add`.
#[derive(Debug, Args)]
#[command(after_help = CLIENT_EXAMPLES)]
pub struct AddClientOptions {
    /// Name of the client (client_id): 1 to 64 letters, digits, ., - and _; not readable as a user's id. To exchange
    /// mefp-handover tokens it must be the name of the app that they are issued to
    #[arg(value_parser = parse_client_id)]
    pub name: ClientId,
    /// Grants, separated by commas: client_credentials (tokens for the client itself), token-exchange (tokens for the
    /// user of another token)
    #[arg(long, value_name = "GRANT,…", value_delimiter = ',', required = true, value_parser = parse_grant)]
    pub grants: Vec<Grant>,
    /// Registered resource servers for which the client may get tokens, separated by commas
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', required = true, value_parser = parse_resource_name)]
    pub resources: Vec<ResourceName>,
    /// Kinds of tokens that the client may exchange, separated by commas: cloudbox-session, tms-session,
    /// portal-session, mefp-handover, jwt-login, access-token. Required by the grant token-exchange
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',', value_parser = parse_subject_type)]
    pub subject_types: Vec<SubjectTokenType>,
    /// Scopes that the client may ask for, separated by spaces [default: none]
    #[arg(long, value_name = "\"SCOPE …\"", default_value = "", hide_default_value = true, value_parser = parse_scope)]
    pub scopes: Scope,
    /// Algorithm that signs the client's access tokens: RS256, EdDSA or ES256
    #[arg(long, default_value = "RS256", value_parser = parse_algorithm)]
    pub alg: SigningAlgorithm,
    /// Redirect URI of a browser login, for a later version; may be repeated
    ///
    /// https; or http for 127.0.0.1, ::1 or localhost; or a scheme with a dot (com.example.app:/callback). No
    /// wildcards: requests must have the same URI, byte by byte
    #[arg(long, value_name = "URI", value_parser = parse_redirect_uri)]
    pub redirect_uri: Vec<RedirectUri>,
}

/// Register resource servers: services that accept access tokens, and old ones that introspect legacy tokens.
#[derive(Debug, Subcommand)]
#[command(after_help = RESOURCE_EXAMPLES)]
pub enum ResourceCommand {
    /// Register a resource server and print its secret, which is not shown again
    Add(AddResourceOptions),
    /// List resource servers, by name
    #[command(after_help = RESOURCE_EXAMPLES)]
    List {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show one resource server
    #[command(after_help = RESOURCE_EXAMPLES)]
    Show {
        /// Name of the resource server
        #[arg(value_parser = parse_resource_name)]
        name: ResourceName,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Give a resource server a new secret and print it. The secret so far stays valid for --overlap
    #[command(after_help = RESOURCE_EXAMPLES)]
    Rotate {
        /// Name of the resource server
        #[arg(value_parser = parse_resource_name)]
        name: ResourceName,
        /// Which secrets stay valid
        #[command(flatten)]
        rotation: RotationOptions,
    },
    /// Remove a resource server that no client names
    #[command(after_help = RESOURCE_EXAMPLES)]
    Remove {
        /// Name of the resource server
        #[arg(value_parser = parse_resource_name)]
        name: ResourceName,
    },
}

/// Options of `stele resource add`.
#[derive(Debug, Args)]
#[command(after_help = RESOURCE_EXAMPLES)]
pub struct AddResourceOptions {
    /// Name of the resource server: 1 to 64 letters, digits, ., - and _; not readable as a user's id
    #[arg(value_parser = parse_resource_name)]
    pub name: ResourceName,
    /// URI that tokens have as their aud [default: urn:stele:resource:NAME]
    #[arg(long, value_name = "URI", value_parser = parse_resource_uri)]
    pub uri: Option<ResourceUri>,
    /// Kinds of legacy tokens that the resource server may introspect, separated by commas: cloudbox-session,
    /// tms-session, portal-session, jwt-login [default: none, only access tokens for itself]
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',', value_parser = parse_legacy_type)]
    pub legacy_tokens: Vec<LegacyTokenType>,
}

/// Options of `rotate`.
#[derive(Debug, Args)]
pub struct RotationOptions {
    /// How long the secret in use stays valid beside the new one: 0s to 90d, in seconds or as 30m, 24h, 7d. 0s ends it
    /// at once
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = parse_overlap)]
    pub overlap: Duration,
    /// The newest of two valid secrets was lost: replace it, and keep the older one for --overlap from now
    #[arg(long)]
    pub replace_newest: bool,
}

const NAME_RULE: &str = "a name has 1 to 64 letters, digits, ., - and _, and is not a UUID, 32 hex digits or only \
                         digits, which could be taken for a user's id; choose another";

fn parse_client_id(text: &str) -> Result<ClientId, &'static str> {
    ClientId::parse(text).ok_or(NAME_RULE)
}

fn parse_resource_name(text: &str) -> Result<ResourceName, &'static str> {
    ResourceName::parse(text).ok_or(NAME_RULE)
}

fn parse_grant(text: &str) -> Result<Grant, &'static str> {
    Grant::parse(text).ok_or("the grants are client_credentials and token-exchange")
}

fn parse_subject_type(text: &str) -> Result<SubjectTokenType, String> {
    let names: Vec<_> = SubjectTokenType::all().map(SubjectTokenType::name).collect();
    SubjectTokenType::parse(text).ok_or_else(|| format!("unknown; the kinds of tokens are {}", names.join(", ")))
}

fn parse_legacy_type(text: &str) -> Result<LegacyTokenType, String> {
    let names: Vec<_> =
        LegacyTokenType::all().filter(|kind| kind.can_be_introspected()).map(LegacyTokenType::name).collect();
    LegacyTokenType::parse(text)
        .ok_or_else(|| format!("unknown; the kinds of tokens that can be introspected are {}", names.join(", ")))
}

fn parse_scope(text: &str) -> Result<Scope, &'static str> {
    Scope::parse(text).ok_or(
        "scopes are printable ASCII words without \" and \\, with one space between two, at most 1024 bytes in all",
    )
}

fn parse_redirect_uri(text: &str) -> Result<RedirectUri, String> {
    RedirectUri::parse(text).map_err(|error| error.to_string())
}

fn parse_resource_uri(text: &str) -> Result<ResourceUri, &'static str> {
    ResourceUri::parse(text).ok_or(
        "write an absolute URI in ASCII of at most 512 bytes, without # and user name, such as \
         https://orders.example/api; urn:stele: is reserved",
    )
}

fn parse_overlap(text: &str) -> Result<Duration, &'static str> {
    let overlap = setting::parse_duration(text).filter(|span| *span <= MAX_OVERLAP);
    overlap.ok_or("use a duration from 0s to 90d, such as 30m, 24h or 7d")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn parse(line: &str) -> Result<Command, String> {
        let words = std::iter::once("stele").chain(line.split(' '));
        Args::try_parse_from(words).map(|args| args.command).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_separated_by_commas_and_redirect_uris_repeated() {
        let line = "client add web --grants client_credentials,token-exchange --resources orders,billing \
                    --subject-types tms-session,access-token --alg ES256 --redirect-uri https://a.example/cb \
                    --redirect-uri com.example.app:/cb";
        let Command::Client(ClientCommand::Add(options)) = parse(line).unwrap() else { panic!("another command") };
        assert_eq!((options.grants.len(), options.resources.len(), options.subject_types.len()), (2, 2, 2));
        assert_eq!((options.redirect_uri.len(), options.alg), (2, SigningAlgorithm::Es256));
        assert!(options.scopes.is_empty());
    }

    #[test]
    fn errors_name_the_fault_and_the_remedy() {
        let add = "client add web --grants client_credentials --resources orders";
        for (line, remedy) in [
            ("client add 0b922f14d00b11e7aafd525400bbac8e --grants token-exchange --resources a", "user's id"),
            ("resource add 100001", "user's id"),
            ("client add web --grants password --resources orders", "client_credentials and token-exchange"),
            (&format!("{add} --subject-types session"), "cloudbox-session"),
            (&format!("{add} --alg none"), "RS256"),
            (&format!("{add} --redirect-uri http://app.example/cb"), "use https"),
            (&format!("{add} --redirect-uri https://*.app.example/cb"), "register each"),
            ("resource add orders --uri urn:stele:resource:billing", "reserved"),
            ("resource add orders --legacy-tokens access-token", "jwt-login"),
            ("client rotate web --overlap 91d", "0s to 90d"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(remedy), "{line}: {error}");
        }
    }
}
