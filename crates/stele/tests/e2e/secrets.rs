//! At the most talkative level, with every kind of secret passing through: none is in the log, in what commands print
//! on standard error, or in a file of the data folder other than the outbox and the keys.

use std::path::Path;

use reqwest::Method;
use serde_json::json;

use crate::client::{
    App, CLOUDBOX, CLOUDBOX_LOGOUT, CLOUDBOX_RESET, Client, Dialect, Person, TMS, TMS_RESET, base64, change, md5_hex,
    proof, timestamp,
};
use crate::collector::Collector;
use crate::support::{Home, Outcome, Server};

const PHONE: &str = "13800138000";

/// What must be found nowhere.
#[derive(Default)]
struct Secrets {
    texts: Vec<(String, Vec<u8>)>,
    /// Six digits occur by chance; all codes of a kind do not.
    codes: Vec<(&'static str, Vec<String>)>,
    told: Vec<u8>,
}

impl Secrets {
    fn keep(&mut self, what: &str, secret: &str) -> String {
        assert!(secret.len() >= 8, "{what} is too short to be looked for: {secret}");
        self.texts.push((what.to_owned(), secret.as_bytes().to_vec()));
        secret.to_owned()
    }

    /// A token, and the bytes that its hex digits stand for.
    fn token(&mut self, what: &str, secret: &str) -> String {
        if secret.len() == 32 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.hex(what, secret);
        }
        self.keep(what, secret)
    }

    fn hex(&mut self, what: &str, hex: &str) {
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        self.texts.push((format!("{what}, as bytes"), bytes));
        self.keep(&format!("{what}, upper case"), &hex.to_uppercase());
    }

    /// A password and all that is made of it.
    fn password(&mut self, what: &str, password: &str) -> String {
        self.keep(&format!("base64 of {what}"), base64(password).trim_end_matches('='));
        let digest = self.keep(&format!("digest of {what}"), &md5_hex(password));
        self.hex(&format!("digest of {what}"), &digest);
        self.keep(what, password)
    }

    fn code(&mut self, kind: &'static str, code: String) -> String {
        match self.codes.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, codes)) => codes.push(code.clone()),
            None => self.codes.push((kind, vec![code.clone()])),
        }
        code
    }

    /// Notes what a command told on standard error; returns the last word it answered.
    fn command(&mut self, outcome: &Outcome) -> String {
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        self.told.extend(outcome.stderr.as_bytes());
        outcome.stdout.split_whitespace().last().unwrap_or_default().to_owned()
    }

    fn not_in(&self, place: &str, bytes: &[u8]) {
        for (what, secret) in &self.texts {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{what} ({}) is in {place}", String::from_utf8_lossy(secret));
        }
        for (kind, codes) in &self.codes {
            assert!(codes.len() > 2, "too few codes of {kind} to look for");
            let found = |code: &String| {
                let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
                let mut at = (0..bytes.len().saturating_sub(5)).filter(|at| &bytes[*at..*at + 6] == code.as_bytes());
                at.any(|at| !digit(at.checked_sub(1)) && !digit(Some(at + 6)))
            };
            assert!(!codes.iter().all(found), "codes of {kind} are in {place}: {codes:?}");
        }
    }

    fn not_below(&self, folder: &Path) -> usize {
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().unwrap() {
                "outbox.jsonl" | "keys" => {}
                _ if path.is_dir() => seen += self.not_below(&path),
                _ => {
                    self.not_in(&path.display().to_string(), &std::fs::read(&path).unwrap());
                    seen += 1;
                }
            }
        }
        seen
    }
}

async fn portal(client: &Client, server: &Server, secrets: &mut Secrets) {
    let mut seen = 0;
    let send = async |seen: usize| {
        client.form("/code/send", &[], &[("username", "13900139000")]).await.good();
        server.code_after("13900139000", seen)
    };
    for (turn, path) in ["/i/register", "/i/resetpwd", "/i/resetpwd"].into_iter().enumerate() {
        let code = secrets.code("the portal", send(seen).await);
        seen += 1;
        let password = base64(&secrets.password("a password at the portal", &format!("portal-secret-{turn}")));
        let fields = [("username", "13900139000"), ("password", &password), ("code", &base64(&code))];
        client.form(path, &[], &fields).await.good();
        let login = [("username", "13900139000"), ("password", &password)];
        let answer = client.form("/i/login", &[], &login).await.good();
        let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        secrets.token("the portal's cookie", cookie.split_once('=').unwrap().1);
        client.form("/i/logout", &[("cookie", &cookie)], &[("username", "13900139000")]).await.good();
    }
}

