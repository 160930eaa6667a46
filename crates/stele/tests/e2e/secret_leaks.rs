//! Secret leaks: at log level `trace`, with every kind of secret in use, none is in the log, the traces, the metrics,
//! the commands' output (standard error of all, standard output of `user list`, `user show` and `check`), or a file of
//! the data folder other than the outbox and the keys.

use std::path::Path;

use reqwest::Method;
use serde_json::json;

use crate::client::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGIN, CLOUDBOX_LOGOUT, DialectClient, DialectKind, MefpApp,
    TMS_CHANGE_PASSWORD, TMS_LOGIN, TestUser, encode_base64, fresh_timestamp, md5_hex, password_change_body,
    salted_proof,
};
use crate::support::{CommandOutput, Installation, Server};
use crate::trace_collector::Collector;

const PHONE: &str = "13800138000";

/// The secrets that must not be found anywhere.
#[derive(Default)]
struct SecretTracker {
    texts: Vec<(String, Vec<u8>)>,
    /// Codes by kind. Six digits can occur by chance, so only all codes of a kind together count as a leak.
    codes: Vec<(&'static str, Vec<String>)>,
    command_output: Vec<u8>,
}

impl SecretTracker {
    fn track(&mut self, what: &str, secret: &str) -> String {
        assert!(secret.len() >= 8, "{what} is too short to search for: {secret}");
        self.texts.push((what.to_owned(), secret.as_bytes().to_vec()));
        secret.to_owned()
    }

    /// Tracks a token, and the bytes that its hex digits encode.
    fn track_token(&mut self, what: &str, secret: &str) -> String {
        if secret.len() == 32 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.track_hex(what, secret);
        }
        self.track(what, secret)
    }

    fn track_hex(&mut self, what: &str, hex: &str) {
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        self.texts.push((format!("{what}, as bytes"), bytes));
        self.track(&format!("{what}, upper case"), &hex.to_uppercase());
    }

    /// Tracks a password, its base64 and its md5.
    fn track_password(&mut self, what: &str, password: &str) -> String {
        self.track(&format!("base64 of {what}"), encode_base64(password).trim_end_matches('='));
        let digest = self.track(&format!("digest of {what}"), &md5_hex(password));
        self.track_hex(&format!("digest of {what}"), &digest);
        self.track(what, password)
    }

    fn track_code(&mut self, kind: &'static str, code: String) -> String {
        match self.codes.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, codes)) => codes.push(code.clone()),
            None => self.codes.push((kind, vec![code.clone()])),
        }
        code
    }

    /// Records a command's standard error; returns the last word of its standard output.
    fn record_output(&mut self, outcome: &CommandOutput) -> String {
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        self.command_output.extend(outcome.stderr.as_bytes());
        outcome.stdout.split_whitespace().last().unwrap_or_default().to_owned()
    }

    fn assert_not_in(&self, place: &str, bytes: &[u8]) {
        for (what, secret) in &self.texts {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{what} ({}) is in {place}", String::from_utf8_lossy(secret));
        }
        for (kind, codes) in &self.codes {
            assert!(codes.len() > 2, "too few codes of {kind} to look for");
            let contains_code = |code: &String| {
                let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
                let mut at = (0..bytes.len().saturating_sub(5)).filter(|at| &bytes[*at..*at + 6] == code.as_bytes());
                at.any(|at| !is_digit(at.checked_sub(1)) && !is_digit(Some(at + 6)))
            };
            assert!(!codes.iter().all(contains_code), "codes of {kind} are in {place}: {codes:?}");
        }
    }

    /// Searches every file below `folder`, except for the outbox and the keys; returns the number of files.
    fn assert_not_in_files(&self, folder: &Path) -> usize {
        let mut searched = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().unwrap() {
                "outbox.jsonl" | "keys" => {}
                _ if path.is_dir() => searched += self.assert_not_in_files(&path),
                _ => {
                    self.assert_not_in(&path.display().to_string(), &std::fs::read(&path).unwrap());
                    searched += 1;
                }
            }
        }
        searched
    }
}

