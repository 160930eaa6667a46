//! Registry of OAuth clients and resource servers.

use std::collections::BTreeSet;
use std::sync::Arc;

use stele_core::Error;
use stele_core::oauth::{
    Audience, ClientId, ClientSecret, Grant, LegacyTokenType, OAuthClient, RedirectUri, Resource, ResourceName,
    ResourceUri, Scope, Secrets, SigningAlgorithm, SubjectTokenType,
};
use stele_core::ports::{ClientAddition, ResourceAddition, ResourceRemoval};
use stele_core::random::OsRandom;
use stele_store::{Database, DatabaseUrl};
use stele_testservers as servers;

use crate::opening::execute_sql;
use crate::support::*;

fn new_secrets() -> Secrets {
    Secrets::new(&ClientSecret::generate(&OsRandom), NOW)
}

fn rotated(secrets: &Secrets) -> Secrets {
    secrets.rotated(&ClientSecret::generate(&OsRandom), NOW.saturating_add(secs(1)), secs(60))
}

pub(crate) fn resource(name: &str) -> Resource {
    Resource {
        name: ResourceName::parse(name).unwrap(),
        uri: None,
        secrets: new_secrets(),
        legacy_tokens: BTreeSet::new(),
        created_at: NOW,
    }
}

/// A client that names these resource servers.
pub(crate) fn client(id: &str, resources: &[&str]) -> OAuthClient {
    OAuthClient {
        id: ClientId::parse(id).unwrap(),
        secrets: new_secrets(),
        grants: BTreeSet::from([Grant::ClientCredentials]),
        resources: resources.iter().map(|name| ResourceName::parse(name).unwrap()).collect(),
        subject_types: BTreeSet::new(),
        scopes: Scope::default(),
        algorithm: SigningAlgorithm::Rs256,
        redirect_uris: Vec::new(),
        created_at: NOW,
    }
}

#[tokio::test]
async fn a_resource_server_is_found_by_name_and_audience() {
    for UserBackend { oauth, name, .. } in user_backends().await {
        let plain = resource("orders");
        let named = Resource {
            uri: ResourceUri::parse("https://api.example/billing"),
            legacy_tokens: LegacyTokenType::all().filter(|kind| kind.can_be_introspected()).collect(),
            secrets: rotated(&new_secrets()),
            ..resource("billing")
        };
        for resource in [&plain, &named] {
            assert_eq!(oauth.add_resource(resource).await.unwrap(), ResourceAddition::Added, "{name}");
            assert_eq!(oauth.find_resource(&resource.name).await.unwrap().as_ref(), Some(resource), "{name}");
            let by_audience = oauth.find_resource_by_audience(&resource.audience()).await.unwrap();
            assert_eq!(by_audience.as_ref(), Some(resource), "{name}");
        }
        assert_eq!(oauth.find_resource(&ResourceName::parse("Orders").unwrap()).await.unwrap(), None, "{name}");
        for other in ["urn:stele:resource:billing", "https://api.example/billing/", "https://api.example/Billing"] {
            let audience = Audience::parse(other).unwrap();
            assert_eq!(oauth.find_resource_by_audience(&audience).await.unwrap(), None, "{name} {other}");
        }
    }
}

#[tokio::test]
async fn names_and_audiences_of_resource_servers_are_unique() {
    for UserBackend { oauth, name, .. } in user_backends().await {
        let first = Resource { uri: ResourceUri::parse("https://api.example/"), ..resource("orders") };
        assert_eq!(oauth.add_resource(&first).await.unwrap(), ResourceAddition::Added, "{name}");
        assert_eq!(oauth.add_resource(&resource("orders")).await.unwrap(), ResourceAddition::NameTaken, "{name}");
        let same_uri = Resource { name: ResourceName::parse("billing").unwrap(), ..first.clone() };
        assert_eq!(oauth.add_resource(&same_uri).await.unwrap(), ResourceAddition::AudienceTaken, "{name}");
        assert_eq!(oauth.find_resource(&first.name).await.unwrap(), Some(first), "{name}");
    }
}

