//! `stele client`: registers OAuth clients.

use serde_json::{Value, json};
use stele_core::oauth::{ClientId, Grant, OAuthClient, RedirectUri, ResourceName, SubjectTokenType};
use stele_core::time::Timestamp;
use stele_core::usecase::administration::Administration;
use stele_core::usecase::oauth_registration::NewOAuthClient;
use stele_service::Settings;

use super::{
    join_or_dash, print_rotated_secret, print_secret, run_with_administration, secrets_to_json, secrets_to_lines,
    to_text,
};
use crate::args::{AddClientOptions, ClientCommand};
use crate::commands::{CommandError, OutputFormat, print_line, print_listing_line};

pub(crate) async fn run(settings: &Settings, command: ClientCommand) -> Result<(), CommandError> {
    run_with_administration(settings, async |administration| match command {
        ClientCommand::Add(options) => add(administration, *options).await,
        ClientCommand::List { json } => list(administration, OutputFormat::from_json_flag(json)).await,
        ClientCommand::Show { name, json } => show(administration, &name, OutputFormat::from_json_flag(json)).await,
        ClientCommand::Rotate { name, rotation } => {
            let rotated = administration.rotate_client_secret(&name, rotation.into()).await?;
            print_rotated_secret("client_secret", &rotated)
        }
        ClientCommand::Remove { name } => Ok(administration.remove_oauth_client(&name).await?),
    })
    .await
}

async fn add(administration: &Administration, options: AddClientOptions) -> Result<(), CommandError> {
    let AddClientOptions { name, grants, resources, subject_types, scopes, alg, redirect_uri } = options;
    let new = NewOAuthClient {
        id: name.clone(),
        grants: grants.into_iter().collect(),
        resources: resources.into_iter().collect(),
        subject_types: subject_types.into_iter().collect(),
        scopes,
        algorithm: alg,
        redirect_uris: redirect_uri,
    };
    let secret = administration.add_oauth_client(new).await?;
    print_secret(&format!("client_id {name}\n"), "client_secret", &secret)
}

async fn list(administration: &Administration, format: OutputFormat) -> Result<(), CommandError> {
    let mut after: Option<ClientId> = None;
    loop {
        let page = administration.list_oauth_clients(after.as_ref()).await?;
        for client in &page {
            print_listing_line(&match format {
                OutputFormat::Json => to_json(client, administration.now()).to_string(),
                OutputFormat::Text => {
                    let grants = join_or_dash(client.grants.iter().map(|grant| grant.as_str()));
                    let resources = join_or_dash(&client.resources);
                    format!("{}\t{grants}\t{resources}\t{}", client.id, client.algorithm.as_str())
                }
            })?;
        }
        match page.last() {
            Some(last) => after = Some(last.id.clone()),
            None => return Ok(()),
        }
    }
}

async fn show(administration: &Administration, id: &ClientId, format: OutputFormat) -> Result<(), CommandError> {
    let client = administration.find_oauth_client(id).await?;
    let now = administration.now();
    print_line(&match format {
        OutputFormat::Json => to_json(&client, now).to_string(),
        OutputFormat::Text => format!(
            "client_id\t{}\ngrants\t{}\nresources\t{}\nsubject types\t{}\nscopes\t{}\nalgorithm\t{}\n\
             redirect URIs\t{}\nadded\t{}\n{}",
            client.id,
            join_or_dash(client.grants.iter().map(|grant| grant.as_str())),
            join_or_dash(&client.resources),
            join_or_dash(client.subject_types.iter().map(|kind| kind.name())),
            client.scopes.to_text().unwrap_or_else(|| "-".to_owned()),
            client.algorithm.as_str(),
            join_or_dash(&client.redirect_uris),
            to_text(client.created_at),
            secrets_to_lines(&client.secrets, now),
        ),
    })
}

fn to_json(client: &OAuthClient, now: Timestamp) -> Value {
    json!({
        "client_id": client.id.as_str(),
        "grants": client.grants.iter().copied().map(Grant::as_str).collect::<Vec<_>>(),
        "resources": client.resources.iter().map(ResourceName::as_str).collect::<Vec<_>>(),
        "subject_types": client.subject_types.iter().copied().map(SubjectTokenType::name).collect::<Vec<_>>(),
        "scopes": client.scopes.tokens().collect::<Vec<_>>(),
        "algorithm": client.algorithm.as_str(),
        "redirect_uris": client.redirect_uris.iter().map(RedirectUri::as_str).collect::<Vec<_>>(),
        "added_at": to_text(client.created_at),
        "secrets": secrets_to_json(&client.secrets, now),
    })
}
