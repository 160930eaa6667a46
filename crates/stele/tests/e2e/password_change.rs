//! Password changes and disabled accounts apply to all five dialects: only the new password is accepted, and earlier
//! sessions, codes and tokens are revoked.

use serde_json::json;

use crate::client::{
    CLOUDBOX_CHANGE_PASSWORD, DialectClient, DialectKind, TMS_CHANGE_PASSWORD, TestUser, encode_base64,
    password_change_body,
};
use crate::support::{Installation, Server};

const OLD_PASSWORD: &str = "the-old-password";
const NEW_PASSWORD: &str = "a-new-password";

struct PasswordChangeTest {
    installation: Installation,
    server: Server,
    client: DialectClient,
}

/// Sessions, codes and one-time tokens issued before the password change.
struct IssuedCredentials {
    tokens: Vec<(DialectKind, String)>,
    mefp_token: String,
    reset_token: String,
    portal_code: String,
    mefp_code: String,
}

impl PasswordChangeTest {
    fn new() -> Self {
        let settings =
            [("STELE_HASH_COST", "64,1,1,weak"), ("STELE_SEND_ADDRESS", "1000"), ("STELE_SEND_RECIPIENT", "100")];
        let installation = Installation::with_settings(&settings);
        let server = installation.start_up();
        let client = DialectClient::register(&installation, &server);
        Self { installation, server, client }
    }

    fn add_user(&self, name: &str, phone: &str) -> TestUser {
        TestUser::add(&self.installation, name, phone, &format!("{name}@example.com"), OLD_PASSWORD)
    }

    async fn request_portal_code(&self, to: &str) -> String {
        let already_sent = self.server.codes(to).len();
        self.client.post_form("/code/send", &[], &[("username", to)]).await.assert_success();
        self.server.next_code(to, already_sent)
    }

    async fn request_mefp_code(&self, phone: &str) -> String {
        let already_sent = self.server.codes(phone).len();
        self.client.call_mefp("/auth/captcha", &json!({ "login_name": phone, "usage": 2 })).await.assert_success();
        self.server.next_code(phone, already_sent)
    }

    async fn request_reset_token(&self, person: &TestUser) -> String {
        let already_sent = self.server.codes(&person.email).len();
        let request = [("account", person.name.as_str()), ("email", &person.email)];
        self.client.post_form("/api/vi/Auth/ForgetPassword", &[], &request).await.assert_success();
        let code = self.server.next_code(&person.email, already_sent);
        let fields = [("account", person.name.as_str()), ("identifyCode", &code)];
        self.client.post_form("/api/vi/Auth/validatePhone", &[], &fields).await.assert_success().token()
    }

    async fn request_mefp_token(&self, person: &TestUser) -> String {
        let request = json!({ "login_name": person.phone, "app_to": "melink" });
        self.client.call_mefp("/auth/token", &request).await.assert_success().token()
    }

    /// Logs in through every dialect and obtains every kind of code and token that a password change must revoke.
    async fn issue_credentials(&self, person: &TestUser) -> IssuedCredentials {
        let mut tokens = Vec::new();
        for dialect in DialectKind::ALL {
            let response = self.client.login(dialect, person, OLD_PASSWORD).await.assert_success();
            if matches!(dialect, DialectKind::Cloudbox | DialectKind::Tms | DialectKind::Jwt) {
                tokens.push((dialect, response.token()));
            }
        }
        for dialect in [DialectKind::Cloudbox, DialectKind::Jwt] {
            // A control for `assert_all_revoked`: the check detects a valid session. Because it ends the session, it
            // uses a spare one.
            let spare = self.client.login(dialect, person, OLD_PASSWORD).await.assert_success().token();
            assert_eq!(self.client.is_session_alive(dialect, &spare).await, Some(true), "{dialect:?}");
        }
        let tms = tokens.iter().find(|(dialect, _)| *dialect == DialectKind::Tms).unwrap();
        assert_eq!(self.client.is_session_alive(DialectKind::Tms, &tms.1).await, Some(true));
        // The portal's code comes last, because a newer code for the same address replaces it.
        let reset_token = self.request_reset_token(person).await;
        let portal_code = self.request_portal_code(&person.email).await;
        let mefp_code = self.request_mefp_code(&person.phone).await;
        IssuedCredentials {
            tokens,
            mefp_token: self.request_mefp_token(person).await,
            reset_token,
            portal_code,
            mefp_code,
        }
    }

