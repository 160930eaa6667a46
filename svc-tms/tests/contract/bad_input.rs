//! Input that cannot be used, on every route: answered in dialect, naming the field.

use reqwest::Method;
use stele_testkit::{md5_hex, raw};

use crate::support::{ADMIN, Bench, LOGIN, PWDRESET, salted};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn no(message: &str) -> String {
    format!(r#"{{"message":"{message}","code":"1001"}}"#)
}

/// The fields of a route, each with a good value.
fn fields(route: &str, now: i64) -> Vec<(&'static str, String)> {
    let (proof, time) = (salted("123456", now), ("timestamp", now.to_string()));
    if route != PWDRESET {
        vec![("username", "mark".to_owned()), ("password", proof), time]
    } else {
        let user = ("user_id", "100001".to_owned());
        vec![user, ("orig_password", proof), ("new_password", md5_hex("654321")), time]
    }
}

fn json_of(fields: &[(&str, String)]) -> String {
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
    format!("{{{}}}", pairs.join(","))
}

fn form_of(fields: &[(&str, String)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn quoted(fields: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    fields.into_iter().map(|(name, value)| (name, format!("{value:?}"))).collect()
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let bench = Bench::new().await;
    for route in [ADMIN, LOGIN, PWDRESET] {
        let unreadable = no("请求无法解析");
        let deep = "[".repeat(20_000) + &"]".repeat(20_000);
        for body in [
            "{".to_owned(),
            r#"{"username":"#.to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            "\"text\"".to_owned(),
            "17".to_owned(),
            r#"{} {}"#.to_owned(),
            r#"{"a":01}"#.to_owned(),
            deep.clone(),
            r#"{"username":"\ud800"}"#.to_owned(),
        ] {
            let answer = bench.post_as(route, JSON, body.clone()).await;
            assert_eq!((answer.status, &answer.text), (400, &unreadable), "{:.60}", body);
        }
        bench.post_as(route, JSON, &b"{\"username\":\"\xff\"}"[..]).await.is(400, &unreadable);
        bench.post_as(route, FORM, &b"username=\xff"[..]).await.is(400, &unreadable);
        bench.post_as(route, FORM, "username=%ff").await.is(400, &unreadable);
        bench.post_as(route, "multipart/form-data; boundary=b", "--b\r\n").await.is(400, &unreadable);
        // Skipped without recursion, then found to be no text.
        let first = no(&format!("参数错误: {}", fields(route, 0)[0].0));
        bench.post_as(route, JSON, format!(r#"{{"{}":{deep}}}"#, fields(route, 0)[0].0)).await.is(400, &first);
        let many: Vec<_> = (0..100).map(|n| format!("f{n}=1")).collect();
        bench.post_as(route, FORM, many.join("&")).await.is(400, &unreadable);
    }
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let bench = Bench::new().await;
    for route in [ADMIN, LOGIN, PWDRESET] {
        let good = fields(route, bench.now());
        for body in ["", "{}"] {
            let first = no(&format!("缺少参数: {}", good[0].0));
            bench.post_as(route, JSON, body).await.is(400, &first);
            bench.post_as(route, FORM, body).await.is(400, &first);
        }
        for at in 0..good.len() {
            let missing = no(&format!("缺少参数: {}", good[at].0));
            let mut without = good.clone();
            without.remove(at);
            bench.post_as(route, FORM, form_of(&without)).await.is(400, &missing);
            bench.post_as(route, JSON, json_of(&quoted(without))).await.is(400, &missing);
            for empty in ["\"\"", "null"] {
                let mut with_empty = quoted(good.clone());
                with_empty[at].1 = empty.to_owned();
                bench.post_as(route, JSON, json_of(&with_empty)).await.is(400, &missing);
            }
        }
    }
}

#[tokio::test]
async fn a_doubled_field_is_named() {
    let bench = Bench::new().await;
    for route in [ADMIN, LOGIN, PWDRESET] {
        let good = fields(route, bench.now());
        for at in 0..good.len() {
            let doubled = no(&format!("参数重复: {}", good[at].0));
            let mut twice = good.clone();
            twice.push(good[at].clone());
            bench.post_as(route, FORM, form_of(&twice)).await.is(400, &doubled);
            bench.post_as(route, JSON, json_of(&quoted(twice))).await.is(400, &doubled);
        }
    }
}

#[tokio::test]
async fn a_field_of_the_wrong_kind_is_named() {
    let bench = Bench::new().await;
    for route in [ADMIN, LOGIN, PWDRESET] {
        let good = quoted(fields(route, bench.now()));
        for at in 0..good.len() {
            for value in ["true", "[]", "{}", "[[1]]", r#"{"$ne":null}"#] {
                let mut bad = good.clone();
                bad[at].1 = value.to_owned();
                let named = no(&format!("参数错误: {}", good[at].0));
                bench.post_as(route, JSON, json_of(&bad)).await.is(400, &named);
            }
        }
    }
}

#[tokio::test]
async fn a_field_with_a_bad_value_is_named() {
    let bench = Bench::new().await;
    let digest = salted("123456", bench.now());
    let hex: &[String] = &[
        "\"123456\"".to_owned(),
        format!("\"{}\"", &digest[1..]),
        format!("\"{digest}0\""),
        format!("\" {digest}\""),
        format!("\"g{}\"", &digest[1..]),
        "\"００b945c1fd92aa2623b704d8d37d8ffc\"".to_owned(),
        "12345678901234567890123456789012".to_owned(),
    ];
    let times =
        ["-1", "1.5", "1e9", "1767254400.0", "\"1767254400.0\"", "\"+1767254400\"", "\" 1767254400\"", "\"0x1\""]
            .into_iter()
            .chain([
                "\"01767254400\"",
                "\"now\"",
                "9223372036854775808",
                "99999999999999999999999",
                "\"１７６７\"",
                "\"NaN\"",
            ]);
    let times: Vec<_> = times.map(str::to_owned).collect();
    let ids = ["\"me\"", "-4", "1.5", "\"{0b922f14-d00b-11e7-aafd-525400bbac8e}\"", "\"1 OR 1=1\"", "\"0b922f14\""];
    let ids: Vec<_> = ids.into_iter().map(str::to_owned).collect();
    for (route, name, values) in [
        (LOGIN, "password", hex),
        (LOGIN, "timestamp", &times),
        (ADMIN, "password", hex),
        (ADMIN, "timestamp", &times),
        (PWDRESET, "orig_password", hex),
        (PWDRESET, "new_password", hex),
        (PWDRESET, "timestamp", &times),
        (PWDRESET, "user_id", &ids),
    ] {
        for value in values {
            let mut bad = quoted(fields(route, bench.now()));
            bad.iter_mut().find(|(known, _)| *known == name).unwrap().1.clone_from(value);
            let answer = bench.post_as(route, JSON, json_of(&bad)).await;
            let expected = (400, no(&format!("参数错误: {name}")));
            assert_eq!((answer.status, answer.text), expected, "{route} {name} {value}");
        }
    }
}

#[tokio::test]
async fn too_much_is_refused_everywhere() {
    let bench = Bench::new().await;
    let large = format!(r#"{{"username":"{}"}}"#, "x".repeat(200_000));
    for route in [ADMIN, LOGIN, PWDRESET] {
        let head = format!("POST {route} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {JSON}\r\n");
        let announced = format!("{head}content-length: {}\r\n\r\n{large}", large.len());
        let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
        for request in [announced, chunked] {
            let answer = raw(bench.service.address(), request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{route}: {answer}");
            assert!(answer.ends_with(&no("请求内容过大")), "{route}: {answer}");
        }
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_in_dialect() {
    let bench = Bench::new().await;
    let http = stele_testkit::http();
    for route in [ADMIN, LOGIN, PWDRESET] {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let request = http.request(method, bench.service.url(route));
            bench.send(request).await.is(405, &no("请求方法不支持"));
        }
    }
    for path in ["/container/api/v1/cloudbox/tms/", "/container/api/v1/cloudbox/tms/auth/login", "/", "/%ff"] {
        for method in [Method::GET, Method::POST] {
            let request = http.request(method, bench.service.url(path));
            bench.send(request).await.is(404, &no("接口不存在"));
        }
    }
}
