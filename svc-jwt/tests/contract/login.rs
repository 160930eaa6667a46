//! Login (登录) and logout (登出).

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
    let service = TestService::new().await;
    let user = service.lab.user("Mark").admin().profile(profile()).add().await;
    let response = service.post(LOGIN, "account=mark&password=123456").await;
    let token = response.token();
    let expected = format!(
        r#"{{"code":0,"message":"登录成功","user":{{"userId":"{}","account":"Mark","realName":"张三","organizationName":"海航","departmentName":"研发","roleName":"admin","description":"说明","avatar":"http://a.cn/1.png","gender":true}},"token":"{token}"}}"#,
        user.id
    );
    assert_eq!(response.text, expected);
    assert_eq!(response.header("authorization"), format!("Bearer {token}"));
    assert_eq!(response.header("cache-control"), "no-store");
    assert_eq!(response.header("content-type"), "application/json; charset=utf-8");
}

#[tokio::test]
async fn missing_user_fields_are_empty() {
    let service = TestService::new().await;
    service.lab.user("a").add().await;
    service.lab.user("w").profile(Profile { gender: Some(Gender::Female), ..profile() }).add().await;
    let user = &service.post(LOGIN, "account=a&password=123456").await.json()["user"];
    for field in ["realName", "organizationName", "departmentName", "description", "avatar"] {
        assert_eq!(user[field], "", "{field}");
    }
    assert_eq!((&user["gender"], &user["roleName"]), (&false.into(), &"user".into()));
    assert_eq!(service.post(LOGIN, "account=w&password=123456").await.json()["user"]["gender"], false);
}

#[tokio::test]
async fn login_accepts_any_path_case_and_body_format() {
    let service = TestService::new().await;
    service.lab.user("a").phone("13800138000").email("a@b.cn").add().await;
    // The API document writes both `vi` and `v1`.
    for path in ["/api/vi/Auth/Login", "/api/v1/auth/login", "/API/V1/AUTH/LOGIN", "/Api/VI/aUTH/lOGIN"] {
        assert_eq!(service.post(path, "account=a&password=123456").await.message(), "登录成功", "{path}");
    }
    let build_post = |path: &str| service.request("POST", path);
    let part = reqwest::multipart::Form::new().text("account", "a").text("password", "123456");
    let requests = [
        build_post(LOGIN).multipart(part),
        build_post(LOGIN).header("content-type", "application/x-www-form-urlencoded").body("account=a&password=123456"),
        build_post(LOGIN).json(&serde_json::json!({"account": "a", "password": "123456"})),
        build_post(LOGIN).body(r#"{"account":"a","password":123456}"#),
        build_post("/api/v1/Auth/Login?account=a&password=123456"),
        build_post("/api/v1/Auth/Login?account=a")
            .header("content-type", "multipart/form-data")
            .body("password=123456"),
    ];
    for (index, request) in requests.into_iter().enumerate() {
        assert_eq!(service.send(request).await.message(), "登录成功", "request {index}");
    }
}

#[tokio::test]
async fn logout_ends_only_its_session() {
    let service = TestService::new().await;
    service.lab.user("a").add().await;
    let (first, second) = (service.login("a", "123456").await, service.login("a", "123456").await);
    assert_ne!(first, second);
    assert_eq!(service.logout(&format!("bearer {first}")).await.text, r#"{"code":0,"message":"注销成功"}"#);
    service.logout(&first).await.assert_error(401, "注销失败");
    assert!(service.is_session_valid(&second).await);
    let by_token = service.request("GET", "/api/vi/Auth/Logout").header("token", &second);
    assert_eq!(service.send(by_token).await.message(), "注销成功");
    service.get("/api/v1/Auth/Logout").await.assert_error(401, "注销失败");
}

#[tokio::test]
async fn a_token_is_accepted_in_every_format_in_both_headers() {
    let service = TestService::new().await;
    service.lab.user("a").add().await;
    for n in 0..token_header_variants("").len() {
        for header in ["authorization", "token"] {
            let token = service.login("a", "123456").await;
            let build_logout =
                || service.request("GET", "/api/v1/Auth/Logout").header(header, &token_header_variants(&token)[n]);
            assert_eq!(
                service.send(build_logout()).await.message(),
                "注销成功",
                "{header}: {}",
                token_header_variants("…")[n]
            );
            service.send(build_logout()).await.assert_error(401, "注销失败");
        }
    }
}

#[tokio::test]
async fn the_token_header_is_used_where_authorization_has_no_live_token() {
    let service = TestService::new().await;
    service.lab.user("a").add().await;
    let ended_token = service.login("a", "123456").await;
    service.logout(&ended_token).await;
    for authorization in ["", "other", "Bearer", "Basic YTpi", &ended_token, "Bearer a.b.c"] {
        let token = service.login("a", "123456").await;
        let build_logout = || service.request("GET", "/api/v1/Auth/Logout").header("token", &token);
        // A repeated header is ambiguous, so the request presents no token at all.
        service.send(build_logout().header("token", &token)).await.assert_error(401, "注销失败");
        service
            .send(build_logout().header("authorization", "x").header("authorization", "y"))
            .await
            .assert_error(401, "注销失败");
        let response = service.send(build_logout().header("authorization", authorization)).await;
        assert_eq!(response.message(), "注销成功", "{authorization}");
        assert!(!service.is_session_valid(&token).await);
    }
    // Of two valid tokens the one in `Authorization` is used.
    let (first, second) = (service.login("a", "123456").await, service.login("a", "123456").await);
    let both = service.request("GET", "/api/v1/Auth/Logout").header("token", &second).header("authorization", &first);
    assert_eq!(service.send(both).await.message(), "注销成功");
    assert!(!service.is_session_valid(&first).await && service.is_session_valid(&second).await);
    // A token in the query string is ignored, because proxies log URLs.
    service
        .get(&format!("/api/v1/Auth/Logout?token={second}&authorization={second}"))
        .await
        .assert_error(401, "注销失败");
    assert!(service.is_session_valid(&second).await);
}

#[tokio::test]
async fn a_password_change_uses_the_header_whose_token_permits_it() {
    let service = TestService::new().await;
    service.lab.user("a").phone(PHONE).add().await;
    let old_login_token = service.login("a", "123456").await;
    service.advance_clock(901);
    let reset = service.reset_token("a", PHONE).await;
    let build_form = |password: &str| {
        service.urlencoded_post("/api/vi/Auth/updatePassword", &format!("account=a&password={password}"))
    };
    // The login token is too old, so the reset token in the other header is used, and only once.
    let with_both_headers = |password: &str| {
        build_form(password).header("authorization", format!("Bearer {old_login_token}")).header("token", &reset)
    };
    assert_eq!(service.send(with_both_headers("654321")).await.message(), "更新密码成功");
    service.send(with_both_headers("765432")).await.assert_error(401, "更新密码失败");
    service.login("a", "654321").await;
}

#[tokio::test]
async fn a_token_expires_when_its_session_does() {
    let service = TestService::with_settings(&[("STELE_SESSION_TTL", "1h")]).await;
    service.lab.user("a").add().await;
    let (first, second) = (service.login("a", "123456").await, service.login("a", "123456").await);
    service.advance_clock(3_599);
    assert_eq!(service.logout(&first).await.message(), "注销成功");
    service.advance_clock(1);
    service.logout(&second).await.assert_error(401, "注销失败");
}
