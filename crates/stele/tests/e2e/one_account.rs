//! One account behind five dialects: a password changed through one is changed in all, and what the old one had opened
//! is shut in all.

use serde_json::json;

use crate::client::{App, CLOUDBOX_RESET, Client, Dialect, Person, TMS_RESET, base64, change};
use crate::support::{Home, Server};

const OLD: &str = "the-old-password";
const NEW: &str = "a-new-password";

struct Scene {
    home: Home,
    server: Server,
    client: Client,
}

/// What the old password had opened, in every dialect, before it changed.
struct Opened {
    tokens: Vec<(Dialect, String)>,
    mefp_token: String,
    reset_token: String,
    portal_code: String,
    mefp_code: String,
}

impl Scene {
    fn new() -> Self {
        let settings =
            [("STELE_HASH_COST", "64,1,1,weak"), ("STELE_SEND_ADDRESS", "1000"), ("STELE_SEND_RECIPIENT", "100")];
        let home = Home::with(&settings);
        let server = home.up();
        let app = App::new("melink", home.add_app("melink", "melink"));
        let token = home.run(&["token", "add", "e2e"]).last_word();
        let client = Client::new(&server, app, &token);
        Self { home, server, client }
    }

    fn person(&self, name: &str, phone: &str) -> Person {
        let email = format!("{name}@example.com");
        let id = self.home.add_user(name, OLD, &["--phone", phone, "--email", &email]);
        Person { id, name: name.to_owned(), phone: phone.to_owned(), email }
    }

    async fn portal_code(&self, to: &str) -> String {
        let seen = self.server.codes(to).len();
        self.client.form("/code/send", &[], &[("username", to)]).await.good();
        self.server.code_after(to, seen)
    }

    async fn mefp_code(&self, phone: &str) -> String {
        let seen = self.server.codes(phone).len();
        self.client.mefp("/auth/captcha", &json!({ "login_name": phone, "usage": 2 })).await.good();
        self.server.code_after(phone, seen)
    }

    async fn reset_token(&self, person: &Person) -> String {
        let seen = self.server.codes(&person.email).len();
        let asked = [("account", person.name.as_str()), ("email", &person.email)];
        self.client.form("/api/vi/Auth/ForgetPassword", &[], &asked).await.good();
        let code = self.server.code_after(&person.email, seen);
        let fields = [("account", person.name.as_str()), ("identifyCode", &code)];
        self.client.form("/api/vi/Auth/validatePhone", &[], &fields).await.good().token()
    }

    async fn mefp_token(&self, person: &Person) -> String {
        let asked = json!({ "login_name": person.phone, "app_to": "melink" });
        self.client.mefp("/auth/token", &asked).await.good().token()
    }

    /// Logs in everywhere and starts everything that the password's change should end.
    async fn open(&self, person: &Person) -> Opened {
        let mut tokens = Vec::new();
        for dialect in Dialect::ALL {
            let answer = self.client.login(dialect, person, OLD).await.good();
            if matches!(dialect, Dialect::Cloudbox | Dialect::Tms | Dialect::Jwt) {
                tokens.push((dialect, answer.token()));
            }
        }
        for dialect in [Dialect::Cloudbox, Dialect::Jwt] {
            // One that is asked for now, so that those that are asked for later are known to be askable.
            let spare = self.client.login(dialect, person, OLD).await.good().token();
            assert_eq!(self.client.alive(dialect, &spare).await, Some(true), "{dialect:?}");
        }
        let tms = tokens.iter().find(|(dialect, _)| *dialect == Dialect::Tms).unwrap();
        assert_eq!(self.client.alive(Dialect::Tms, &tms.1).await, Some(true));
        // The portal's codes are by recipient; the reset token's code went to the same address before.
        let reset_token = self.reset_token(person).await;
        let portal_code = self.portal_code(&person.email).await;
        let mefp_code = self.mefp_code(&person.phone).await;
        Opened { tokens, mefp_token: self.mefp_token(person).await, reset_token, portal_code, mefp_code }
    }

    /// Nothing of what was open is.
    async fn all_shut(&self, person: &Person, opened: &Opened, by: &str) {
        for (dialect, token) in &opened.tokens {
            assert_eq!(self.client.alive(*dialect, token).await, Some(false), "{by}: a session of {dialect:?} lives");
        }
        let redeemed = self.client.mefp("/auth/check/token", &json!({ "token": opened.mefp_token })).await;
        assert_eq!(redeemed.code(), "40006", "{by}: {redeemed:?}");
        let asked = json!({ "login_name": person.phone, "app_to": "melink" });
        let handed = self.client.mefp("/auth/token", &asked).await;
        assert_eq!(handed.code(), "40006", "{by}: {handed:?}");
        let fields = [("account", person.name.as_str()), ("password", "by-a-thief")];
        let token = [("authorization", opened.reset_token.as_str())];
        self.client.form("/api/vi/Auth/updatePassword", &token, &fields).await.is(401, "-1");
        let (code, thief) = (base64(&opened.portal_code), base64("by-a-thief"));
        let fields = [("username", person.email.as_str()), ("password", &thief), ("code", &code)];
        self.client.form("/i/resetpwd", &[], &fields).await.is(200, "3208");
        let message = json!({ "login_name": person.phone, "new_password": "by-a-thief", "captcha": opened.mefp_code });
        self.client.mefp("/auth/forgot", &message).await.is(200, "40002");
    }