    /// Asserts that every session, code and token is revoked.
    async fn assert_all_revoked(&self, person: &TestUser, issued: &IssuedCredentials, by: &str) {
        for (dialect, token) in &issued.tokens {
            assert_eq!(
                self.client.is_session_alive(*dialect, token).await,
                Some(false),
                "{by}: a session of {dialect:?} is still valid"
            );
        }
        let redeemed = self.client.call_mefp("/auth/check/token", &json!({ "token": issued.mefp_token })).await;
        assert_eq!(redeemed.code(), "40006", "{by}: {redeemed:?}");
        let request = json!({ "login_name": person.phone, "app_to": "melink" });
        let handover = self.client.call_mefp("/auth/token", &request).await;
        assert_eq!(handover.code(), "40006", "{by}: {handover:?}");
        let fields = [("account", person.name.as_str()), ("password", "by-a-thief")];
        let token = [("authorization", issued.reset_token.as_str())];
        self.client.post_form("/api/vi/Auth/updatePassword", &token, &fields).await.assert_is(401, "-1");
        let (code, thief) = (encode_base64(&issued.portal_code), encode_base64("by-a-thief"));
        let fields = [("username", person.email.as_str()), ("password", &thief), ("code", &code)];
        self.client.post_form("/i/resetpwd", &[], &fields).await.assert_is(200, "3208");
        let message = json!({ "login_name": person.phone, "new_password": "by-a-thief", "captcha": issued.mefp_code });
        self.client.call_mefp("/auth/forgot", &message).await.assert_is(200, "40002");
    }

    /// Asserts that every dialect accepts `password` and rejects `wrong`.
    async fn assert_only_password_accepted(&self, person: &TestUser, password: &str, wrong: &str, by: &str) {
        for dialect in DialectKind::ALL {
            let response = self.client.login(dialect, person, wrong).await;
            let expected = [("1002", 200), ("1002", 200), ("3202", 200), ("40003", 200), ("-1", 200)][dialect as usize];
            assert_eq!((response.code().as_str(), response.status), expected, "{by}: {dialect:?}: {response:?}");
            let response = self.client.login(dialect, person, password).await;
            assert!(response.is_success(), "{by}: {dialect:?}: {response:?}");
        }
    }

    async fn change_password_by(&self, person: &TestUser, by: &str) {
        let (name, email, id) = (person.name.as_str(), person.email.as_str(), person.id.as_str());
        match by {
            "cloudbox" => drop(
                self.client
                    .post_json(CLOUDBOX_CHANGE_PASSWORD, &[], &password_change_body(id, OLD_PASSWORD, NEW_PASSWORD))
                    .await
                    .assert_success(),
            ),
            "tms" => {
                let token = self.client.login(DialectKind::Tms, person, OLD_PASSWORD).await.assert_success().token();
                self.client
                    .post_json(
                        TMS_CHANGE_PASSWORD,
                        &[("authorization", &token)],
                        &password_change_body(id, OLD_PASSWORD, NEW_PASSWORD),
                    )
                    .await
                    .assert_success();
            }
            "portal" => {
                let (code, new) =
                    (encode_base64(&self.request_portal_code(&person.phone).await), encode_base64(NEW_PASSWORD));
                let fields = [("username", person.phone.as_str()), ("password", &new), ("code", &code)];
                self.client.post_form("/i/resetpwd", &[], &fields).await.assert_success();
            }
            "mefp" => {
                let code = self.request_mefp_code(&person.phone).await;
                let message = json!({ "login_name": person.phone, "new_password": NEW_PASSWORD, "captcha": code });
                self.client.call_mefp("/auth/forgot", &message).await.assert_success();
            }
            "jwt" => {
                let token = self.client.login(DialectKind::Jwt, person, OLD_PASSWORD).await.assert_success().token();
                let fields = [("account", email), ("password", NEW_PASSWORD)];
                self.client
                    .post_form("/api/vi/Auth/updatePassword", &[("token", &token)], &fields)
                    .await
                    .assert_success();
            }
            _ => drop(
                self.installation
                    .run_with(&["user", "passwd", name, "--password-stdin"], NEW_PASSWORD)
                    .assert_success(),
            ),
        }
    }
}

