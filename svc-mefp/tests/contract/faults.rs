//! Our own faults: 503, in plain while no envelope is open, encrypted after, and never taken for a wrong password.

use std::net::TcpListener;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use stele_core::app::{App, ClientToken};
use stele_core::ports::UserStore;
use stele_core::user::{Account, Credential, NewUser, User, UserId, UserRef};
use stele_core::{Error, Result};
use svc_mefp::SERVICE;

use crate::bench::{Bench, ROUTES, seal, unseal};

/// A database that answers nothing, or nothing but what an app is.
struct Broken(Option<Arc<dyn UserStore>>);

fn gone<T>() -> Result<T> {
    Err(Error::unavailable("postgres://user:secret@db is gone"))
}

#[async_trait]
impl UserStore for Broken {
    async fn find(&self, _: &str) -> Result<Option<Account>> {
        gone()
    }
    async fn find_ref(&self, _: UserRef) -> Result<Option<Account>> {
        gone()
    }
    async fn add(&self, _: &NewUser) -> Result<Option<User>> {
        gone()
    }
    async fn change_credential(&self, _: UserId, _: i64, _: &Credential) -> Result<Option<i64>> {
        gone()
    }
    async fn upgrade_credential(&self, _: UserId, _: i64, _: &Credential) -> Result<bool> {
        gone()
    }
    async fn erase_seals(&self) -> Result<u64> {
        gone()
    }
    async fn set_disabled(&self, _: UserId, _: bool) -> Result<bool> {
        gone()
    }
    async fn list(&self, _: i64, _: u32) -> Result<Vec<User>> {
        gone()
    }
    async fn app(&self, name: &str) -> Result<Option<App>> {
        match &self.0 {
            Some(users) => users.app(name).await,
            None => gone(),
        }
    }
    async fn add_app(&self, _: &App) -> Result<bool> {
        gone()
    }
    async fn client_token(&self, _: &[u8; 32]) -> Result<Option<ClientToken>> {
        gone()
    }
    async fn add_client_token(&self, _: &ClientToken) -> Result<bool> {
        gone()
    }
    async fn ping(&self) -> Result<()> {
        gone()
    }
}

/// Posts well-formed requests to the routes of a service on `users`, but for the last, where a token that nobody has
/// is refused before a user is looked up; gives status, `Retry-After` and body.
async fn all(bench: &Bench, users: Broken) -> Vec<(u16, String, String)> {
    let mut context = bench.lab.context().clone();
    context.deps.users = Arc::new(users);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = SERVICE.start(&context, listener).unwrap();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let mut told = Vec::new();
    for (path, inner) in ROUTES.iter().take(ROUTES.len() - 1) {
        let inner = inner.replace("\"melink\"", "\"wlfz\"");
        let body = json!({ "encrypt": seal("melink", &inner), "app_from": "melink" });
        let answer = stele_testkit::http().post(format!("http://{address}{path}")).json(&body).send().await.unwrap();
        let retry = answer.headers()["retry-after"].to_str().unwrap().to_owned();
        told.push((answer.status().as_u16(), retry, answer.text().await.unwrap()));
    }
    handle.stop(false).await;
    told
}

#[actix_web::test]
async fn a_database_that_is_gone_is_told_as_that_and_no_more() {
    let bench = Bench::new().await;
    let expected = r#"{"result":0,"errors":{"code":50300,"message":"服务暂时不可用，请稍后再试"}}"#;
    for (status, retry, text) in all(&bench, Broken(None)).await {
        assert_eq!((status, retry.as_str(), text.as_str()), (503, "1", expected));
    }
    for (status, retry, text) in all(&bench, Broken(Some(bench.lab.deps().users.clone()))).await {
        let outer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let inner = unseal("melink", outer["encrypt"].as_str().unwrap()).unwrap();
        assert_eq!((status, retry.as_str(), inner.as_str()), (503, "1", expected));
    }
}
