//! Bad input on every route, around the envelope and in it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{Bench, ROUTES, SHUT, seal};

fn plain(code: u32, message: &str) -> String {
    format!(r#"{{"result":0,"errors":{{"code":{code},"message":"{message}"}}}}"#)
}

#[actix_web::test]
async fn what_is_wrong_around_the_envelope_is_told_in_plain() {
    let bench = Bench::new().await;
    let deep = format!("{}{}", r#"{"encrypt":"#, "[".repeat(20_000));
    let both = [("encrypt", "app_from"), ("app_from", "encrypt")];
    for (path, inner) in ROUTES {
        let sealed = seal("melink", inner);
        let mut cases = vec![
            (String::new(), plain(40000, "缺少参数: encrypt")),
            ("{}".to_owned(), plain(40000, "缺少参数: encrypt")),
            ("{\"encrypt\":\"".to_owned(), SHUT.to_owned()),
            ("[]".to_owned(), SHUT.to_owned()),
            ("null".to_owned(), SHUT.to_owned()),
            (deep.clone(), SHUT.to_owned()),
        ];
        for (here, gone) in both {
            let values = json!({ "encrypt": sealed, "app_from": "melink" });
            let one = values[here].to_string();
            cases.push((format!("{{\"{here}\":{one}}}"), plain(40000, &format!("缺少参数: {gone}"))));
            cases.push((format!("{{\"{here}\":{one},\"{gone}\":\"\"}}"), plain(40000, &format!("缺少参数: {gone}"))));
            cases.push((format!("{{\"{here}\":{one},\"{gone}\":null}}"), plain(40000, &format!("缺少参数: {gone}"))));
            cases.push((format!("{{\"{here}\":{one},\"{gone}\":[1]}}"), plain(40000, &format!("参数错误: {gone}"))));
            cases.push((format!("{{\"{here}\":{one},\"{here}\":{one}}}"), plain(40000, &format!("参数重复: {here}"))));
        }
        for (body, expected) in cases {
            let told = bench.post("melink", path, "application/json", body.clone()).await;
            assert_eq!((told.status, told.text, told.encrypted), (400, expected, false), "{path} {body:.80}");
        }
        let told = bench.post("melink", path, "application/json", b"{\"encrypt\":\"\xff\"}".to_vec()).await;
        assert_eq!((told.status, told.text.as_str()), (400, SHUT));
        let form = "encrypt=AAAA&app_from=melink&encrypt=BBBB";
        let told = bench.post("melink", path, "application/x-www-form-urlencoded", form).await;
        assert_eq!((told.status, told.text), (400, plain(40000, "参数重复: encrypt")));
    }
}

#[actix_web::test]
async fn each_inner_field_is_named_in_an_encrypted_answer() {
    let bench = Bench::new().await;
    for (path, inner) in ROUTES {
        let whole: serde_json::Map<String, Value> = serde_json::from_str(inner).unwrap();
        for name in whole.keys() {
            let mut without = whole.clone();
            without.remove(name);
            let others: String = without.iter().map(|(name, value)| format!("\"{name}\":{value},")).collect();
            let cases = [
                (format!("{{{others}\"x\":1}}"), "缺少参数"),
                (format!("{{{others}\"{name}\":\"\"}}"), "缺少参数"),
                (format!("{{{others}\"{name}\":null}}"), "缺少参数"),
                (format!("{{{others}\"{name}\":[1]}}"), "参数错误"),
                (format!("{{{others}\"{name}\":{{\"a\":1}}}}"), "参数错误"),
                (format!("{{{others}\"{name}\":true}}"), "参数错误"),
                (format!("{{{others}\"{name}\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000)), "参数错误"),
                (format!("{{{others}\"{name}\":\"1\",\"{name}\":\"2\"}}"), "参数重复"),
            ];
            for (inner, word) in cases {
                let told = bench.call("melink", path, &inner).await;
                let expected = plain(40000, &format!("{word}: {name}"));
                assert_eq!((told.status, told.text, told.encrypted), (400, expected, true), "{path} {inner:.80}");
            }
        }
    }
}

#[actix_web::test]
async fn an_unknown_usage_is_named() {
    let bench = Bench::new().await;
    for usage in [json!(0), json!(3), json!("x"), json!(1.0), json!(-1)] {
        let told = bench.melink("/auth/captcha", &json!({ "login_name": "15068880258", "usage": usage })).await;
        assert_eq!((told.status, told.text), (400, plain(40000, "参数错误: usage")), "{usage}");
    }
}

#[actix_web::test]
async fn other_paths_methods_and_sizes_are_refused_in_the_dialect() {
    let bench = Bench::new().await;
    for (path, _) in ROUTES {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
            let told = bench.ask(method, path).await;
            assert_eq!((told.status, told.text), (405, plain(40500, "请求方法不支持")));
        }
        let large = json!({ "encrypt": "A".repeat(200_000), "app_from": "melink" }).to_string();
        let told = bench.post("melink", path, "application/json", large).await;
        assert_eq!((told.status, told.text), (413, plain(41300, "请求内容过大")));
    }
    for path in ["/auth/", "/auth/nothing", "/auth/check", "/auth/login/", "/auth/Login", "/auth/check/password"] {
        let told = bench.post("melink", path, "application/json", "{}").await;
        assert_eq!((told.status, told.text), (404, plain(40400, "接口不存在")), "{path}");
    }
}

#[actix_web::test]
async fn the_envelope_may_come_in_any_form() {
    let bench = Bench::new().await;
    let (path, inner) = ("/auth/check/loginname", r#"{"login_name":"15068880258"}"#);
    let sealed = (0..100).map(|n| seal("melink", &format!("{inner}{}", " ".repeat(n)))).find(|s| s.contains('+'));
    let sealed = sealed.unwrap();
    let escaped = sealed.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let wrapped = sealed.as_bytes().chunks(20).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>();
    let parts = format!(
        "--x\r\ncontent-disposition: form-data; name=\"encrypt\"\r\n\r\n{sealed}\r\n--x\r\n\
         content-disposition: form-data; name=\"app_from\"\r\n\r\nmelink\r\n--x--\r\n"
    );
    for (kind, body) in [
        ("application/json", json!({ "encrypt": sealed, "app_from": "melink" }).to_string()),
        ("text/plain", json!({ "app_from": "melink", "encrypt": sealed, "more": [1] }).to_string()),
        ("application/json", json!({ "encrypt": wrapped.join("\n"), "app_from": "melink" }).to_string()),
        ("application/json", json!({ "encrypt": wrapped.join("\r\n") + "\r\n", "app_from": "melink" }).to_string()),
        ("application/json", json!({ "encrypt": sealed.trim_end_matches('='), "app_from": "melink" }).to_string()),
        ("application/json", json!({ "encrypt": sealed, "app_from": "melink" }).to_string().replace('/', "\\/")),
        ("application/x-www-form-urlencoded", format!("encrypt={escaped}&app_from=melink")),
        ("application/x-www-form-urlencoded", format!("app_from=melink&encrypt={sealed}")),
        ("multipart/form-data; boundary=x", parts),
        ("multipart/form-data", format!("encrypt={sealed}&app_from=melink")),
    ] {
        let told = bench.post("melink", path, kind, body.clone()).await;
        assert_eq!((told.code(), told.encrypted), (40005, true), "{kind} {body}");
    }
}
