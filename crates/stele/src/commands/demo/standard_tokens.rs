//! The demo's resource server and client, and `curl` commands that exchange and introspect a session token.

use std::net::SocketAddr;
use std::time::Duration;

use stele_app::context;
use stele_core::oauth::{
    ClientId, ClientSecret, Grant, LegacyTokenType, ResourceName, Scope, SigningAlgorithm, SubjectTokenType,
};
use stele_core::session::Token;
use stele_core::usecase::administration::Administration;
use stele_core::usecase::oauth_registration::{NewOAuthClient, NewResource, RegistryError, SecretRotation};
use stele_service::{ConfigError, Settings};

use crate::commands::CommandError;
use crate::commands::admin::flush_audit_log;

/// The resource server and the client that the demo registers.
const RESOURCE: &str = "demo-api";
const CLIENT: &str = "demo-app";
/// The kind of the session token in the commands.
const KIND: LegacyTokenType = LegacyTokenType::TmsSession;

/// Registers the resource server and the client, or replaces their secrets if they exist. Returns the commands, for
/// `session`, a session of TMS.
pub(super) async fn prepare(settings: &Settings, listen: SocketAddr, session: &Token) -> Result<String, CommandError> {
    let (administration, audit_log) = context::open_administration(settings).await?;
    let registered = register(&administration).await;
    // If both fail, the error of the registration is reported.
    let flushed = flush_audit_log(&audit_log).await;
    let (resource, client) = registered?;
    flushed?;
    let (endpoints, kind) = (format!("curl -s http://{listen}/oauth2"), KIND.urn());
    let (grant, session) = (Grant::TokenExchange.grant_type(), session.expose());
    Ok(format!(
        "\n# exchange\n\
         {endpoints}/token -u {CLIENT}:{} -d grant_type={grant} -d audience={RESOURCE} -d subject_token={session} \
         -d subject_token_type={kind}; echo\n\
         \n# introspection\n\
         {endpoints}/introspect -u {RESOURCE}:{} -d token={session} -d token_type_hint={kind}; echo\n",
        client.expose(),
        resource.expose(),
    ))
}

/// Returns the secrets of the resource server and of the client.
async fn register(administration: &Administration) -> Result<(ClientSecret, ClientSecret), CommandError> {
    let name_error = || ConfigError::new("the demo's resource server or client has an invalid name");
    let name = ResourceName::parse(RESOURCE).ok_or_else(name_error)?;
    let id = ClientId::parse(CLIENT).ok_or_else(name_error)?;
    // A secret is shown once, so each start of the demo makes new ones.
    let rotation = SecretRotation::Add { overlap: Duration::ZERO };
    let resource = match administration.find_resource(&name).await {
        Ok(_) => administration.rotate_resource_secret(&name, rotation).await?.secret,
        Err(RegistryError::NoSuchResource(_)) => {
            let new = NewResource { name: name.clone(), uri: None, legacy_tokens: [KIND].into() };
            administration.add_resource(new).await?
        }
        Err(error) => return Err(error.into()),
    };
    let client = match administration.find_oauth_client(&id).await {
        Ok(_) => administration.rotate_client_secret(&id, rotation).await?.secret,
        Err(RegistryError::UnknownClient(_)) => {
            let new = NewOAuthClient {
                id,
                grants: [Grant::TokenExchange].into(),
                resources: [name].into(),
                subject_types: [SubjectTokenType::Legacy(KIND)].into(),
                scopes: Scope::default(),
                algorithm: SigningAlgorithm::Rs256,
                redirect_uris: Vec::new(),
            };
            administration.add_oauth_client(new).await?
        }
        Err(error) => return Err(error.into()),
    };
    Ok((resource, client))
}
