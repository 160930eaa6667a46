//! Bad input on every route: answered in dialect, naming the field.

use crate::Bench;

/// Every POST route and the fields it needs, with values that are readable.
const POSTS: [(&str, &[(&str, &str)]); 4] = [
    ("/api/v1/Auth/Login", &[("account", "a"), ("password", "123456")]),
    ("/api/v1/Auth/ForgetPassword", &[("account", "a"), ("phone", "13800138000")]),
    ("/api/vi/Auth/validatePhone", &[("account", "a"), ("identifyCode", "123456")]),
    ("/api/vi/Auth/updatePassword", &[("account", "a"), ("password", "123456")]),
];
const CAPTCHA: &str = "/api/vi/Auth/CAPTCHA";
const GETS: [&str; 3] = ["/api/v1/Auth/Logout", "/api/vi/Auth/getCAPTCHA", "/api/v1/Auth/CAPTCHA/1"];
const UNREADABLE: &str = "请求无法解析";

fn paths() -> impl Iterator<Item = &'static str> {
    POSTS.iter().map(|(path, _)| *path).chain([CAPTCHA])
}

fn joined(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn object(fields: &[(&str, &str)]) -> String {
    format!("{{{}}}", fields.iter().map(|(name, value)| format!(r#""{name}":"{value}""#)).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let bench = Bench::new().await;
    let deep = format!(r#"{{"account":{}"#, "[".repeat(20_000));
    let bodies: [(&str, &[u8]); 9] = [
        ("application/json", br#"{"account":"a""#),
        ("application/json", br#"["account"]"#),
        ("application/json", br#"{"account":"a"} x"#),
        ("application/json", deep.as_bytes()),
        ("multipart/form-data", b"{\"account\":\xff}"),
        ("multipart/form-data", b"account=\xff\xfe"),
        ("application/x-www-form-urlencoded", b"account=%FF"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\"account\"\r\n\r\na"),
        ("multipart/form-data", b"--\r\n"),
    ];
    for path in paths() {
        for (kind, body) in bodies {
            let request = bench.request("POST", path).header("content-type", kind).body(body.to_vec());
            bench.send(request).await.fails(400, UNREADABLE);
        }
        bench.post(&format!("{path}?account=%FF"), "").await.fails(400, UNREADABLE);
    }
}

#[tokio::test]
async fn fields_that_are_missing() {
    let bench = Bench::new().await;
    for (path, fields) in POSTS {
        bench.post(path, "").await.fails(400, "缺少参数: account");
        bench.post(path, "{}").await.fails(400, "缺少参数: account");
        for missing in fields {
            let rest: Vec<_> = fields.iter().copied().filter(|field| field != missing).collect();
            let message = format!("缺少参数: {}", missing.0);
            bench.post(path, &joined(&rest)).await.fails(400, &message);
            bench.post(path, &object(&rest)).await.fails(400, &message);
            bench.post(path, &format!("{}&{}=", joined(&rest), missing.0)).await.fails(400, &message);
            let null = object(&rest).replacen('{', &format!(r#"{{"{}":null,"#, missing.0), 1);
            bench.post(path, &null).await.fails(400, &message);
        }
    }
}

#[tokio::test]
async fn fields_that_are_doubled() {
    let bench = Bench::new().await;
    for (path, fields) in POSTS {
        for (name, value) in fields {
            let message = format!("参数重复: {name}");
            bench.post(path, &format!("{}&{name}={value}", joined(fields))).await.fails(400, &message);
            let twice = object(fields).replacen('{', &format!(r#"{{"{name}":"{value}","#), 1);
            bench.post(path, &twice).await.fails(400, &message);
            bench.post(&format!("{path}?{name}={value}"), &joined(fields)).await.fails(400, &message);
            bench.post(&format!("{path}?{name}={value}"), &object(fields)).await.fails(400, &message);
        }
    }
}

#[tokio::test]
async fn values_of_another_type() {
    let bench = Bench::new().await;
    for (path, fields) in POSTS {
        for wrong in ["true", "[]", "{}", r#"{"$ne":""}"#] {
            for (name, value) in fields {
                let body = object(fields).replace(&format!(r#""{name}":"{value}""#), &format!(r#""{name}":{wrong}"#));
                bench.post(path, &body).await.fails(400, &format!("参数错误: {name}"));
            }
        }
    }
    for wrong in ["-1", "1.5", "1e3", "x", "9007199254740992", "99999999999999999999999", "%2B1"] {
        let body = format!("account=a&password=123456&captcha=x&captchaId={wrong}");
        bench.post("/api/v1/Auth/Login", &body).await.fails(400, "参数错误: captchaId");
    }
    for wrong in ["-1", "1.5", "1e3", "true", "9007199254740992"] {
        let body = format!(r#"{{"account":"a","password":"1","captchaId":{wrong}}}"#);
        bench.post("/api/v1/Auth/Login", &body).await.fails(400, "参数错误: captchaId");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let bench = Bench::new().await;
    for path in paths() {
        let body = format!("account=a&password={}", "x".repeat(200_000));
        bench.post(path, &body).await.fails(413, "请求内容过大");
    }
}

#[tokio::test]
async fn other_methods() {
    let bench = Bench::new().await;
    for path in paths() {
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            bench.send(bench.request(method, path)).await.fails(405, "请求方法不支持");
        }
    }
    for path in GETS {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            bench.send(bench.request(method, path)).await.fails(405, "请求方法不支持");
        }
    }
}

#[tokio::test]
async fn other_paths() {
    let bench = Bench::new().await;
    for path in [
        "/",
        "/api/v1/Auth/",
        "/api/v1/Auth/Nothing",
        "/api/v1/Auth/Login/",
        "/api/v1/Auth/Login/x",
        "/api/v2/Auth/Login",
        "/api/v1i/Auth/Login",
        "/x/api/v1/Auth/Login",
        "/api/v1/Auth//Login",
        "/api/v1/Auth/CAPTCHA/1/2",
        "/api/v1/Auth/CAPTCHA/",
    ] {
        bench.get(path).await.fails(404, "接口不存在");
        bench.post(path, "account=a&password=123456").await.fails(404, "接口不存在");
    }
}

#[tokio::test]
async fn a_get_does_not_read_its_body() {
    let bench = Bench::new().await;
    let request = bench.request("GET", "/api/vi/Auth/getCAPTCHA").body("{");
    assert_eq!(bench.send(request).await.message(), "获取验证码成功");
}
