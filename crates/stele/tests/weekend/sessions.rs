//! Sessions from before the cut-over: the one thing that clients notice.

use reqwest::Method;
use serde_json::json;

use crate::client::{CLOUDBOX_LOGOUT, DialectKind, Response};
use crate::load::Load;
use crate::people::Account;

/// The tokens of sessions that an old server or Stele has opened.
pub(crate) struct Sessions<'a> {
    load: &'a Load,
    cloudbox: (&'a Account, String),
    jwt: (&'a Account, String),
}

impl<'a> Sessions<'a> {
    /// Logs people in whose password does not change.
    pub(crate) async fn open(load: &'a Load) -> Self {
        let (cloudbox, jwt) = (person_of(load, DialectKind::Cloudbox), person_of(load, DialectKind::Jwt));
        let token = log_in(load, cloudbox).await.token();
        let bearer = log_in(load, jwt).await.headers["authorization"].to_str().unwrap().to_owned();
        Self { load, cloudbox: (cloudbox, token), jwt: (jwt, bearer) }
    }

    /// Asserts that the server that is responsible now answers as if the tokens had expired.
    pub(crate) async fn assert_ended(&self) {
        let (account, token) = &self.cloudbox;
        let headers = [("authorization", token.as_str())];
        let person = self.load.person(account);
        let answer = self.load.clients.post_json(person, CLOUDBOX_LOGOUT, &headers, &json!({})).await.unwrap();
        assert_eq!(answer.response.code(), "1005", "{:?}", answer.response);
        let (account, token) = &self.jwt;
        let headers = [("authorization", token.as_str())];
        let person = self.load.person(account);
        let path = "/api/v1/Auth/Logout";
        let answer = self.load.clients.send(person, Method::GET, path, &headers, String::new()).await.unwrap();
        assert!(!answer.response.is_success() && answer.response.status < 500, "{:?}", answer.response);
    }
}

async fn log_in(load: &Load, account: &Account) -> Response {
    let (person, password) = (load.person(account), account.password());
    let answer = load.clients.log_in(person, account, &account.identifiers[0], &password).await;
    answer.unwrap().response.assert_success()
}

/// A person who has this account alone.
fn person_of(load: &Load, dialect: DialectKind) -> &Account {
    let is_alone = |account: &&Account| load.population.accounts_of(account.person).count() == 1;
    let mut accounts = load.population.accounts.iter().filter(is_alone);
    accounts.find(|account| account.dialect == dialect && !account.is_disabled).unwrap()
}
