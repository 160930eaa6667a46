//! Whatever comes in, the answer is in the dialect and names what is wrong.

use stele_testkit::raw;

use crate::portal::{HOME, PHONE, Portal};

/// The calls that read their body; logout takes any (see `logout.rs`).
const READERS: [&str; 4] = ["/i/register", "/i/login", "/i/resetpwd", "/code/send"];
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

async fn post(portal: &Portal, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> crate::portal::Answer {
    portal.send(portal.request(HOME, path).header("content-type", kind).body(body)).await
}

#[tokio::test]
async fn unreadable_bodies() {
    let portal = Portal::new().await;
    let deep = "[".repeat(20_000);
    let nested = format!(r#"{{"username":{deep}"#);
    let bodies: [(&str, &[u8]); 12] = [
        (JSON, b"{"),
        (JSON, br#"{"username":"1380"#),
        (JSON, b"[]"),
        (JSON, b"null"),
        (JSON, b"{} {}"),
        (JSON, b"{\"username\":\"\xff\"}"),
        (JSON, deep.as_bytes()),
        (JSON, nested.as_bytes()),
        (FORM, b"username=%FF"),
        (FORM, b"\xff\xfe\x00"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\n1"),
        ("multipart/form-data", b"--"),
    ];
    for path in READERS {
        for (kind, body) in bodies {
            let answer = post(&portal, path, kind, body.to_vec()).await;
            answer.refuses("请求无法解析");
        }
    }
}

#[tokio::test]
async fn fields_that_are_missing_doubled_or_of_another_type_are_named() {
    let portal = Portal::new().await;
    let deep = format!(r#"{{"username":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    for path in READERS {
        for (kind, body) in [(JSON, ""), (JSON, "{}"), (FORM, ""), (FORM, "username="), (JSON, r#"{"username":null}"#)]
        {
            post(&portal, path, kind, body).await.refuses("缺少参数: username");
        }
        for body in [r#"{"username":[]}"#, r#"{"username":{"a":1}}"#, r#"{"username":true}"#, &deep].map(str::to_owned)
        {
            post(&portal, path, JSON, body).await.refuses("参数错误: username");
        }
        post(&portal, path, JSON, r#"{"username":"a","username":"b"}"#).await.refuses("参数重复: username");
        post(&portal, path, FORM, "username=a&username=b").await.refuses("参数重复: username");
    }
    for path in ["/i/register", "/i/resetpwd", "/i/login"] {
        let with = |rest: &str| format!("username={PHONE}{rest}");
        post(&portal, path, FORM, with("")).await.refuses("缺少参数: password");
        post(&portal, path, FORM, with("&password=a&password=b")).await.refuses("参数重复: password");
        post(&portal, path, FORM, with("&password=123456!")).await.refuses("参数错误: password");
        let wrong_type = format!(r#"{{"username":"{PHONE}","password":[1]}}"#);
        post(&portal, path, JSON, wrong_type).await.refuses("参数错误: password");
        let good = with("&password=MTIzNDU2");
        post(&portal, path, FORM, format!("{good}&code=a&code=b")).await.refuses("参数重复: code");
        post(&portal, path, FORM, format!("{good}&code=12345!")).await.refuses("参数错误: code");
        let wrong_type = format!(r#"{{"username":"{PHONE}","password":"MTIzNDU2","code":{{}}}}"#);
        post(&portal, path, JSON, wrong_type).await.refuses("参数错误: code");
    }
    for path in ["/i/register", "/i/resetpwd"] {
        let good = format!("username={PHONE}&password=MTIzNDU2");
        for rest in ["", "&code="] {
            post(&portal, path, FORM, format!("{good}{rest}")).await.refuses("缺少参数: code");
        }
    }
}

#[tokio::test]
async fn numbers_may_come_as_numbers() {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).add().await;
    post(&portal, "/i/login", JSON, r#"{"username":13800138000,"password":"aG5hMTIz"}"#).await.is("200");
    post(&portal, "/code/send", JSON, r#"{"username":13800138000}"#).await.is("200");
    post(&portal, "/code/send", JSON, r#"{"username":1.38e10}"#).await.is("3203");
}

#[tokio::test]
async fn large_bodies() {
    let portal = Portal::new().await;
    let large = "x".repeat(200_000);
    for path in [&READERS[..], &["/i/logout"]].concat() {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
        let announced = format!("{head}content-length: 200000\r\n\r\n{large}");
        let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n30d40\r\n{large}\r\n0\r\n\r\n");
        for request in [announced, chunked] {
            let answer = raw(portal.service.address(), request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{path}: {answer}");
            let body = r#"{"status":{"status_code":"413","status_message":"请求内容过大","message":"请求内容过大"},"content":{}}"#;
            assert!(answer.ends_with(body), "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn other_methods_and_paths() {
    let portal = Portal::new().await;
    let client = stele_testkit::http();
    for path in [&READERS[..], &["/i/logout"]].concat() {
        for method in [reqwest::Method::GET, reqwest::Method::PUT, reqwest::Method::DELETE, reqwest::Method::OPTIONS] {
            let answer = portal.send(client.request(method, portal.service.url(path))).await;
            assert_eq!(answer.is("405").text, "请求方法不支持");
        }
    }
    for path in ["/i/", "/i/nothing", "/i/login/", "/i/LOGIN", "/i/login/x", "/code/", "/code/sends", "/", "/i/%00"] {
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            let answer = portal.send(client.request(method, portal.service.url(path))).await;
            assert_eq!(answer.is("404").text, "接口不存在", "{path}");
        }
    }
}

#[tokio::test]
async fn a_login_in_the_query_is_not_read() {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).add().await;
    let path = format!("/i/login?username={PHONE}&password=aG5hMTIz");
    post(&portal, &path, FORM, "").await.refuses("username");
}