async fn exercise_portal(client: &DialectClient, server: &Server, secrets: &mut SecretTracker) {
    let send_code = async |already_sent: usize| {
        client.post_form("/code/send", &[], &[("username", "13900139000")]).await.assert_success();
        server.next_code("13900139000", already_sent)
    };
    for (index, path) in ["/i/register", "/i/resetpwd", "/i/resetpwd"].into_iter().enumerate() {
        let code = secrets.track_code("the portal", send_code(index).await);
        let password =
            encode_base64(&secrets.track_password("a password at the portal", &format!("portal-secret-{index}")));
        let fields = [("username", "13900139000"), ("password", &password), ("code", &encode_base64(&code))];
        client.post_form(path, &[], &fields).await.assert_success();
        let login = [("username", "13900139000"), ("password", &password)];
        let response = client.post_form("/i/login", &[], &login).await.assert_success();
        let cookie = response.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        secrets.track_token("the portal's cookie", cookie.split_once('=').unwrap().1);
        client.post_form("/i/logout", &[("cookie", &cookie)], &[("username", "13900139000")]).await.assert_success();
    }
}

async fn exercise_mefp(client: &DialectClient, server: &Server, secrets: &mut SecretTracker) {
    let phone = "13900139001";
    for (index, (path, usage)) in [("register", 1), ("forgot", 2), ("forgot", 2)].into_iter().enumerate() {
        client.call_mefp("/auth/captcha", &json!({ "login_name": phone, "usage": usage })).await.assert_success();
        let code = secrets.track_code("MeFP", server.next_code(phone, index));
        client.call_mefp("/auth/check/captcha", &json!({ "login_name": phone, "captcha": code })).await;
        let password = secrets.track_password("a password at MeFP", &format!("mefp-secret-{index}"));
        let message = json!({ "login_name": phone, "password": password, "new_password": password, "captcha": code });
        client.call_mefp(&format!("/auth/{path}"), &message).await.assert_success();
    }
    client
        .call_mefp("/auth/login", &json!({ "login_name": phone, "password": "mefp-secret-2" }))
        .await
        .assert_success();
    let token = client
        .call_mefp("/auth/token", &json!({ "login_name": phone, "app_to": "melink" }))
        .await
        .assert_success()
        .token();
    secrets.track_token("a MeFP token", &token);
    client.call_mefp("/auth/check/token", &json!({ "token": token })).await.assert_success();
}

async fn exercise_salted(
    client: &DialectClient,
    person: &TestUser,
    password: &str,
    secrets: &mut SecretTracker,
) -> String {
    let mut password = password.to_owned();
    for (index, path) in [CLOUDBOX_CHANGE_PASSWORD, TMS_CHANGE_PASSWORD].into_iter().enumerate() {
        let at = fresh_timestamp();
        let salted = secrets.track_token("a salted digest", &salted_proof(&password, at));
        let body = json!({ "username": person.name, "password": salted, "timestamp": at });
        let response = client.post_json(CLOUDBOX_LOGIN, &[], &body).await.assert_success();
        secrets.track_token("a cloudbox token", &response.token());
        let digest = json!({ "username": person.name, "password": md5_hex(&password), "timestamp": fresh_timestamp() });
        let token = client
            .post_json(TMS_LOGIN, &[("authorization", &client.client_token)], &digest)
            .await
            .assert_success()
            .token();
        secrets.track_token("a TMS token", &token);
        let new = secrets.track_password("a changed password", &format!("changed-secret-{index}"));
        let body = password_change_body(&person.id, &password, &new);
        secrets.track_token("a salted digest", body["orig_password"].as_str().unwrap());
        let fresh = client.post_json(path, &[("authorization", &token)], &body).await.assert_success().token();
        secrets.track_token("a fresh token", &fresh);
        client.post_json(CLOUDBOX_LOGOUT, &[("authorization", &fresh)], &json!({})).await;
        password = new;
    }
    password
}