async fn mefp(client: &Client, server: &Server, secrets: &mut Secrets) {
    let who = "13900139001";
    for (turn, (path, usage)) in [("register", 1), ("forgot", 2), ("forgot", 2)].into_iter().enumerate() {
        client.mefp("/auth/captcha", &json!({ "login_name": who, "usage": usage })).await.good();
        let code = secrets.code("MeFP", server.code_after(who, turn));
        client.mefp("/auth/check/captcha", &json!({ "login_name": who, "captcha": code })).await;
        let password = secrets.password("a password at MeFP", &format!("mefp-secret-{turn}"));
        let message = json!({ "login_name": who, "password": password, "new_password": password, "captcha": code });
        client.mefp(&format!("/auth/{path}"), &message).await.good();
    }
    client.mefp("/auth/login", &json!({ "login_name": who, "password": "mefp-secret-2" })).await.good();
    let token = client.mefp("/auth/token", &json!({ "login_name": who, "app_to": "melink" })).await.good().token();
    secrets.token("a MeFP token", &token);
    client.mefp("/auth/check/token", &json!({ "token": token })).await.good();
}

async fn salted(client: &Client, person: &Person, password: &str, secrets: &mut Secrets) -> String {
    let mut password = password.to_owned();
    for (turn, path) in [CLOUDBOX_RESET, TMS_RESET].into_iter().enumerate() {
        let at = timestamp();
        let salted = secrets.token("a salted digest", &proof(&password, at));
        let body = json!({ "username": person.name, "password": salted, "timestamp": at });
        let answer = client.json(CLOUDBOX, &[], &body).await.good();
        secrets.token("a cloudbox token", &answer.token());
        let digest = json!({ "username": person.name, "password": md5_hex(&password), "timestamp": timestamp() });
        let token = client.json(TMS, &[("authorization", &client.tms)], &digest).await.good().token();
        secrets.token("a TMS token", &token);
        let new = secrets.password("a changed password", &format!("changed-secret-{turn}"));
        let body = change(&person.id, &password, &new);
        secrets.token("a salted digest", body["orig_password"].as_str().unwrap());
        let fresh = client.json(path, &[("authorization", &token)], &body).await.good().token();
        secrets.token("a fresh token", &fresh);
        client.json(CLOUDBOX_LOGOUT, &[("authorization", &fresh)], &json!({})).await;
        password = new;
    }
    password
}

async fn jwt(client: &Client, server: &Server, person: &Person, mut password: String, secrets: &mut Secrets) {
    for turn in 0..3 {
        let jwt = client.login(Dialect::Jwt, person, &password).await.good().token();
        secrets.keep("a JWT", &jwt);
        secrets.keep("a JWT's signature", jwt.rsplit_once('.').unwrap().1);
        client.form("/api/vi/Auth/ForgetPassword", &[], &[("account", &person.name), ("phone", PHONE)]).await.good();
        let code = secrets.code("JWT", server.code_after(PHONE, turn));
        // In the query, as JWT's API document has it.
        let path = format!("/api/vi/Auth/validatePhone?account={}&identifyCode={code}", person.name);
        let reset = client.send(Method::POST, &path, &[], String::new()).await.good().token();
        secrets.token("a reset token", &reset);
        password = secrets.password("an updated password", &format!("updated-secret-{turn}"));
        let fields = [("account", person.name.as_str()), ("password", &password)];
        client.form("/api/vi/Auth/updatePassword", &[("authorization", &reset)], &fields).await.good();
        client.send(Method::GET, "/api/v1/Auth/Logout", &[("token", &jwt)], String::new()).await.is(401, "-1");
    }
}

/// Secrets where they do not belong: in bodies that cannot be read, in queries, in headers, in field names.
async fn misplaced(client: &Client, person: &Person, secrets: &mut Secrets) {
    let paths = [CLOUDBOX, CLOUDBOX_RESET, CLOUDBOX_LOGOUT, TMS, TMS_RESET, "/i/login", "/i/register", "/i/resetpwd"];
    let more = ["/code/send", "/auth/login", "/auth/check/token", "/api/v1/Auth/Login", "/api/vi/Auth/updatePassword"];
    for (turn, path) in paths.into_iter().chain(more).enumerate() {
        let secret = &secrets.password("a misplaced secret", &format!("misplaced-secret-{turn}"));
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
            let answer = client.send(Method::POST, &path, &headers, body).await;
            assert!(!answer.succeeded() && answer.status < 500, "{path}: {answer:?}");
        }
    }
    for dialect in Dialect::ALL {
        let wrong = secrets.password("a wrong password", &format!("wrong-secret-{dialect:?}"));
        assert!(!client.login(dialect, person, &wrong).await.succeeded());
    }
    let plaintext = secrets.keep("MeFP plaintext", "{\"login_name\":\"plaintext-secret");
    let envelope = json!({ "encrypt": client.app.seal(&plaintext), "app_from": client.app.name });
    client.json("/auth/login", &[], &envelope).await.is(400, "40000");
}

