//! Every documented call, in every form a client may send it.

use serde_json::json;
use stele_core::user::{Gender, Profile};

use crate::support::{ADMIN, Bench, LOGIN, PWDRESET, REPLAYED, STALE, WRONG, salted};

const LOGIN_SAMPLE: &str = r#"{
   "username":"mark",
   "password":"hna123",
   "timestamp":1521515662
}"#;

const PWDRESET_SAMPLE: &str = r#"{
   "user_id":"4",
   "orig_password":"orig_password",
   "new_password":"new_password",
   "timestamp":1522395456
}"#;

#[tokio::test]
async fn login_answers_the_whole_user_in_the_documents_order() {
    let bench = Bench::new().await;
    let profile = Profile {
        real_name: "马克".into(),
        gender: Some(Gender::Female),
        nickname: "小马".into(),
        avatar_url: "https://img.test/1.png".into(),
        enterprise: "e8d3bc38-beb0-11e7-888f-525400d25920".into(),
        group: "rentuser".into(),
        ..Profile::default()
    };
    let user = bench.lab.user("Mark").phone("13800138000").email("1@hna").profile(profile).admin().add().await;
    for path in [ADMIN, LOGIN] {
        bench.pass(1);
        let answer = bench.prove(path, "mark", &salted("123456", bench.now()), bench.now()).await;
        let (id, alias, token) = (user.id, &user.alias_id, answer.token());
        let expected = format!(
            concat!(
                r#"{{"message":"Succ","code":"0000","data":{{"user_id":"{id}","user_name":"Mark","#,
                r#""register_time":"2026-01-01T16:00:00.000000+08:00","status":"","#,
                r#""avatar_url":"https://img.test/1.png","user_phone":"13800138000","user_email":"1@hna","#,
                r#""user_token":"{token}","user_real_name":"马克","user_gender":"女","user_nickname":"小马","#,
                r#""user_alias_id":"{alias}","role":"1","group":"admin"}}}}"#
            ),
            id = id,
            token = token,
            alias = alias
        );
        answer.is(200, &expected);
        for hex in [token.as_str(), alias] {
            assert!(hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{hex}");
        }
    }
}

#[tokio::test]
async fn a_user_is_told_apart_from_an_administrator() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let data = bench.login("mark", "123456").await.json()["data"].clone();
    assert_eq!((&data["role"], &data["group"], &data["status"]), (&json!("2"), &json!("user"), &json!("")));
    assert!(data.get("enterprise").is_none());
    for name in ["avatar_url", "user_phone", "user_email", "user_real_name", "user_gender", "user_nickname"] {
        assert_eq!(data[name], "", "{name}");
    }
}

#[tokio::test]
async fn times_are_told_at_the_offset_that_is_set() {
    for (offset, told) in [("Z", "2026-01-01T08:00:00.000000Z"), ("-03:30", "2026-01-01T04:30:00.000000-03:30")] {
        let bench = Bench::with(&[("STELE_TMS_TZ", offset)]).await;
        bench.lab.user("mark").add().await;
        assert_eq!(bench.login("mark", "123456").await.json()["data"]["register_time"], told);
    }
}

#[tokio::test]
async fn a_user_logs_in_by_name_phone_or_email_in_any_letter_case() {
    let bench = Bench::new().await;
    bench.lab.user("Mark").phone("1548736484").email("Mark@hna").add().await;
    for username in ["Mark", "MARK", "1548736484", "mark@HNA"] {
        bench.pass(1);
        bench.login(username, "123456").await.token();
    }
}