async fn exercise_jwt(
    client: &DialectClient,
    server: &Server,
    person: &TestUser,
    mut password: String,
    secrets: &mut SecretTracker,
) {
    for index in 0..3 {
        let jwt = client.login(DialectKind::Jwt, person, &password).await.assert_success().token();
        secrets.track("a JWT", &jwt);
        secrets.track("a JWT's signature", jwt.rsplit_once('.').unwrap().1);
        client
            .post_form("/api/vi/Auth/ForgetPassword", &[], &[("account", &person.name), ("phone", PHONE)])
            .await
            .assert_success();
        let code = secrets.track_code("JWT", server.next_code(PHONE, index));
        // In the query, as in the API document.
        let path = format!("/api/vi/Auth/validatePhone?account={}&identifyCode={code}", person.name);
        let reset = client.send(Method::POST, &path, &[], String::new()).await.assert_success().token();
        secrets.track_token("a reset token", &reset);
        password = secrets.track_password("an updated password", &format!("updated-secret-{index}"));
        let fields = [("account", person.name.as_str()), ("password", &password)];
        client.post_form("/api/vi/Auth/updatePassword", &[("authorization", &reset)], &fields).await.assert_success();
        client.send(Method::GET, "/api/v1/Auth/Logout", &[("token", &jwt)], String::new()).await.assert_is(401, "-1");
    }
}

/// Sends secrets where they do not belong: in malformed bodies, queries, headers and field names.
async fn send_misplaced_secrets(client: &DialectClient, person: &TestUser, secrets: &mut SecretTracker) {
    let paths = [
        CLOUDBOX_LOGIN,
        CLOUDBOX_CHANGE_PASSWORD,
        CLOUDBOX_LOGOUT,
        TMS_LOGIN,
        TMS_CHANGE_PASSWORD,
        "/i/login",
        "/i/register",
        "/i/resetpwd",
    ];
    let more_paths =
        ["/code/send", "/auth/login", "/auth/check/token", "/api/v1/Auth/Login", "/api/vi/Auth/updatePassword"];
    for (index, path) in paths.into_iter().chain(more_paths).enumerate() {
        let secret = &secrets.track_password("a misplaced secret", &format!("misplaced-secret-{index}"));
        let bodies = [
            ("application/json", format!("{{\"username\":\"mark\",\"password\":\"{secret}")),
            ("application/json", format!("{{\"password\":[\"{secret}\"],\"encrypt\":{{\"a\":\"{secret}\"}}}}")),
            ("application/json", format!("{{\"{secret}\":1,\"{secret}\":2}}")),
            (
                "application/json",
                format!("{{\"timestamp\":\"{secret}\",\"username\":\"mark\",\"password\":\"{secret}\"}}"),
            ),
            ("application/json", format!("\"{secret}\"")),
            ("application/x-www-form-urlencoded", format!("username=mark&password=%zz{secret}&password={secret}")),
            (
                "multipart/form-data; boundary=x",
                format!("--x\r\ncontent-disposition: form-data; name=\"{secret}\"\r\n\r\n{secret}"),
            ),
            ("text/plain", secret.clone()),
        ];
        for (kind, body) in bodies {
            let headers =
                [("content-type", kind), ("authorization", secret.as_str()), ("token", secret), ("cookie", secret)];
            let path = format!("{path}?password={secret}&{secret}");
            let response = client.send(Method::POST, &path, &headers, body).await;
            assert!(!response.is_success() && response.status < 500, "{path}: {response:?}");
        }
    }
    for dialect in DialectKind::ALL {
        let wrong = secrets.track_password("a wrong password", &format!("wrong-secret-{dialect:?}"));
        assert!(!client.login(dialect, person, &wrong).await.is_success());
    }
    let plaintext = secrets.track("MeFP plaintext", "{\"login_name\":\"plaintext-secret");
    let envelope = json!({ "encrypt": client.app.encrypt(&plaintext), "app_from": client.app.name });
    client.post_json("/auth/login", &[], &envelope).await.assert_is(400, "40000");
}

