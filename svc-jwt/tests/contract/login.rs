//! 登录 and 登出.

use stele_core::user::{Gender, Profile};

use stele_testkit::conformance::{DialectUnderTest as _, PHONE, token_header_variants};

use crate::{ResponseExt as _, TestService};

const LOGIN: &str = "/api/v1/Auth/Login";

fn profile() -> Profile {
    Profile {
        real_name: "张三".into(),
        gender: Some(Gender::Male),
        avatar_url: "http://a.cn/1.png".into(),
        organization: "海航".into(),
        department: "研发".into(),
        description: "说明".into(),
        ..Profile::default()
    }
}

#[tokio::test]
async fn login_returns_the_documented_fields_in_order() {
    let bench = TestService::new().await;
    let user = bench.lab.user("Mark").admin().profile(profile()).add().await;
    let answer = bench.post(LOGIN, "account=mark&password=123456").await;
    let token = answer.token();
    let expected = format!(
        r#"{{"code":0,"message":"登录成功","user":{{"userId":"{}","account":"Mark","realName":"张三","organizationName":"海航","departmentName":"研发","roleName":"admin","description":"说明","avatar":"http://a.cn/1.png","gender":true}},"token":"{token}"}}"#,
        user.id
    );
    assert_eq!(answer.text, expected);
    assert_eq!(answer.header("authorization"), format!("Bearer {token}"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
}

#[tokio::test]
async fn missing_user_fields_are_empty() {
    let bench = TestService::new().await;
    bench.lab.user("a").add().await;
    bench.lab.user("w").profile(Profile { gender: Some(Gender::Female), ..profile() }).add().await;
    let user = &bench.post(LOGIN, "account=a&password=123456").await.json()["user"];
    for field in ["realName", "organizationName", "departmentName", "description", "avatar"] {
        assert_eq!(user[field], "", "{field}");
    }
    assert_eq!((&user["gender"], &user["roleName"]), (&false.into(), &"user".into()));
    assert_eq!(bench.post(LOGIN, "account=w&password=123456").await.json()["user"]["gender"], false);
}

#[tokio::test]
async fn login_accepts_any_path_case_and_body_format() {
    let bench = TestService::new().await;
    bench.lab.user("a").phone("13800138000").email("a@b.cn").add().await;
    for path in ["/api/vi/Auth/Login", "/api/v1/auth/login", "/API/V1/AUTH/LOGIN", "/Api/VI/aUTH/lOGIN"] {
        assert_eq!(bench.post(path, "account=a&password=123456").await.message(), "登录成功", "{path}");
    }
    let post = |path: &str| bench.request("POST", path);
    let part = reqwest::multipart::Form::new().text("account", "a").text("password", "123456");
    let requests = [
        post(LOGIN).multipart(part),
        post(LOGIN).header("content-type", "application/x-www-form-urlencoded").body("account=a&password=123456"),
        post(LOGIN).json(&serde_json::json!({"account": "a", "password": "123456"})),
        post(LOGIN).body(r#"{"account":"a","password":123456}"#),
        post("/api/v1/Auth/Login?account=a&password=123456"),
        post("/api/v1/Auth/Login?account=a").header("content-type", "multipart/form-data").body("password=123456"),
    ];
    for (at, request) in requests.into_iter().enumerate() {
        assert_eq!(bench.send(request).await.message(), "登录成功", "request {at}");
    }
}

#[tokio::test]
async fn logout_ends_only_its_session() {
    let bench = TestService::new().await;
    bench.lab.user("a").add().await;
    let (one, two) = (bench.login("a", "123456").await, bench.login("a", "123456").await);
    assert_ne!(one, two);
    assert_eq!(bench.logout(&format!("bearer {one}")).await.text, r#"{"code":0,"message":"注销成功"}"#);
    bench.logout(&one).await.assert_error(401, "注销失败");
    assert!(bench.is_session_valid(&two).await);
    let by_token = bench.request("GET", "/api/vi/Auth/Logout").header("token", &two);
    assert_eq!(bench.send(by_token).await.message(), "注销成功");
    bench.get("/api/v1/Auth/Logout").await.assert_error(401, "注销失败");
}

#[tokio::test]
async fn a_token_is_accepted_in_every_format_in_both_headers() {
    let bench = TestService::new().await;
    bench.lab.user("a").add().await;
    for n in 0..token_header_variants("").len() {
        for header in ["authorization", "token"] {
            let token = bench.login("a", "123456").await;
            let logout =
                || bench.request("GET", "/api/v1/Auth/Logout").header(header, &token_header_variants(&token)[n]);
            assert_eq!(bench.send(logout()).await.message(), "注销成功", "{header}: {}", token_header_variants("…")[n]);
            bench.send(logout()).await.assert_error(401, "注销失败");
        }
    }
}

#[tokio::test]
async fn the_token_header_is_used_where_authorization_has_no_live_token() {
    let bench = TestService::new().await;
    bench.lab.user("a").add().await;
    let dead = bench.login("a", "123456").await;
    bench.logout(&dead).await;
    for authorization in ["", "other", "Bearer", "Basic YTpi", &dead, "Bearer a.b.c"] {
        let token = bench.login("a", "123456").await;
        let logout = || bench.request("GET", "/api/v1/Auth/Logout").header("token", &token);
        // Twice the same header is none, whatever else is there.
        bench.send(logout().header("token", &token)).await.assert_error(401, "注销失败");
        bench
            .send(logout().header("authorization", "x").header("authorization", "y"))
            .await
            .assert_error(401, "注销失败");
        let answer = bench.send(logout().header("authorization", authorization)).await;
        assert_eq!(answer.message(), "注销成功", "{authorization}");
        assert!(!bench.is_session_valid(&token).await);
    }
    // Of two live ones it is `Authorization`'s.
    let (one, two) = (bench.login("a", "123456").await, bench.login("a", "123456").await);
    let both = bench.request("GET", "/api/v1/Auth/Logout").header("token", &two).header("authorization", &one);
    assert_eq!(bench.send(both).await.message(), "注销成功");
    assert!(!bench.is_session_valid(&one).await && bench.is_session_valid(&two).await);
    // And never the query's, which is in every log on the way.
    bench.get(&format!("/api/v1/Auth/Logout?token={two}&authorization={two}")).await.assert_error(401, "注销失败");
    assert!(bench.is_session_valid(&two).await);
}

#[tokio::test]
async fn a_password_change_uses_the_first_header_with_a_sufficient_token() {
    let bench = TestService::new().await;
    bench.lab.user("a").phone(PHONE).add().await;
    let old = bench.login("a", "123456").await;
    bench.advance_clock(901);
    let reset = bench.reset_token("a", PHONE).await;
    let form = |password: &str| {
        bench.urlencoded_post("/api/vi/Auth/updatePassword", &format!("account=a&password={password}"))
    };
    // A login that is too old does not do; the reset token beside it does, and once.
    let both = |password: &str| form(password).header("authorization", format!("Bearer {old}")).header("token", &reset);
    assert_eq!(bench.send(both("654321")).await.message(), "更新密码成功");
    bench.send(both("765432")).await.assert_error(401, "更新密码失败");
    bench.login("a", "654321").await;
}

#[tokio::test]
async fn a_token_expires_with_the_initial_session_lifetime() {
    let bench = TestService::with_settings(&[("STELE_SESSION_TTL", "1h")]).await;
    bench.lab.user("a").add().await;
    let (one, two) = (bench.login("a", "123456").await, bench.login("a", "123456").await);
    bench.advance_clock(3_599);
    assert_eq!(bench.logout(&one).await.message(), "注销成功");
    bench.advance_clock(1);
    bench.logout(&two).await.assert_error(401, "注销失败");
}