#[tokio::test]
async fn login_is_read_from_every_kind_of_body() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    for (kind, form) in [
        ("application/json", r#"{"username":"mark","password":"P","timestamp":T}"#),
        ("application/json", r#"{"username":"mark","password":"P","timestamp":"T","extra":[1,{"a":null}]}"#),
        ("application/json; charset=UTF-8", "\u{feff} {\"timestamp\":T,\"password\":\"P\",\"username\":\"mark\"}\n"),
        ("text/plain", r#"{"username":"mark","password":"P","timestamp":T}"#),
        ("application/x-www-form-urlencoded", "username=mark&password=P&timestamp=T"),
        ("multipart/form-data", "username=m%61rk&password=P&timestamp=T"),
        (
            "multipart/form-data; boundary=b",
            "--b\r\ncontent-disposition: form-data; name=\"username\"\r\n\r\nmark\r\n\
             --b\r\ncontent-disposition: form-data; name=\"password\"\r\n\r\nP\r\n\
             --b\r\ncontent-disposition: form-data; name=\"timestamp\"\r\n\r\nT\r\n--b--\r\n",
        ),
    ] {
        bench.pass(1);
        let now = bench.now();
        let body = form.replace('P', &salted("123456", now)).replace('T', &now.to_string());
        let answer = bench.post_as(LOGIN, kind, body).await;
        assert_eq!(answer.code(), "0000", "{kind} {form} {answer:?}");
    }
}

#[tokio::test]
async fn pwdreset_takes_every_writing_of_the_user_id() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    let mut token = bench.login("mark", "123456").await.token();
    let id = user.id.to_string();
    let writings = [
        json!(id),
        json!(id.to_uppercase()),
        json!(id.replace('-', "")),
        json!(user.number.to_string()),
        json!(user.number),
    ];
    for (turn, writing) in writings.into_iter().enumerate() {
        bench.pass(1);
        let (old, new) = if turn % 2 == 0 { ("123456", "新密码") } else { ("新密码", "123456") };
        let answer = bench.pwdreset(&token, writing, old, new).await;
        assert_eq!(answer.json()["data"]["user_id"], id, "{answer:?}");
        token = answer.token();
        bench.login("mark", old).await.is(200, WRONG);
        bench.login("mark", new).await.token();
    }
}

#[tokio::test]
async fn pwdreset_answers_what_login_answers() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    let login = bench.login("mark", "123456").await;
    bench.pass(1);
    let reset = bench.pwdreset(&login.token(), user.number, "123456", "654321").await;
    assert_eq!(reset.text.replace(&reset.token(), ""), login.text.replace(&login.token(), ""));
}

#[tokio::test]
async fn the_documents_samples_have_no_digest_in_them() {
    let bench = Bench::new().await;
    bench.lab.user("mark").password("hna123").admin().add().await;
    let named = |name: &str| format!(r#"{{"message":"参数错误: {name}","code":"1001"}}"#);
    for path in [ADMIN, LOGIN] {
        bench.post_as(path, "application/json", LOGIN_SAMPLE).await.is(400, &named("password"));
    }
    bench.post_as(PWDRESET, "application/json", PWDRESET_SAMPLE).await.is(400, &named("orig_password"));
}

#[tokio::test]
async fn the_documents_samples_work_with_digests_where_clocks_may_be_broken() {
    let sample = LOGIN_SAMPLE.replace("hna123", &salted("hna123", 1_521_515_662));
    let bench = Bench::new().await;
    bench.lab.user("mark").password("hna123").admin().add().await;
    bench.post_as(LOGIN, "application/json", sample.clone()).await.is(200, STALE);

    let bench = Bench::with(&[("STELE_TIMESTAMP_SKEW", "0")]).await;
    let user = bench.lab.user("mark").password("hna123").admin().add().await;
    let token = bench.post_as(ADMIN, "application/json", sample.clone()).await.token();
    bench.post_as(LOGIN, "application/json", sample).await.is(200, REPLAYED);
    // The sample's user 4 is nobody here.
    let reset =
        PWDRESET_SAMPLE.replacen(r#":"orig_password""#, &format!(r#":"{}""#, salted("hna123", 1_522_395_456)), 1);
    let reset = reset.replace(r#":"new_password""#, r#":"e10adc3949ba59abbe56e057f20f883e""#);
    let send = async |body: String| {
        let request =
            bench.request(PWDRESET).header("authorization", &token).header("content-type", "application/json");
        bench.send(request.body(body)).await
    };
    send(reset.clone()).await.is(200, WRONG);
    send(reset.replace(r#":"4""#, &format!(r#":"{}""#, user.number))).await.token();
    bench.login("mark", "123456").await.token();
}
