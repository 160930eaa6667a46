//! The response bodies of the token, introspection and revocation endpoints.

use stele_core::oauth::{AccessToken, LegacyTokenInfo, LegacyTokenType, SubjectTokenType, TokenInfo, UserSubject};
use stele_dialect::response_body;

use crate::access_token::SessionClaims;

response_body! {
    /// RFC 6749 §5.1, RFC 8693 §2.2.1.
    pub(crate) struct TokenBody<'a> = TOKEN_BODY "Token" "访问令牌。An access token" {
        access_token: &'a str => pattern("签名的 JWT（RFC 9068）。A signed JWT", r"^[\w-]+\.[\w-]+\.[\w-]+$", "eyJ0eXAiOiJhdCtqd3QifQ.e30.c2ln"),
        #[serde(skip_serializing_if = "Option::is_none")]
        issued_token_type: Option<&'static str> => optional_text("仅令牌交换。Of a token exchange only", SubjectTokenType::AccessToken.urn()),
        token_type: &'static str => one_of("固定为 Bearer。Always Bearer", &["Bearer"]),
        expires_in: i64 => non_negative_integer("有效秒数，至多 300。Seconds, at most 300", "300"),
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<String> => optional_text("授予的范围，以空格分隔；没有则无此项。The granted scope; absent if empty", "read write"),
    }
}

response_body! {
    /// RFC 7662 §2.2: the answer about a token that is not valid, or that does not concern the caller.
    pub(crate) struct InactiveBody = INACTIVE_BODY "Inactive" "令牌无效，或与调用方无关。The token is not valid, or does not concern the caller" {
        active: bool => boolean("false"),
    }
}

response_body! {
    /// RFC 7662 §2.2: the answer about a valid token.
    pub(crate) struct ActiveBody<'a> = ACTIVE_BODY "Active" "令牌有效。The token is valid" {
        active: bool => boolean("true"),
        token_type: &'static str => text("Bearer，或旧令牌的类型。Bearer, or the type of the legacy token", LegacyTokenType::CloudboxSession.urn()),
        #[serde(skip_serializing_if = "Option::is_none")]
        username: Option<&'a str> => optional_text("用户名，仅旧令牌。The user name; of a legacy token only", "mark"),
        iss: &'a str => text("签发者。The issuer", "https://auth.example.com"),
        sub: String => text("用户 UUID，或客户端 id。The user's UUID, or the client's id", "0b922f14-d00b-11e7-aafd-525400bbac8e"),
        aud: &'a str => text("调用方的受众。The caller's audience", "https://orders.example.com/"),
        exp: i64 => non_negative_integer("到期，Unix 秒。The expiry, in Unix seconds", "1767254700"),
        iat: i64 => non_negative_integer("签发，Unix 秒。The issue, in Unix seconds", "1767254400"),
        #[serde(skip_serializing_if = "Option::is_none")]
        jti: Option<&'a str> => optional_text("令牌 id，仅访问令牌。The id of an access token", "5924513516a5993435ec4a240610304a"),
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<&'a str> => optional_text("客户端，仅访问令牌。The client of an access token", "web"),
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<String> => optional_text("范围，仅访问令牌。The scope of an access token", "read write"),
        #[serde(skip_serializing_if = "Option::is_none")]
        sid: Option<String> => optional_text("会话 id：64 位十六进制。The id of the session", "c3cb388c4d163d2b5876b1b54d000ebd88050d6f045d67beb5825151ad2efaa8"),
        #[serde(skip_serializing_if = "Option::is_none")]
        acr: Option<String> => optional_text("登录强度。How strong the login was", "urn:stele:acr:legacy"),
        #[serde(skip_serializing_if = "Option::is_none")]
        amr: Option<Vec<String>> => optional_texts("登录方法。How the user logged in", "pwd"),
        #[serde(skip_serializing_if = "Option::is_none")]
        auth_time: Option<i64> => optional_integer("登录，Unix 秒。The login, in Unix seconds", "1767254400"),
    }
}

impl<'a> ActiveBody<'a> {
    /// The answer of the server with this issuer.
    pub(crate) fn new(info: &'a TokenInfo, issuer: &'a str) -> Self {
        match info {
            TokenInfo::Access(token) => Self::for_access_token(token, issuer),
            TokenInfo::Legacy(legacy) => Self::for_legacy_token(legacy, issuer),
        }
    }

    fn for_access_token(token: &'a AccessToken, issuer: &'a str) -> Self {
        let user_subject = token.user_subject();
        let start = Self {
            active: true,
            token_type: "Bearer",
            username: None,
            iss: issuer,
            sub: user_subject.map_or_else(|| token.client.to_string(), |subject| subject.user.to_string()),
            aud: token.audience.as_str(),
            exp: token.expires.as_secs(),
            iat: token.issued_at.as_secs(),
            jti: Some(&token.id),
            client_id: Some(token.client.as_str()),
            scope: token.scope.to_text(),
            sid: None,
            acr: None,
            amr: None,
            auth_time: None,
        };
        match user_subject {
            Some(subject) => start.with_session(&subject),
            None => start,
        }
    }

    fn for_legacy_token(legacy: &'a LegacyTokenInfo, issuer: &'a str) -> Self {
        let subject = &legacy.subject;
        Self {
            active: true,
            token_type: legacy.token_type.urn(),
            username: Some(&legacy.username),
            iss: issuer,
            sub: subject.user.to_string(),
            aud: legacy.audience.as_str(),
            exp: legacy.expires.as_secs(),
            iat: subject.authenticated_at.as_secs(),
            jti: None,
            client_id: None,
            scope: None,
            sid: None,
            acr: None,
            amr: None,
            auth_time: None,
        }
        .with_session(subject)
    }

    fn with_session(self, subject: &UserSubject) -> Self {
        let SessionClaims { sid, acr, amr, auth_time } = SessionClaims::new(subject);
        Self { sid: Some(sid), acr: Some(acr), amr: Some(amr), auth_time: Some(auth_time), ..self }
    }
}

response_body! {
    /// RFC 7009 §2.2: clients ignore the body.
    pub(crate) struct RevokedBody = REVOKED_BODY "Revoked" "已撤销，或本来无效。Revoked, or not valid before" {
    }
}
