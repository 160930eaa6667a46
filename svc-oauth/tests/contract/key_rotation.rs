//! Checklist 12: a key is published before it signs, and stays until it is retired (Core 10.1.1).

use std::time::Duration;

use serde_json::Value;
use stele_app::stores;
use stele_core::oauth::SigningAlgorithm;
use stele_core::ports::{KeyRecord, KeyRetirement};
use stele_core::random::OsRandom;
use stele_jose::{KeySet, Signer, key_kind};
use stele_keys::keyring;
use stele_testkit::TestApp;

use crate::test_service::start;

async fn key_ids(app: &TestApp) -> Vec<String> {
    let set: Value = app.send(app.request("GET", "/oauth2/jwks")).await.json();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The `kid` of a token that an instance of the service signs now.
fn signing_key_id(app: &TestApp, algorithm: SigningAlgorithm) -> String {
    let keys = KeySet::register(&[algorithm], &app.lab.context().keys).unwrap();
    let now = app.lab.clock().now();
    assert!(Signer::new(keys.clone()).sign(algorithm, "at+jwt", &serde_json::json!({}), now).is_ok());
    keys.current(algorithm, now).unwrap().key_id().to_owned()
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_until_it_is_retired() {
    for (algorithm, prefix) in
        [(SigningAlgorithm::Rs256, "rs256"), (SigningAlgorithm::EdDsa, "eddsa"), (SigningAlgorithm::Es256, "es256")]
    {
        let app = start(&[]).await;
        let context = app.lab.context();
        let (folder, kind) = (context.settings.keys_dir(), key_kind(algorithm));
        let (first, second) = (format!("{prefix}-1"), format!("{prefix}-2"));
        assert!(key_ids(&app).await.contains(&first) && !key_ids(&app).await.contains(&second));

        keyring::create_key_file(&folder, &kind, 2, &OsRandom).unwrap();
        let store = stores::open_database(&context.settings).unwrap().keys();
        let (now, lead) = (app.lab.clock().now(), Duration::from_secs(60));
        let record = KeyRecord {
            name: kind.key_name(2),
            fingerprint: Some(kind.read(&folder, 2).unwrap().1.to_vec()),
            added_at: now,
            active_from: now.saturating_add(lead),
        };
        assert!(store.add_key(&record).await.unwrap());
        context.keys.refresh().await.unwrap();
        let published = key_ids(&app).await;
        assert!(published.contains(&first) && published.contains(&second), "{published:?}");
        assert_eq!(signing_key_id(&app, algorithm), first);
        app.lab.clock().advance(lead);
        assert_eq!(signing_key_id(&app, algorithm), second);
        assert!(key_ids(&app).await.contains(&first), "tokens that it signed are still verified");

        assert_eq!(store.retire_key(&kind.key_name(1)).await.unwrap(), KeyRetirement::Retired);
        context.keys.refresh().await.unwrap();
        let published = key_ids(&app).await;
        assert!(!published.contains(&first) && published.contains(&second), "{published:?}");
    }
}
