//! TMS.

use std::sync::Arc;

use reqwest::Client;
use serde_json::{Value, json};
use stele_old_servers::{
    Call, MemoryTable, OldServer, OldTms, OldUser, PasswordFormat, PasswordReading, StoredPassword,
};
use time::macros::datetime;

use crate::support::{assert_sample, json, md5, post_json, salted, text};

const LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/authsalt";
const ADMIN_LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/adminauthsalt";
const PASSWORD_RESET: &str = "/container/api/v1/cloudbox/tms/auth/pwdreset";
const TIMESTAMP: u64 = 1_521_515_662;

/// The document's sample, whose `status` is "1" there and "" in the sample of `pwdreset`.
const SAMPLE: &str = r#"{
    "message": "Succ",
    "code": "0000",
    "data": {
        "user_id": "4",
        "user_name": "admin",
        "register_time": "2018-03-20T14:00:02.412827+08:00",
        "status": "",
        "avatar_url": "1",
        "user_phone": "1",
        "user_email": "1@hna",
        "user_token": "TOKEN",
        "user_real_name": "",
        "user_gender": "",
        "user_nickname": "",
        "user_alias_id": "",
        "role": "1",
        "group": "admin"
    }
}"#;

/// The document's sample of `pwdreset`, with the id of its request.
const PASSWORD_RESET_SAMPLE: &str = r#"{
    "message": "Succ",
    "code": "0000",
    "data": {
        "user_id": "5",
        "user_name": "ddffccc",
        "register_time": "2018-03-22T15:24:07.037042+08:00",
        "status": "",
        "avatar_url": "",
        "user_phone": "1548736484",
        "user_email": "",
        "user_token": "TOKEN",
        "user_real_name": "bbbbb",
        "user_gender": "男",
        "user_nickname": "",
        "user_alias_id": "01a572502da211e8aafd525400bbac8e",
        "role": "2",
        "group": "user"
    }
}"#;

fn table() -> Arc<MemoryTable> {
    let admin = OldUser {
        is_admin: true,
        avatar_url: "1".into(),
        phone: "1".into(),
        email: "1@hna".into(),
        registered_at: datetime!(2018-03-20 14:00:02.412827 +8),
        ..OldUser::new("4", "admin", StoredPassword::md5("hna123"))
    };
    let user = OldUser {
        phone: "1548736484".into(),
        real_name: "bbbbb".into(),
        gender: "男".into(),
        alias_id: "01a572502da211e8aafd525400bbac8e".into(),
        registered_at: datetime!(2018-03-22 15:24:07.037042 +8),
        ..OldUser::new("5", "ddffccc", StoredPassword::md5("hna123"))
    };
    Arc::new(MemoryTable::new(PasswordFormat::Md5, [admin, user]))
}

fn login_body(name: &str, proof: &str) -> Value {
    json!({ "username": name, "password": proof, "timestamp": TIMESTAMP })
}

async fn code(server: &OldServer, path: &str, body: &Value) -> String {
    json(post_json(server, path, body).await).await["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_logins_are_answered_as_in_the_document() {
    let server = OldTms::default().serve(table());
    let body = login_body("admin", &salted("hna123", TIMESTAMP));
    for path in [LOGIN, ADMIN_LOGIN] {
        assert_sample(&text(post_json(&server, path, &body).await).await, SAMPLE);
    }
    assert_eq!((server.count(Call::Login), server.count(Call::AdminLogin)), (1, 1));
}

#[tokio::test]
async fn the_login_of_administrators_refuses_users() {
    let server = OldTms::default().serve(table());
    let body = login_body("ddffccc", &salted("hna123", TIMESTAMP));
    assert_eq!(code(&server, ADMIN_LOGIN, &body).await, "1002");
    assert_eq!(code(&server, LOGIN, &body).await, "0000");
}

#[tokio::test]
async fn each_reading_of_the_password_refuses_the_other() {
    let (salted, digest) = (salted("hna123", TIMESTAMP), md5("hna123"));
    for (reading, right, wrong) in
        [(PasswordReading::Salted, &salted, &digest), (PasswordReading::Digest, &digest, &salted)]
    {
        let server = OldTms { reading, ..OldTms::default() }.serve(table());
        assert_eq!(code(&server, LOGIN, &login_body("admin", right)).await, "0000");
        assert_eq!(code(&server, LOGIN, &login_body("admin", wrong)).await, "1002");
        let body =
            json!({ "user_id": "5", "orig_password": right, "new_password": md5("new"), "timestamp": TIMESTAMP });
        assert_sample(&text(post_json(&server, PASSWORD_RESET, &body).await).await, PASSWORD_RESET_SAMPLE);
        assert_eq!(code(&server, PASSWORD_RESET, &body).await, "1002");
    }
}

#[tokio::test]
async fn a_server_with_client_tokens_demands_one() {
    let server = OldTms { client_tokens: vec!["kiosk-token".into()], ..OldTms::default() }.serve(table());
    let body = login_body("admin", &salted("hna123", TIMESTAMP));
    assert_eq!(code(&server, LOGIN, &body).await, "1005");
    let login = |token: &str| {
        let request = Client::new().post(format!("{}{LOGIN}", server.url())).header("Authorization", token);
        request.json(&body).send()
    };
    let answer = text(login("kiosk-token").await.unwrap()).await;
    let session = assert_sample(&answer, SAMPLE);
    assert_sample(&text(login(&session).await.unwrap()).await, SAMPLE);
    assert_eq!(json(login("another").await.unwrap()).await["code"], "1005");
}