    /// `password` is let in by every dialect and `wrong` by none.
    async fn lets_in(&self, person: &Person, password: &str, wrong: &str, by: &str) {
        for dialect in Dialect::ALL {
            let answer = self.client.login(dialect, person, wrong).await;
            let expected = [("1002", 200), ("1002", 200), ("3202", 200), ("40003", 200), ("-1", 200)][dialect as usize];
            assert_eq!((answer.code().as_str(), answer.status), expected, "{by}: {dialect:?}: {answer:?}");
            let answer = self.client.login(dialect, person, password).await;
            assert!(answer.succeeded(), "{by}: {dialect:?}: {answer:?}");
        }
    }

    async fn change(&self, person: &Person, by: &str) {
        let (name, email, id) = (person.name.as_str(), person.email.as_str(), person.id.as_str());
        match by {
            "cloudbox" => drop(self.client.json(CLOUDBOX_RESET, &[], &change(id, OLD, NEW)).await.good()),
            "tms" => {
                let token = self.client.login(Dialect::Tms, person, OLD).await.good().token();
                self.client.json(TMS_RESET, &[("authorization", &token)], &change(id, OLD, NEW)).await.good();
            }
            "portal" => {
                let (code, new) = (base64(&self.portal_code(&person.phone).await), base64(NEW));
                let fields = [("username", person.phone.as_str()), ("password", &new), ("code", &code)];
                self.client.form("/i/resetpwd", &[], &fields).await.good();
            }
            "mefp" => {
                let code = self.mefp_code(&person.phone).await;
                let message = json!({ "login_name": person.phone, "new_password": NEW, "captcha": code });
                self.client.mefp("/auth/forgot", &message).await.good();
            }
            "jwt" => {
                let token = self.client.login(Dialect::Jwt, person, OLD).await.good().token();
                let fields = [("account", email), ("password", NEW)];
                self.client.form("/api/vi/Auth/updatePassword", &[("token", &token)], &fields).await.good();
            }
            _ => drop(self.home.run_with(&["user", "passwd", name, "--password-stdin"], NEW).done()),
        }
    }
}

async fn changed_everywhere(by: &str) {
    let scene = Scene::new();
    let person = scene.person("mark", "13800138000");
    let opened = scene.open(&person).await;
    scene.change(&person, by).await;
    scene.all_shut(&person, &opened, by).await;
    scene.lets_in(&person, NEW, OLD, by).await;
    scene.server.stop();
}

#[tokio::test]
async fn a_password_changed_by_cloudbox_is_changed_everywhere() {
    changed_everywhere("cloudbox").await;
}

#[tokio::test]
async fn a_password_changed_by_tms_is_changed_everywhere() {
    changed_everywhere("tms").await;
}

#[tokio::test]
async fn a_password_reset_at_the_portal_is_changed_everywhere() {
    changed_everywhere("portal").await;
}

#[tokio::test]
async fn a_password_forgotten_at_mefp_is_changed_everywhere() {
    changed_everywhere("mefp").await;
}

#[tokio::test]
async fn a_password_updated_by_jwt_is_changed_everywhere() {
    changed_everywhere("jwt").await;
}

#[tokio::test]
async fn a_password_set_by_the_command_is_changed_everywhere() {
    changed_everywhere("the command").await;
}

#[tokio::test]
async fn a_reset_token_and_a_portal_code_work_where_nothing_came_between() {
    // The counterpart of what `all_shut` finds: the same steps succeed while the password stays.
    let scene = Scene::new();
    let person = scene.person("mark", "13800138000");
    let opened = scene.open(&person).await;
    scene.client.mefp("/auth/check/token", &json!({ "token": opened.mefp_token })).await.good();
    let fields = [("account", person.name.as_str()), ("password", NEW)];
    let token = [("authorization", opened.reset_token.as_str())];
    scene.client.form("/api/vi/Auth/updatePassword", &token, &fields).await.good();
    scene.lets_in(&person, NEW, OLD, "a reset token").await;
}

#[tokio::test]
async fn a_disabled_user_is_out_everywhere_until_enabled() {
    let scene = Scene::new();
    let person = scene.person("mark", "13800138000");
    let opened = scene.open(&person).await;
    scene.home.run(&["user", "disable", "MARK@example.com"]).done();
    scene.all_shut(&person, &opened, "disable").await;
    for dialect in Dialect::ALL {
        let answer = scene.client.login(dialect, &person, OLD).await;
        assert!(!answer.succeeded(), "{dialect:?}: {answer:?}");
        if matches!(dialect, Dialect::Cloudbox | Dialect::Tms) {
            assert_eq!(answer.code(), "1006", "{dialect:?}: {answer:?}");
        }
    }
    scene.home.run(&["user", "enable", &person.id]).done();
    scene.lets_in(&person, OLD, NEW, "enable").await;
    for (dialect, token) in &opened.tokens {
        assert_eq!(scene.client.alive(*dialect, token).await, Some(false), "a session of {dialect:?} came back");
    }
}
