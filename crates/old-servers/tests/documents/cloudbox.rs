//! cloudbox.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use stele_old_servers::{
    Call, Lookup, MemoryTable, OldCloudbox, OldServer, OldUser, Outcome, PasswordFormat, ProofRules, StoredPassword,
};

use crate::support::{assert_sample, json, md5, post_json, run, salted, text};

const LOGIN: &str = "/api/v1/cloudbox/smarttms/auth/authsalt";
const PASSWORD_RESET: &str = "/api/v1/cloudbox/auth/pwdreset";
const ID: &str = "0b922f14-d00b-11e7-aafd-525400bbac8e";

const SAMPLE: &str = r#"{
    "message": "Succ",
    "code": "0000",
    "data": {
        "user_id": "0b922f14-d00b-11e7-aafd-525400bbac8e",
        "user_name": "dddddd",
        "register_time": "2017-11-23T04:59:11.544126Z",
        "status": "",
        "avatar_url": "",
        "user_phone": "12312312312",
        "user_email": "",
        "user_token": "TOKEN",
        "role": "user",
        "user_real_name": "fff",
        "user_gender": "男",
        "user_nickname": "",
        "user_alias_id": "0b9314d8d00b11e7aafd525400bbac8e",
        "enterprise": "e8d3bc38-beb0-11e7-888f-525400d25920",
        "group": "rentuser"
    }
}"#;

fn document_user() -> OldUser {
    OldUser {
        alias_id: "0b9314d8d00b11e7aafd525400bbac8e".into(),
        phone: "12312312312".into(),
        real_name: "fff".into(),
        gender: "男".into(),
        enterprise: "e8d3bc38-beb0-11e7-888f-525400d25920".into(),
        group: "rentuser".into(),
        ..OldUser::new(ID, "dddddd", StoredPassword::md5("hna123"))
    }
}

fn login_body(name: &str, password: &str, timestamp: u64) -> Value {
    json!({ "username": name, "password": salted(password, timestamp), "timestamp": timestamp })
}

async fn code_of_login(server: &OldServer, name: &str, password: &str) -> String {
    let answer = json(post_json(server, LOGIN, &login_body(name, password, 1_511_839_692)).await).await;
    answer["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_login_is_answered_as_in_the_document_and_ended_by_its_logout() {
    let server = OldCloudbox::start([document_user()]);
    let answer = text(post_json(&server, LOGIN, &login_body("dddddd", "hna123", 1_511_839_692)).await).await;
    let token = assert_sample(&answer, SAMPLE);
    assert_eq!(server.sessions().len(), 1);

    let logout = || {
        let request = Client::new().post(format!("{}/api/v1/cloudbox/smarttms/logout", server.url()));
        request.header("Authorization", &token).send()
    };
    assert_eq!(text(logout().await.unwrap()).await, r#"{"msg":"退出成功"}"#);
    assert_eq!(server.sessions(), []);
    assert_eq!(json(logout().await.unwrap()).await["code"], "1005");

    let calls: Vec<_> = server.calls().into_iter().map(|call| (call.call, call.identifier, call.outcome)).collect();
    let expected = [
        (Call::Login, "dddddd".to_owned(), Outcome::Accepted),
        (Call::Logout, "dddddd".to_owned(), Outcome::Accepted),
        (Call::Logout, String::new(), Outcome::Refused("1005".to_owned())),
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn wrong_passwords_and_users_are_refused() {
    let disabled = OldUser { is_disabled: true, ..OldUser::new("2", "locked", StoredPassword::md5("hna123")) };
    let server = OldCloudbox::start([document_user(), disabled]);
    assert_eq!(code_of_login(&server, "dddddd", "hna124").await, "1002");
    assert_eq!(code_of_login(&server, "stranger", "hna123").await, "1002");
    assert_eq!(code_of_login(&server, "locked", "hna123").await, "1006");
    let answer = json(post_json(&server, LOGIN, &json!({ "username": "dddddd" })).await).await;
    assert_eq!(answer["code"], "1001");
    assert_eq!(server.sessions(), []);
    // Phones in place of names.
    assert_eq!(code_of_login(&server, "12312312312", "hna123").await, "0000");
}

#[tokio::test]
async fn a_changed_password_replaces_the_old_one_in_the_table() {
    let server = OldCloudbox::start([document_user()]);
    assert_eq!(code_of_login(&server, "dddddd", "hna123").await, "0000");
    let body = |old: &str| {
        let proof = salted(old, 1_511_839_692);
        json!({ "user_id": ID, "orig_password": proof, "new_password": md5("new456"), "timestamp": 1_511_839_692 })
    };
    assert_eq!(json(post_json(&server, PASSWORD_RESET, &body("hna124")).await).await["code"], "1002");
    assert_eq!(code_of_login(&server, "dddddd", "hna123").await, "0000");
    assert_eq!(server.sessions().len(), 2);

    let answer = text(post_json(&server, PASSWORD_RESET, &body("hna123")).await).await;
    let token = assert_sample(&answer, SAMPLE);
    assert_eq!(server.sessions().iter().map(|session| &session.token).collect::<Vec<_>>(), [&token]);
    assert_eq!(code_of_login(&server, "dddddd", "hna123").await, "1002");
    assert_eq!(code_of_login(&server, "dddddd", "new456").await, "0000");
    let user = server.table().find(Lookup::Id(ID)).await.unwrap().unwrap();
    assert_eq!(user.password, StoredPassword::from_digest(&md5("new456")));
}

#[tokio::test]
async fn freshness_and_replay_are_checked_only_if_the_server_has_the_rules() {
    let table = || Arc::new(MemoryTable::new(PasswordFormat::Md5, [document_user()]));
    let rules = ProofRules { max_skew: Some(Duration::from_secs(300)), reject_replays: true };
    let strict = OldCloudbox { rules }.serve(table());
    assert_eq!(code_of_login(&strict, "dddddd", "hna123").await, "1003");
    let now: u64 = run("date", &["+%s"], b"").parse().unwrap();
    let body = login_body("dddddd", "hna123", now);
    assert_eq!(json(post_json(&strict, LOGIN, &body).await).await["code"], "0000");
    assert_eq!(json(post_json(&strict, LOGIN, &body).await).await["code"], "1004");

    let lenient = OldCloudbox::default().serve(table());
    for _ in 0..2 {
        assert_eq!(code_of_login(&lenient, "dddddd", "hna123").await, "0000");
    }
}
