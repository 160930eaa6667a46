//! `stele resource`: registers resource servers.

use serde_json::{Value, json};
use stele_core::oauth::{LegacyTokenType, Resource, ResourceName, ResourceUri};
use stele_core::time::Timestamp;
use stele_core::usecase::administration::Administration;
use stele_core::usecase::oauth_registration::NewResource;
use stele_service::Settings;

use super::{
    join_or_dash, print_rotated_secret, print_secret, run_with_administration, secrets_to_json, secrets_to_lines,
    to_text,
};
use crate::args::{AddResourceOptions, ResourceCommand};
use crate::commands::{CommandError, OutputFormat, print_line, print_listing_line};

pub(crate) async fn run(settings: &Settings, command: ResourceCommand) -> Result<(), CommandError> {
    run_with_administration(settings, async |administration| match command {
        ResourceCommand::Add(options) => add(administration, options).await,
        ResourceCommand::List { json } => list(administration, OutputFormat::from_json_flag(json)).await,
        ResourceCommand::Show { name, json } => show(administration, &name, OutputFormat::from_json_flag(json)).await,
        ResourceCommand::Rotate { name, rotation } => {
            let rotated = administration.rotate_resource_secret(&name, rotation.into()).await?;
            print_rotated_secret("secret", &rotated)
        }
        ResourceCommand::Remove { name } => Ok(administration.remove_resource(&name).await?),
    })
    .await
}

async fn add(administration: &Administration, options: AddResourceOptions) -> Result<(), CommandError> {
    let AddResourceOptions { name, uri, legacy_tokens } = options;
    let new = NewResource { name: name.clone(), uri, legacy_tokens: legacy_tokens.into_iter().collect() };
    let secret = administration.add_resource(new).await?;
    print_secret(&format!("resource {name}\n"), "secret", &secret)
}

async fn list(administration: &Administration, format: OutputFormat) -> Result<(), CommandError> {
    let mut after: Option<ResourceName> = None;
    loop {
        let page = administration.list_resources(after.as_ref()).await?;
        for resource in &page {
            print_listing_line(&match format {
                OutputFormat::Json => to_json(resource, administration.now()).to_string(),
                OutputFormat::Text => {
                    let legacy_tokens = join_or_dash(resource.legacy_tokens.iter().map(|kind| kind.name()));
                    format!("{}\t{}\t{legacy_tokens}", resource.name, resource.audience())
                }
            })?;
        }
        match page.last() {
            Some(last) => after = Some(last.name.clone()),
            None => return Ok(()),
        }
    }
}

async fn show(administration: &Administration, name: &ResourceName, format: OutputFormat) -> Result<(), CommandError> {
    let resource = administration.find_resource(name).await?;
    let now = administration.now();
    print_line(&match format {
        OutputFormat::Json => to_json(&resource, now).to_string(),
        OutputFormat::Text => format!(
            "resource\t{}\naudience\t{}\nlegacy tokens\t{}\nadded\t{}\n{}",
            resource.name,
            resource.audience(),
            join_or_dash(resource.legacy_tokens.iter().map(|kind| kind.name())),
            to_text(resource.created_at),
            secrets_to_lines(&resource.secrets, now),
        ),
    })
}

fn to_json(resource: &Resource, now: Timestamp) -> Value {
    json!({
        "resource": resource.name.as_str(),
        "uri": resource.uri.as_ref().map(ResourceUri::as_str),
        "audience": resource.audience().as_str(),
        "legacy_tokens": resource.legacy_tokens.iter().copied().map(LegacyTokenType::name).collect::<Vec<_>>(),
        "added_at": to_text(resource.created_at),
        "secrets": secrets_to_json(&resource.secrets, now),
    })
}