#[tokio::test]
async fn no_secret_is_logged_or_stored() {
    let mut secrets = SecretTracker::default();
    let collector = Collector::start();
    let settings = [("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "trace"), ("STELE_LIMIT_ACCOUNT", "1000")];
    let mut installation = Installation::with_settings(&settings);
    installation.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    installation.set(
        "OTEL_EXPORTER_OTLP_HEADERS",
        &format!("x-key={}", secrets.track("the collector's key", "collector-secret")),
    );
    let server = installation.start_up();
    let password = secrets.track_password("a provisioned password", "provisioned-secret");
    let args =
        ["user", "add", "--username", "mark", "--phone", PHONE, "--email", "mark@example.com", "--password-stdin"];
    let id = secrets.record_output(&installation.run_with(&args, &password));
    let app = installation.run(&["app", "add", "melink", "--may-token", "melink"]);
    let app_secret = secrets.record_output(&app);
    let shared_secret = app.stdout.split_whitespace().nth(1).unwrap().to_owned();
    secrets.track("app_secret", &app_secret);
    secrets.track("mefp_secret", &shared_secret);
    let client_token = secrets.record_output(&installation.run(&["token", "add", "e2e"]));
    secrets.track_token("a client token", &client_token);
    for command in [
        &["resource", "add", "orders"][..],
        &["client", "add", "web", "--grants", "client_credentials", "--resources", "orders"],
        &["client", "rotate", "web"],
        &["resource", "rotate", "orders"],
    ] {
        let secret = secrets.record_output(&installation.run(command));
        secrets.track("an OAuth client's or resource server's secret", &secret);
    }
    let imported_password = secrets.track_password("an imported password", "imported-secret");
    // The imported md5 is not stored either, because passwords are as cheap to guess from a salted md5 as from a plain
    // one.
    let md5 = secrets.track("an imported md5", &md5_hex(&format!("{imported_password}salt")));
    let hash = format!("$md5ps$73616c74${md5}");
    secrets.record_output(&installation.run_with(&["user", "add", "--username", "imported", "--hash-stdin"], &hash));
    let unsalted = md5_hex(&secrets.track_password("an imported password without salt", "unsalted-secret"));
    secrets
        .record_output(&installation.run_with(&["user", "add", "--username", "unsalted", "--hash-stdin"], &unsalted));
    secrets.assert_not_in_files(&installation.data());

    let client = DialectClient::new(&server, MefpApp::new("melink", (shared_secret, app_secret)), &client_token);
    let person = TestUser { id, name: "mark".into(), phone: PHONE.into(), email: "mark@example.com".into() };
    client.login_as(DialectKind::Jwt, "imported", &imported_password).await.assert_success();
    client.login_as(DialectKind::Cloudbox, "imported", &imported_password).await.assert_success();
    exercise_portal(&client, &server, &mut secrets).await;
    exercise_mefp(&client, &server, &mut secrets).await;
    let password = exercise_salted(&client, &person, &password, &mut secrets).await;
    exercise_jwt(&client, &server, &person, password, &mut secrets).await;
    send_misplaced_secrets(&client, &person, &mut secrets).await;
    let new_password = secrets.track_password("a set password", "set-secret");
    secrets.record_output(&installation.run_with(&["user", "passwd", "mark", "--password-stdin"], &new_password));
    for command in [&["user", "list"][..], &["user", "list", "--json"], &["user", "show", "mark"], &["check"]] {
        let outcome = installation.run(command);
        secrets.record_output(&outcome);
        secrets.command_output.extend(outcome.stdout.as_bytes());
    }

    assert!(
        secrets.assert_not_in_files(&installation.data()) >= 4,
        "fewer than 4 files were searched: expected two databases, each with its WAL"
    );
    let metrics = crate::metrics::scrape(&server).await;
    assert!(metrics.contains("stele_logins_total"));
    secrets.assert_not_in("the metrics", metrics.as_bytes());
    let log = server.stop();
    assert!(collector.spans().iter().any(|span| span.data.name == "argon2id"), "the traces have no hashing span");
    secrets.assert_not_in("the traces", &collector.body_bytes());
    assert!(log.contains("TRACE") && log.contains("/auth/login"), "the log lacks trace lines");
    secrets.assert_not_in("the log", log.as_bytes());
    secrets.assert_not_in("the output of the commands", &secrets.command_output);
    secrets.assert_not_in_files(&installation.data());
}

#[test]
#[should_panic(expected = "codes of MeFP are in a log")]
fn the_leak_check_detects_a_leak() {
    let mut secrets = SecretTracker::default();
    for code in ["100001", "200002", "300003"] {
        secrets.track_code("MeFP", code.to_owned());
    }
    // Passes: 2000020 contains 200002, but is a longer number, so not all codes occur.
    secrets.assert_not_in("a log", b"100001, 2000020 and 300003");
    secrets.track_password("a password", "a-password");
    assert!(
        std::panic::catch_unwind(|| secrets.assert_not_in("a log", &[b"x" as &[u8], b"a-password"].concat())).is_err()
    );
    secrets.texts.clear();
    // Panics: all codes occur.
    secrets.assert_not_in("a log", b"100001, 200002 and 300003");
}