async fn assert_changed_everywhere(by: &str) {
    let fixture = PasswordChangeTest::new();
    let person = fixture.add_user("mark", "13800138000");
    let issued = fixture.issue_credentials(&person).await;
    fixture.change_password_by(&person, by).await;
    fixture.assert_all_revoked(&person, &issued, by).await;
    fixture.assert_only_password_accepted(&person, NEW_PASSWORD, OLD_PASSWORD, by).await;
    fixture.server.stop();
}

#[tokio::test]
async fn a_cloudbox_password_change_applies_to_all_dialects() {
    assert_changed_everywhere("cloudbox").await;
}

#[tokio::test]
async fn a_tms_password_change_applies_to_all_dialects() {
    assert_changed_everywhere("tms").await;
}

#[tokio::test]
async fn a_portal_password_reset_applies_to_all_dialects() {
    assert_changed_everywhere("portal").await;
}

#[tokio::test]
async fn a_mefp_password_reset_applies_to_all_dialects() {
    assert_changed_everywhere("mefp").await;
}

#[tokio::test]
async fn a_jwt_password_update_applies_to_all_dialects() {
    assert_changed_everywhere("jwt").await;
}

#[tokio::test]
async fn a_password_set_by_the_cli_applies_to_all_dialects() {
    assert_changed_everywhere("the command").await;
}

#[tokio::test]
async fn an_unused_reset_token_and_mefp_token_are_accepted() {
    // Control for `assert_all_revoked`: the same calls succeed while the password is unchanged.
    let fixture = PasswordChangeTest::new();
    let person = fixture.add_user("mark", "13800138000");
    let issued = fixture.issue_credentials(&person).await;
    fixture.client.call_mefp("/auth/check/token", &json!({ "token": issued.mefp_token })).await.assert_success();
    let fields = [("account", person.name.as_str()), ("password", NEW_PASSWORD)];
    let token = [("authorization", issued.reset_token.as_str())];
    fixture.client.post_form("/api/vi/Auth/updatePassword", &token, &fields).await.assert_success();
    fixture.assert_only_password_accepted(&person, NEW_PASSWORD, OLD_PASSWORD, "a reset token").await;
}

#[tokio::test]
async fn a_disabled_user_is_rejected_by_all_dialects_until_enabled() {
    let fixture = PasswordChangeTest::new();
    let person = fixture.add_user("mark", "13800138000");
    let issued = fixture.issue_credentials(&person).await;
    fixture.installation.run(&["user", "disable", "MARK@example.com"]).assert_success();
    fixture.assert_all_revoked(&person, &issued, "disable").await;
    for dialect in DialectKind::ALL {
        let response = fixture.client.login(dialect, &person, OLD_PASSWORD).await;
        assert!(!response.is_success(), "{dialect:?}: {response:?}");
        if matches!(dialect, DialectKind::Cloudbox | DialectKind::Tms) {
            assert_eq!(response.code(), "1006", "{dialect:?}: {response:?}");
        }
    }
    fixture.installation.run(&["user", "enable", &person.id]).assert_success();
    fixture.assert_only_password_accepted(&person, OLD_PASSWORD, NEW_PASSWORD, "enable").await;
    for (dialect, token) in &issued.tokens {
        assert_eq!(
            fixture.client.is_session_alive(*dialect, token).await,
            Some(false),
            "a session of {dialect:?} is valid again"
        );
    }
}