#[tokio::test]
async fn no_secret_is_logged_or_stored() {
    let mut secrets = Secrets::default();
    let collector = Collector::start();
    let settings = [("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "trace"), ("STELE_LIMIT_ACCOUNT", "1000")];
    let mut home = Home::with(&settings);
    home.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    home.set(
        "OTEL_EXPORTER_OTLP_HEADERS",
        &format!("x-key={}", secrets.keep("the collector's key", "collector-secret")),
    );
    let server = home.up();
    let password = secrets.password("a provisioned password", "provisioned-secret");
    let args =
        ["user", "add", "--username", "mark", "--phone", PHONE, "--email", "mark@example.com", "--password-stdin"];
    let id = secrets.command(&home.run_with(&args, &password));
    let app = home.run(&["app", "add", "melink", "--may-token", "melink"]);
    let own = secrets.command(&app);
    let shared = app.stdout.split_whitespace().nth(1).unwrap().to_owned();
    secrets.keep("app_secret", &own);
    secrets.keep("mefp_secret", &shared);
    let tms = secrets.command(&home.run(&["token", "add", "e2e"]));
    secrets.token("a client token", &tms);
    let foreign = secrets.password("an imported password", "imported-secret");
    // Nor does its md5 rest, which is as cheap to guess from with its salt as without.
    let md5 = secrets.keep("an imported md5", &md5_hex(&format!("{foreign}pepper")));
    let hash = format!("$md5ps$706570706572${md5}");
    secrets.command(&home.run_with(&["user", "add", "--username", "imported", "--hash-stdin"], &hash));
    let unsalted = md5_hex(&secrets.password("an imported password without salt", "unsalted-secret"));
    secrets.command(&home.run_with(&["user", "add", "--username", "unsalted", "--hash-stdin"], &unsalted));
    secrets.not_below(&home.data());

    let client = Client::new(&server, App::new("melink", (shared, own)), &tms);
    let person = Person { id, name: "mark".into(), phone: PHONE.into(), email: "mark@example.com".into() };
    client.login_as(Dialect::Jwt, "imported", &foreign).await.good();
    client.login_as(Dialect::Cloudbox, "imported", &foreign).await.good();
    portal(&client, &server, &mut secrets).await;
    mefp(&client, &server, &mut secrets).await;
    let password = salted(&client, &person, &password, &mut secrets).await;
    jwt(&client, &server, &person, password, &mut secrets).await;
    misplaced(&client, &person, &mut secrets).await;
    let set = secrets.password("a set password", "set-secret");
    secrets.command(&home.run_with(&["user", "passwd", "mark", "--password-stdin"], &set));
    for command in [&["user", "list"][..], &["user", "list", "--json"], &["user", "show", "mark"], &["check"]] {
        let outcome = home.run(command);
        secrets.command(&outcome);
        secrets.told.extend(outcome.stdout.as_bytes());
    }

    assert!(secrets.not_below(&home.data()) >= 4, "the databases and their logs are looked at while they are in use");
    let metrics = crate::metrics::text(&server).await;
    assert!(metrics.contains("stele_logins_total"));
    secrets.not_in("the metrics", metrics.as_bytes());
    let log = server.stop();
    assert!(collector.spans().iter().any(|span| span.sent.name == "argon2id"), "the traces lack steps");
    secrets.not_in("the traces", &collector.bytes());
    assert!(log.contains("TRACE") && log.contains("/auth/login"), "the log is not as talkative as it should be");
    secrets.not_in("the log", log.as_bytes());
    secrets.not_in("what commands told", &secrets.told);
    secrets.not_below(&home.data());
}

#[test]
#[should_panic(expected = "codes of MeFP are in a log")]
fn a_leak_would_be_found() {
    let mut secrets = Secrets::default();
    for code in ["100001", "200002", "300003"] {
        secrets.code("MeFP", code.to_owned());
    }
    secrets.not_in("a log", b"100001, 2000020 and 300003");
    secrets.password("a password", "a-password");
    assert!(std::panic::catch_unwind(|| secrets.not_in("a log", &[b"x" as &[u8], b"a-password"].concat())).is_err());
    secrets.texts.clear();
    secrets.not_in("a log", b"100001, 200002 and 300003");
}
