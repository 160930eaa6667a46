//! Requests of the old clients, through nginx: one connection each, as from many phones.

use std::net::IpAddr;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::client::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGIN, DialectKind, MefpApp, Response, TMS_CHANGE_PASSWORD, TMS_LOGIN,
    encode_base64, encode_urlencoded, md5_hex, salted_proof,
};
use crate::old_world::mefp_app;
use crate::people::{ADDRESSES, Account, Person, address};

/// The clients, one for each address.
pub(crate) struct OldClients {
    http: Vec<Client>,
    url: String,
    app: MefpApp,
}

/// An answer, and the server that gave it.
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) upstream: String,
}

impl OldClients {
    pub(crate) fn new(url: String) -> Self {
        let client = |index| {
            let builder = Client::builder().local_address(IpAddr::V4(address(index))).pool_max_idle_per_host(0);
            builder.tls_certs_only([]).no_proxy().build().unwrap()
        };
        Self { http: (0..ADDRESSES).map(client).collect(), url, app: mefp_app() }
    }

    /// Logs in with one of the names that the person may type.
    pub(crate) async fn log_in(
        &self,
        person: &Person,
        account: &Account,
        name: &str,
        password: &str,
    ) -> reqwest::Result<Answer> {
        let salted = || {
            let timestamp = person.timestamp();
            json!({ "username": name, "password": salted_proof(password, timestamp), "timestamp": timestamp })
        };
        match account.dialect {
            DialectKind::Cloudbox => self.post_json(person, CLOUDBOX_LOGIN, &[], &salted()).await,
            // The token of a device, from the old server.
            DialectKind::Tms => self.post_json(person, TMS_LOGIN, &[("authorization", "old-device")], &salted()).await,
            DialectKind::Portal => {
                let fields = [("username", name), ("password", &encode_base64(password))];
                self.post_form(person, "/i/login", &[], &fields).await
            }
            DialectKind::Mefp => {
                let message = json!({ "login_name": name, "password": password });
                self.call_mefp(person, "/auth/login", &message).await
            }
            DialectKind::Jwt => {
                let fields = [("account", name), ("password", password)];
                self.post_form(person, "/api/v1/Auth/Login", &[], &fields).await
            }
        }
    }

    /// Changes the password with the old one, by the id that the client has stored: cloudbox and TMS.
    pub(crate) async fn change_password(&self, person: &Person, account: &Account, new: &str) -> Answer {
        let path = if account.dialect == DialectKind::Tms { TMS_CHANGE_PASSWORD } else { CLOUDBOX_CHANGE_PASSWORD };
        let timestamp = person.timestamp();
        let body = json!({
            "user_id": account.id,
            "orig_password": salted_proof(&account.password(), timestamp),
            "new_password": md5_hex(new),
            "timestamp": timestamp,
        });
        self.post_json(person, path, &[], &body).await.unwrap()
    }

    pub(crate) async fn post_json(
        &self,
        person: &Person,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> reqwest::Result<Answer> {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.send(person, Method::POST, path, &headers, body.to_string()).await
    }

    pub(crate) async fn post_form(
        &self,
        person: &Person,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> reqwest::Result<Answer> {
        let headers = [&[("content-type", "application/x-www-form-urlencoded")], headers].concat();
        self.send(person, Method::POST, path, &headers, encode_urlencoded(fields)).await
    }

    pub(crate) async fn call_mefp(&self, person: &Person, path: &str, message: &Value) -> reqwest::Result<Answer> {
        let envelope = json!({ "encrypt": self.app.encrypt(&message.to_string()), "app_from": self.app.name });
        let mut answer = self.post_json(person, path, &[], &envelope).await?;
        if let Some(encrypted) = answer.response.json["encrypt"].as_str() {
            answer.response.body = self.app.decrypt(encrypted);
            answer.response.json = serde_json::from_str(&answer.response.body).unwrap();
        }
        Ok(answer)
    }

    pub(crate) async fn send(
        &self,
        person: &Person,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> reqwest::Result<Answer> {
        let client = &self.http[person.address_index()];
        let mut request = client.request(method, format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let upstream = headers.get("x-upstream").map_or("", |value| value.to_str().unwrap()).to_owned();
        let body = response.text().await?;
        let json = serde_json::from_str(&body).unwrap_or_default();
        Ok(Answer { response: Response { status, headers, body, json }, upstream })
    }
}

impl Answer {
    /// The user's ids as the answer names them: empty where a document has none.
    pub(crate) fn ids(&self, dialect: DialectKind) -> [String; 2] {
        let json = &self.response.json;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match dialect {
            DialectKind::Cloudbox | DialectKind::Tms => [text(&json["data"]["user_id"]), String::new()],
            DialectKind::Portal => [text(&json["content"]["id"]), text(&json["content"]["gid"])],
            DialectKind::Mefp => Default::default(),
            DialectKind::Jwt => [text(&json["user"]["userId"]), String::new()],
        }
    }

    /// Whether the answer says that name and password do not match, or that the user is disabled.
    pub(crate) fn is_refusal(&self, dialect: DialectKind) -> bool {
        let codes: &[&str] = match dialect {
            DialectKind::Cloudbox | DialectKind::Tms => &["1002", "1006"],
            DialectKind::Portal => &["3201", "3202"],
            DialectKind::Mefp => &["40003"],
            DialectKind::Jwt => &["-1"],
        };
        self.response.status < 500 && codes.contains(&self.response.code().as_str())
    }
}
