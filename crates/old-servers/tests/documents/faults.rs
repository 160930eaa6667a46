//! Faults.

use std::time::{Duration, Instant};

use reqwest::{Client, redirect::Policy};
use serde_json::{Value, json};
use stele_old_servers::{Call, Fault, OldCloudbox, OldServer, OldUser, Outcome, StoredPassword};

use crate::support::{json, post_json, salted};

const LOGIN: &str = "/api/v1/cloudbox/smarttms/auth/authsalt";
const ID: &str = "0b922f14-d00b-11e7-aafd-525400bbac8e";

fn start() -> OldServer {
    let user = OldUser { phone: "13800138000".into(), ..OldUser::new(ID, "anna", StoredPassword::md5("hna123")) };
    OldCloudbox::start([user])
}

fn login_body(name: &str, password: &str) -> Value {
    json!({ "username": name, "password": salted(password, 1), "timestamp": 1 })
}

async fn log_in(server: &OldServer, name: &str, password: &str) -> Value {
    json(post_json(server, LOGIN, &login_body(name, password)).await).await
}

/// A client with one kept connection, which does not follow redirects.
async fn send(client: &Client, server: &OldServer) -> reqwest::Result<reqwest::Response> {
    client.post(format!("{}{LOGIN}", server.url())).json(&login_body("anna", "hna123")).send().await
}

fn client() -> Client {
    Client::builder().redirect(Policy::none()).build().unwrap()
}

#[tokio::test]
async fn a_server_that_is_gone_closes_connections_and_refuses_new_ones() {
    let (server, client) = (start(), client());
    for _ in 0..3 {
        assert_eq!(send(&client, &server).await.unwrap().status(), 200);
        server.set_fault(Fault::Gone);
        // The kept connection, then a new one.
        assert!(send(&client, &server).await.is_err());
        let error = send(&client, &server).await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        let socket = std::net::TcpStream::connect(server.url().trim_start_matches("http://"));
        assert_eq!(socket.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        server.set_fault(Fault::None);
    }
    assert_eq!(server.count(Call::Login), 3);
    let url = server.url();
    drop(server);
    assert!(client.get(url).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_slow_server_has_logged_the_user_in_before_it_answers() {
    let (server, client) = (start(), client());
    server.set_fault(Fault::Slow(Duration::from_millis(300)));
    let started = Instant::now();
    assert_eq!(send(&client, &server).await.unwrap().status(), 200);
    assert!(started.elapsed() >= Duration::from_millis(300));
    server.set_fault(Fault::Slow(Duration::from_secs(3600)));
    let request = client.post(format!("{}{LOGIN}", server.url())).json(&login_body("anna", "hna123"));
    let error = request.timeout(Duration::from_millis(300)).send().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    let outcomes: Vec<_> = server.calls().into_iter().map(|call| call.outcome).collect();
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Accepted]);
    assert_eq!(server.sessions().len(), 2);
}

#[tokio::test]
async fn answers_that_are_none_are_sent_without_processing_the_call() {
    let (server, client) = (start(), client());
    server.set_fault(Fault::Status(500));
    assert_eq!(send(&client, &server).await.unwrap().status(), 500);
    server.set_fault(Fault::Redirect("http://127.0.0.1:9/trap".into()));
    let answer = send(&client, &server).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (307, &"http://127.0.0.1:9/trap".parse().unwrap())
    );
    server.set_fault(Fault::Body("[]".into()));
    assert_eq!(send(&client, &server).await.unwrap().text().await.unwrap(), "[]");
    server.set_fault(Fault::Endless);
    let mut answer = send(&client, &server).await.unwrap();
    let mut length = 0;
    while length < 100_000 {
        length += answer.chunk().await.unwrap().expect("more").len();
    }
    assert_eq!(server.sessions(), []);
    let outcomes: Vec<_> = server.calls().into_iter().map(|call| call.outcome).collect();
    assert_eq!(outcomes, ["status", "redirect", "body", "endless"].map(Outcome::Faulted));
}

#[tokio::test]
async fn halves_of_answers_are_malformed_or_truncated() {
    let (server, client) = (start(), client());
    server.set_fault(Fault::Malformed);
    let half = send(&client, &server).await.unwrap().text().await.unwrap();
    assert!(half.starts_with(r#"{"message":"Succ","code":"0000","data":{"user_id":"#), "{half}");
    assert!(serde_json::from_str::<Value>(&half).is_err());
    server.set_fault(Fault::Truncated);
    assert!(send(&client, &server).await.unwrap().text().await.is_err());
    assert_eq!(server.sessions().len(), 2);
}

#[tokio::test]
async fn lies_concern_the_login_alone() {
    let server = start();
    server.set_fault(Fault::OtherId);
    let data = &log_in(&server, "anna", "hna123").await["data"];
    assert_eq!((&data["user_id"], &data["user_name"]), (&ID.replace("c8e", "c8f").into(), &"anna".into()));
    server.set_fault(Fault::OtherName);
    let data = &log_in(&server, "anna", "hna123").await["data"];
    assert_eq!((&data["user_id"], &data["user_name"]), (&ID.into(), &"annb".into()));
    assert_eq!(data["user_phone"], "13800138001");
    assert_eq!(log_in(&server, "anna", "wrong").await["code"], "1002");

    server.set_fault(Fault::AcceptsAll);
    assert_eq!(log_in(&server, "anna", "wrong").await["data"]["user_id"], ID);
    assert_eq!(log_in(&server, "stranger", "wrong").await["data"]["user_name"], "stranger");
    server.set_fault(Fault::RejectsAll);
    assert_eq!(log_in(&server, "anna", "hna123").await["code"], "1002");
    server.set_fault(Fault::None);
    assert_eq!(log_in(&server, "anna", "hna123").await["code"], "0000");
}

#[tokio::test]
async fn a_fault_can_concern_one_kind_of_call() {
    let (server, client) = (start(), client());
    server.set_fault_on(Call::Logout, Fault::Status(503));
    let answer: Value = json(send(&client, &server).await.unwrap()).await;
    let logout = || {
        let request = client.post(format!("{}/api/v1/cloudbox/smarttms/logout", server.url()));
        request.header("Authorization", answer["data"]["user_token"].as_str().unwrap()).send()
    };
    assert_eq!(logout().await.unwrap().status(), 503);
    assert_eq!(server.sessions().len(), 1);
    server.set_fault(Fault::None);
    assert_eq!(logout().await.unwrap().status(), 200);
    assert_eq!(server.sessions(), []);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_logged() {
    let server = start();
    assert_eq!(post_json(&server, "/api/v1/other", &json!({})).await.status(), 404);
    assert_eq!(Client::new().get(format!("{}{LOGIN}", server.url())).send().await.unwrap().status(), 404);
    let calls: Vec<_> = server.calls().into_iter().map(|call| (call.call, call.identifier)).collect();
    assert_eq!(calls, [(Call::Unknown, "/api/v1/other".to_owned()), (Call::Unknown, LOGIN.to_owned())]);
    server.clear_log();
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn calls_in_flight_are_counted() {
    let (server, client) = (start(), client());
    server.set_fault(Fault::Slow(Duration::from_millis(500)));
    let (first, second, third) = tokio::join!(send(&client, &server), send(&client, &server), send(&client, &server));
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert_eq!(server.most_in_flight(), 3);
}

#[tokio::test]
#[should_panic(expected = "the document of this server does not allow CaptchaDemanded")]
async fn a_fault_that_the_document_does_not_allow_panics() {
    start().set_fault(Fault::CaptchaDemanded);
}