#[tokio::test]
async fn a_client_is_read_back_unchanged_and_its_id_is_unique() {
    for UserBackend { oauth, name, .. } in user_backends().await {
        for resource_name in ["orders", "billing"] {
            oauth.add_resource(&resource(resource_name)).await.unwrap();
        }
        let full = OAuthClient {
            grants: Grant::all().collect(),
            subject_types: SubjectTokenType::all().collect(),
            scopes: Scope::parse("read write").unwrap(),
            algorithm: SigningAlgorithm::Es256,
            redirect_uris: ["https://b.example/cb?x=1", "https://a.example/cb"]
                .map(|uri| RedirectUri::parse(uri).unwrap())
                .into(),
            secrets: rotated(&new_secrets()),
            ..client("web", &["orders", "billing"])
        };
        let bare = OAuthClient { grants: BTreeSet::new(), ..client("bare", &[]) };
        for added in [&full, &bare] {
            assert_eq!(oauth.add_client(added).await.unwrap(), ClientAddition::Added, "{name}");
            assert_eq!(oauth.find_client(&added.id).await.unwrap().as_ref(), Some(added), "{name}");
        }
        assert_eq!(oauth.add_client(&client("web", &[])).await.unwrap(), ClientAddition::IdTaken, "{name}");
        assert_eq!(oauth.find_client(&full.id).await.unwrap(), Some(full), "{name}");
        assert_eq!(oauth.find_client(&ClientId::parse("Web").unwrap()).await.unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn a_client_names_registered_resource_servers_only_which_then_stay() {
    for UserBackend { oauth, name, .. } in user_backends().await {
        let orders = resource("orders");
        oauth.add_resource(&orders).await.unwrap();
        let unknown = client("web", &["orders", "billing"]);
        assert_eq!(oauth.add_client(&unknown).await.unwrap(), ClientAddition::UnknownResource, "{name}");
        assert_eq!(oauth.find_client(&unknown.id).await.unwrap(), None, "{name}: nothing is kept");
        for id in ["web", "batch"] {
            assert_eq!(oauth.add_client(&client(id, &["orders"])).await.unwrap(), ClientAddition::Added, "{name}");
        }
        let ids = |ids: &[&str]| ids.iter().map(|id| ClientId::parse(id).unwrap()).collect::<Vec<_>>();
        let in_use = oauth.remove_resource(&orders.name).await.unwrap();
        assert_eq!(in_use, ResourceRemoval::InUse(ids(&["batch", "web"])), "{name}");
        assert!(oauth.find_resource(&orders.name).await.unwrap().is_some(), "{name}");
        for id in ids(&["batch", "web"]) {
            assert!(oauth.remove_client(&id).await.unwrap() && !oauth.remove_client(&id).await.unwrap(), "{name}");
            assert_eq!(oauth.find_client(&id).await.unwrap(), None, "{name}");
        }
        assert_eq!(oauth.remove_resource(&orders.name).await.unwrap(), ResourceRemoval::Removed, "{name}");
        assert_eq!(oauth.remove_resource(&orders.name).await.unwrap(), ResourceRemoval::NotFound, "{name}");
    }
}

/// Whichever comes first, no client is left with a resource server that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn adding_a_client_and_removing_its_resource_server_exclude_each_other() {
    for UserBackend { oauth, name, .. } in user_backends().await {
        for round in 0..20 {
            let orders = resource(&format!("orders-{round}x"));
            oauth.add_resource(&orders).await.unwrap();
            let added = client(&format!("web-{round}x"), &[orders.name.as_str()]);
            let (adding, removing) = (Arc::clone(&oauth), Arc::clone(&oauth));
            let (to_add, to_remove) = (added.clone(), orders.name.clone());
            let addition = tokio::spawn(async move { adding.add_client(&to_add).await });
            let removal = tokio::spawn(async move { removing.remove_resource(&to_remove).await });
            let (addition, removal) = (addition.await.unwrap().unwrap(), removal.await.unwrap());
            let is_there = oauth.find_resource(&orders.name).await.unwrap().is_some();
            match (addition, removal) {
                (ClientAddition::Added, Ok(ResourceRemoval::InUse(_)) | Err(Error::Unavailable(_))) => {
                    assert!(is_there && oauth.find_client(&added.id).await.unwrap().is_some(), "{name}");
                }
                (ClientAddition::UnknownResource, Ok(ResourceRemoval::Removed)) => assert!(!is_there, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn secrets_are_replaced_only_if_they_have_not_changed() {
    for UserBackend { oauth, name, .. } in user_backends().await {
        let (orders, web) = (resource("orders"), client("web", &["orders"]));
        oauth.add_resource(&orders).await.unwrap();
        oauth.add_client(&web).await.unwrap();
        let (first, second) = (rotated(&orders.secrets), rotated(&orders.secrets));
        assert!(oauth.replace_resource_secrets(&orders.name, &orders.secrets, &first).await.unwrap(), "{name}");
        assert!(!oauth.replace_resource_secrets(&orders.name, &orders.secrets, &second).await.unwrap(), "{name}");
        assert_eq!(oauth.find_resource(&orders.name).await.unwrap().unwrap().secrets, first, "{name}");
        let without_previous = first.rotated(&ClientSecret::generate(&OsRandom), NOW, secs(0));
        assert!(oauth.replace_resource_secrets(&orders.name, &first, &without_previous).await.unwrap(), "{name}");
        assert_eq!(oauth.find_resource(&orders.name).await.unwrap().unwrap().secrets, without_previous, "{name}");
        let (first, second) = (rotated(&web.secrets), rotated(&web.secrets));
        assert!(oauth.replace_client_secrets(&web.id, &web.secrets, &first).await.unwrap(), "{name}");
        assert!(!oauth.replace_client_secrets(&web.id, &web.secrets, &second).await.unwrap(), "{name}");
        let changed = OAuthClient { secrets: first.clone(), ..web };
        assert_eq!(oauth.find_client(&changed.id).await.unwrap(), Some(changed), "{name}");
        let unknown = (ClientId::parse("batch").unwrap(), ResourceName::parse("billing").unwrap());
        assert!(!oauth.replace_client_secrets(&unknown.0, &first, &second).await.unwrap(), "{name}");
        assert!(!oauth.replace_resource_secrets(&unknown.1, &first, &second).await.unwrap(), "{name}");
    }
}

#[tokio::test]
async fn lists_are_paged_in_the_order_of_bytes() {
    for UserBackend { oauth, name, .. } in user_backends().await {
        for text in ["b", "a", "B", "_", "a-1"] {
            oauth.add_resource(&resource(text)).await.unwrap();
            oauth.add_client(&client(text, &["b"])).await.unwrap();
        }
        let mut pages = Vec::new();
        let (mut after, mut after_name) = (None, None);
        loop {
            let page = oauth.list_clients(after.as_ref(), 2).await.unwrap();
            let names = oauth.list_resources(after_name.as_ref(), 2).await.unwrap();
            let ids: Vec<_> = page.iter().map(|client| client.id.to_string()).collect();
            assert_eq!(ids, names.iter().map(|resource| resource.name.to_string()).collect::<Vec<_>>(), "{name}");
            let (Some(last), Some(last_name)) = (page.last(), names.last()) else { break };
            (after, after_name) = (Some(last.id.clone()), Some(last_name.name.clone()));
            pages.push(ids.join(" "));
        }
        assert_eq!(pages, ["B _", "a a-1", "b"], "{name}");
    }
}

/// Runs SQL on a database.
type ExecuteSql = Box<dyn Fn(&str)>;

/// A later version may add grants, kinds of tokens and other forms of redirect URIs; an instance of this one that still
/// runs must not fail for clients that have them, and must not grant what it does not know.
#[tokio::test]
async fn permissions_that_this_program_does_not_know_are_not_granted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let sqlite = Database::open(&DatabaseUrl::sqlite(&path)).unwrap();
    let mut databases: Vec<(Database, ExecuteSql)> = vec![(sqlite, Box::new(move |sql| execute_sql(&path, sql)))];
    if servers::servers_available() {
        let url = servers::database_url();
        let postgres = Database::open(&DatabaseUrl::parse(&url).unwrap()).unwrap();
        databases.push((postgres, Box::new(move |sql| servers::execute(&url, sql))));
    }
    for (database, execute) in databases {
        database.migrate().await.unwrap();
        let oauth = database.oauth_registry();
        let (orders, web) = (resource("orders"), client("web", &["orders"]));
        oauth.add_resource(&orders).await.unwrap();
        oauth.add_client(&web).await.unwrap();
        execute(
            "UPDATE oauth_clients SET grants = 'client_credentials device_code', subject_types = 'next-session', \
             redirect_uris = 'next:x'; UPDATE oauth_resources SET legacy_tokens = 'next-session tms-session'",
        );
        assert_eq!(oauth.find_client(&web.id).await.unwrap(), Some(web.clone()));
        let legacy_tokens = BTreeSet::from([LegacyTokenType::TmsSession]);
        assert_eq!(oauth.find_resource(&orders.name).await.unwrap(), Some(Resource { legacy_tokens, ..orders }));
        // What has no harmless reading is an error, which names the column and not the value.
        execute("UPDATE oauth_clients SET algorithm = 'HS256'");
        let error = oauth.find_client(&web.id).await.unwrap_err();
        assert!(matches!(error, Error::Internal(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("oauth_clients.algorithm") && !text.contains("HS256"), "{text}");
    }
}
