//! The token endpoint: form, client authentication, grants, targets and scopes.
//!
//! The grants of the authorization endpoint (code, PKCE, refresh; RFC 6749 §4.1, §6, RFC 7636) do not exist yet; that
//! they are refused is tested here. To be tested with that endpoint:
//!
//! - the code is checked for client, redirect URI, expiry, single use and challenge (RFC 6749 §4.1.3)
//! - a second use ends the first tokens (RFC 6749 §4.1.2)
//! - a verifier has 43 to 128 unreserved characters, and `plain` is refused (RFC 7636 §4.1, RFC 9700 §2.1.1)
//! - a challenge without verifier and a verifier without challenge are `invalid_grant` (RFC 9700 §4.8.2)
//! - public clients must use PKCE, and do not pass as confidential (RFC 9700 §2.1.1)
//! - a valid PKCE request works for every client

use serde_json::json;
use stele_core::oauth::{Grant, Scope};

use crate::test_service::*;

/// RFC 6749 §3.2: POST only; the body is a form.
#[tokio::test]
async fn only_a_posted_form_is_accepted() {
    let service = TestService::new().await;
    let form = "grant_type=client_credentials&audience=orders";
    for path in [TOKEN, INTROSPECT, REVOKE] {
        for method in ["GET", "PUT", "DELETE"] {
            let response = service.send(service.request(method, path)).await;
            assert_eq!((response.status, response.header("allow")), (405, "POST"), "{method} {path}");
        }
        let json = r#"{"grant_type":"client_credentials","audience":"orders","token":"x"}"#;
        for (content_type, body) in
            [("application/json", json), ("multipart/form-data; boundary=x", form), ("text/plain", form), ("", form)]
        {
            let request = service.request("POST", path).basic_auth(&service.web.id, Some(&service.web.secret));
            let request = if content_type.is_empty() { request } else { request.header("content-type", content_type) };
            let response = service.send(request.body(body)).await;
            assert_eq!(
                (response.status, &response.json()["error"]),
                (400, &json!("invalid_request")),
                "{content_type}"
            );
        }
        let compressed = service.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
        let response = service.send(compressed.header("content-encoding", "gzip").body(form)).await;
        assert_eq!((response.status, &response.json()["error"]), (400, &json!("invalid_request")));
    }
    access_token(&service.client_token(&service.web, &[("audience", "orders")]).await);
}

/// RFC 6749 §2.3.1: "The parameters can only be transmitted in the request-body".
#[tokio::test]
async fn parameters_in_the_query_are_refused() {
    let service = TestService::new().await;
    let Registered { id, secret } = &service.web;
    for query in [
        format!("client_id={id}&client_secret={secret}"),
        "grant_type=client_credentials".to_owned(),
        "token=x".to_owned(),
        "subject%5Ftoken=x".to_owned(),
    ] {
        for path in [TOKEN, INTROSPECT, REVOKE] {
            let path = format!("{path}?{query}");
            let response = service.post(&path, &service.web, &[("grant_type", "client_credentials")]).await;
            assert_eq!((response.status, &response.json()["error"]), (400, &json!("invalid_request")), "{path}");
        }
    }
    let path = format!("{TOKEN}?unknown=1");
    let parameters = [("grant_type", "client_credentials"), ("audience", "orders")];
    access_token(&service.post(&path, &service.web, &parameters).await);
}

/// RFC 6749 §3.2: "parameters MUST NOT be included more than once"; unknown ones are ignored, empty ones are absent.
#[tokio::test]
async fn each_parameter_may_occur_once() {
    let service = TestService::new().await;
    let ok = [("grant_type", "client_credentials"), ("audience", "orders")];
    for repeated in [("grant_type", "client_credentials"), ("scope", "read"), ("client_id", "web")] {
        let parameters: Vec<_> = ok.iter().copied().chain([repeated, repeated]).collect();
        let response = service.post(TOKEN, &service.web, &parameters).await;
        assert_eq!((response.status, &response.json()["error"]), (400, &json!("invalid_request")), "{repeated:?}");
    }
    for harmless in
        [&[("other", "1"), ("other", "2")], &[("scope", ""), ("resource", "")], &[("audience", "orders"); 2]]
    {
        let parameters: Vec<_> = ok.iter().copied().chain(harmless.iter().copied()).collect();
        access_token(&service.post(TOKEN, &service.web, &parameters).await);
    }
}

/// RFC 6749 §2.3, §2.3.1; OpenID Connect Core 9.
#[tokio::test]
async fn a_client_authenticates_by_header_or_body_but_not_by_both() {
    let service = TestService::new().await;
    let Registered { id, secret } = service.web.clone();
    let grant = [("grant_type", "client_credentials"), ("audience", "orders")];
    let with = |more: &[(&'static str, String)]| {
        let more = more.iter().map(|(name, value)| (*name, value.clone()));
        grant.iter().map(|(name, value)| (*name, (*value).to_owned())).chain(more).collect::<Vec<_>>()
    };
    let in_body = with(&[("client_id", id.clone()), ("client_secret", secret.clone())]);
    let send = async |form: &[(&str, String)], header: Option<(&str, &str)>| {
        let request = service.request("POST", TOKEN).form(form);
        let request = match header {
            Some((id, secret)) => request.basic_auth(id, Some(secret)),
            None => request,
        };
        service.send(request).await
    };
    access_token(&send(&in_body, None).await);
    access_token(&send(&with(&[]), Some((&id, &secret))).await);
    access_token(&send(&with(&[("client_id", id.clone())]), Some((&id, &secret))).await);
    // Both are form-decoded after the base64 (RFC 6749 §2.3.1).
    let encoded: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
    access_token(&send(&with(&[]), Some((&encoded, &secret))).await);
    for form in [in_body, with(&[("client_secret", secret.clone())]), with(&[("client_id", "other".to_owned())])] {
        let response = send(&form, Some((&id, &secret))).await;
        assert_eq!((response.status, &response.json()["error"]), (400, &json!("invalid_request")), "{form:?}");
    }
}

/// RFC 6749 §5.2: 401 with `WWW-Authenticate: Basic`, and one answer for an unknown client and a wrong secret (A19).
#[tokio::test]
async fn failed_client_authentication_is_401_whatever_failed() {
    let service = TestService::new().await;
    let grant = [("grant_type", "client_credentials"), ("audience", "orders")];
    let wrong_secret = Registered { id: "web".to_owned(), secret: service.orders.secret.clone() };
    let unknown = Registered { id: "unknown".to_owned(), secret: service.web.secret.clone() };
    let resource = service.orders.clone();
    let hostile = Registered { id: "we\u{0}b' OR 1=1".to_owned(), secret: "x".repeat(10_000) };
    let first = service.post(TOKEN, &wrong_secret, &grant).await;
    first.assert_is(401, INVALID_CLIENT);
    assert_eq!(first.header("www-authenticate"), "Basic realm=\"stele\", charset=\"UTF-8\"");
    for caller in [unknown, resource, hostile] {
        assert_eq!(service.post(TOKEN, &caller, &grant).await, first, "{}", caller.id);
    }
    let without = service.post_form(TOKEN, &grant, |request| request).await;
    assert_eq!(without, first);
    for authorization in ["Bearer x", "Basic", "Basic !", "Basic d2Vi", "Digest username=web", "web"] {
        let response = service.post_form(TOKEN, &grant, |request| request.header("authorization", authorization)).await;
        assert_eq!(response, first, "{authorization}");
    }
    access_token(&service.post(TOKEN, &service.web, &grant).await);
}

/// A public client does not pass as a confidential one (RFC 9700 §2.1.1), and there are no assertions.
#[tokio::test]
async fn a_client_must_have_a_secret() {
    let service = TestService::new().await;
    let grant = [("grant_type", "client_credentials"), ("audience", "orders")];
    for more in [
        vec![("client_id", "web")],
        vec![("client_id", "web"), ("client_secret", "")],
        vec![("client_id", "web"), ("client_assertion", "x"), ("client_assertion_type", "y")],
    ] {
        let parameters: Vec<_> = grant.iter().copied().chain(more).collect();
        service.post_form(TOKEN, &parameters, |request| request).await.assert_is(401, INVALID_CLIENT);
    }
}

/// A19: guesses are counted by their origin. RFC 9110 §10.2.3, §15.5.
#[tokio::test]
async fn guesses_are_rate_limited_and_a_correct_secret_never_is() {
    let service = TestService::new().await;
    let grant = [("grant_type", "client_credentials"), ("audience", "orders")];
    let from = |octet: u8| {
        move |request: reqwest::RequestBuilder| {
            request.header("x-forwarded-for", format!("203.0.113.{octet}")).basic_auth("web", Some("wrong"))
        }
    };
    let mut limited = None;
    for attempt in 0..200 {
        let response = service.post_form(TOKEN, &grant, from(1)).await;
        match response.status {
            401 => response.assert_is(401, INVALID_CLIENT),
            429 => {
                limited = Some((attempt, response));
                break;
            }
            _ => panic!("{response:?}"),
        }
    }
    let (attempts, response) = limited.expect("a rate limit");
    assert!(attempts >= 5, "{attempts}");
    assert_eq!(response.json()["error"], "temporarily_unavailable");
    assert!(response.retry_after().is_some_and(|seconds| seconds >= 1));
    let correct = service
        .post_form(TOKEN, &grant, |request| {
            let request = request.header("x-forwarded-for", "203.0.113.1");
            request.basic_auth("web", Some(&service.web.secret))
        })
        .await;
    access_token(&correct);
    // The budget is shared with the other endpoints, but not with another client.
    let resource = |request: reqwest::RequestBuilder| {
        request.header("x-forwarded-for", "203.0.113.2").basic_auth("orders", Some("wrong"))
    };
    service.post_form(INTROSPECT, &[("token", "x")], resource).await.assert_is(401, INVALID_CLIENT);
}

/// RFC 6749 §5.2, RFC 9700 §2.1.2 and §2.4.
#[tokio::test]
async fn other_grants_do_not_exist() {
    let service = TestService::new().await;
    for (grant_type, more) in [
        ("password", vec![("username", "mark"), ("password", PASSWORD)]),
        ("authorization_code", vec![("code", "x"), ("redirect_uri", "https://a.example/"), ("code_verifier", "y")]),
        ("refresh_token", vec![("refresh_token", "x")]),
        ("implicit", vec![]),
        ("token-exchange", vec![]),
        ("CLIENT_CREDENTIALS", vec![]),
        ("urn:ietf:params:oauth:grant-type:device_code", vec![]),
        ("urn:ietf:params:oauth:grant-type:jwt-bearer", vec![("assertion", "x")]),
    ] {
        let parameters: Vec<_> = [("grant_type", grant_type)].into_iter().chain(more).collect();
        let response = service.post(TOKEN, &service.web, &parameters).await;
        let error = &response.json()["error"];
        assert_eq!((response.status, error), (400, &json!("unsupported_grant_type")), "{grant_type}");
    }
    let response = service.post(TOKEN, &service.web, &[("scope", "read")]).await;
    assert_eq!((response.status, &response.json()["error"]), (400, &json!("invalid_request")));
}

/// RFC 6749 §5.2.
#[tokio::test]
async fn a_client_may_use_only_its_grants() {
    let service = TestService::new().await;
    let only = async |id: &str, grant: Grant| {
        service.add_client(id, |client| stele_core::oauth::OAuthClient { grants: [grant].into(), ..client }).await
    };
    let machine = only("machine", Grant::ClientCredentials).await;
    let exchanger = only("exchanger", Grant::TokenExchange).await;
    let session = service.log_in("tms").await;
    let urn = "urn:stele:token-type:tms-session";
    let exchange =
        async |client: &Registered| service.exchange(client, urn, session.expose(), &[("audience", "orders")]).await;
    for response in [service.client_token(&exchanger, &[("audience", "orders")]).await, exchange(&machine).await] {
        assert_eq!((response.status, &response.json()["error"]), (400, &json!("unauthorized_client")));
    }
    access_token(&service.client_token(&machine, &[("audience", "orders")]).await);
    access_token(&exchange(&exchanger).await);
}

/// RFC 6749 §5.1, §4.4.3 (no refresh token); RFC 9068 §2.2, §5: `sub` is the client id.
#[tokio::test]
async fn a_client_gets_a_token_for_itself() {
    let service = TestService::new().await;
    let response = service.client_token(&service.web, &[("resource", ORDERS_URI), ("scope", "read")]).await;
    let body = response.json();
    let token = access_token(&response);
    assert_eq!(body, json!({ "access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": "read" }));
    let (header, claims) = decode(&token);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    let jti = claims["jti"].as_str().unwrap();
    assert_eq!(jti.len(), 32);
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "sub": "web", "aud": ORDERS_URI, "exp": service.now() + 300, "iat": service.now(),
            "jti": jti, "client_id": "web", "scope": "read",
        })
    );
    let other = access_token(&service.client_token(&service.web, &[("resource", ORDERS_URI)]).await);
    assert_ne!(crate::test_service::claims(&other)["jti"], claims["jti"]);
}

/// RFC 8707 §2, RFC 9700 §2.3: the audience is one registered resource server of the client.
#[tokio::test]
async fn a_token_has_one_of_the_clients_resource_servers_as_its_audience() {
    let service = TestService::new().await;
    service.add_resource("stock", Some("https://stock.example.com/"), &[]).await;
    let audience_of = async |client: &Registered, parameters: &Parameters<'_>| {
        let token = access_token(&service.client_token(client, parameters).await);
        claims(&token)["aud"].as_str().unwrap().to_owned()
    };
    for parameters in [
        vec![("audience", "orders")],
        vec![("audience", ORDERS_URI)],
        vec![("resource", ORDERS_URI)],
        vec![("audience", "orders"), ("resource", ORDERS_URI)],
        vec![("resource", ORDERS_URI), ("resource", ORDERS_URI)],
    ] {
        assert_eq!(audience_of(&service.web, &parameters).await, ORDERS_URI, "{parameters:?}");
    }
    for parameters in [vec![("audience", "billing")], vec![("resource", BILLING_URN)]] {
        assert_eq!(audience_of(&service.web, &parameters).await, BILLING_URN);
    }
    for parameters in [
        vec![],
        vec![("audience", "stock")],
        vec![("resource", "https://stock.example.com/")],
        vec![("audience", "unknown")],
        vec![("audience", "Orders")],
        vec![("resource", "orders")],
        vec![("resource", "/relative")],
        vec![("resource", "https://orders.example.com/#fragment")],
        vec![("resource", "https://orders.example.com")],
        vec![("resource", "https://orders.example.com/sub")],
        vec![("resource", ORDERS_URI), ("resource", BILLING_URN)],
        vec![("audience", "orders"), ("audience", "billing")],
        vec![("audience", "orders"), ("audience", "stock")],
        vec![("audience", "orders"), ("resource", BILLING_URN)],
        vec![("audience", "orders"), ("audience", "unknown")],
        vec![("audience", "a"), ("audience", "b"), ("audience", "c"), ("audience", "d"), ("audience", "orders")],
    ] {
        service.client_token(&service.web, &parameters).await.assert_is(400, INVALID_TARGET);
    }
    let single = service
        .add_client("single", |client| stele_core::oauth::OAuthClient {
            resources: resource_names(&["billing"]),
            ..client
        })
        .await;
    assert_eq!(audience_of(&single, &[]).await, BILLING_URN);
    service.client_token(&single, &[("audience", "orders")]).await.assert_is(400, INVALID_TARGET);
}

/// RFC 6749 §3.3, §5.2; A17.
#[tokio::test]
async fn a_scope_is_never_wider_than_the_clients() {
    let service = TestService::new().await;
    let scope_of = async |client: &Registered, scope: Option<&str>| {
        let parameters: Vec<_> = [("audience", "orders")].into_iter().chain(scope.map(|s| ("scope", s))).collect();
        service.client_token(client, &parameters).await
    };
    for (requested, granted) in
        [(None, "read write"), (Some(""), "read write"), (Some("write"), "write"), (Some("write read"), "read write")]
    {
        assert_eq!(scope_of(&service.web, requested).await.json()["scope"], granted, "{requested:?}");
    }
    for wider in ["read admin", "admin", "READ", "read  write", "read\twrite", "read \"", "openid"] {
        scope_of(&service.web, Some(wider)).await.assert_is(400, INVALID_SCOPE);
    }
    let plain = service
        .add_client("plain", |client| stele_core::oauth::OAuthClient { scopes: Scope::default(), ..client })
        .await;
    let response = scope_of(&plain, None).await;
    assert!(response.json().get("scope").is_none() && claims(&access_token(&response)).get("scope").is_none());
    scope_of(&plain, Some("read")).await.assert_is(400, INVALID_SCOPE);
}

/// Two secrets are valid while they are rotated, and the first ends when it expires.
#[tokio::test]
async fn both_secrets_of_a_rotation_authenticate_until_the_old_one_expires() {
    let service = TestService::new().await;
    let registry = service.lab.oauth_registry();
    let id = stele_core::oauth::ClientId::parse("web").unwrap();
    let old = registry.find_client(&id).await.unwrap().unwrap().secrets;
    let new_secret = stele_core::oauth::ClientSecret::generate(&stele_core::random::OsRandom);
    let overlap = std::time::Duration::from_secs(3_600);
    let new = old.rotated(&new_secret, service.lab.clock().now(), overlap);
    assert!(registry.replace_client_secrets(&id, &old, &new).await.unwrap());
    // Registered clients are cached for five seconds.
    service.advance_clock(6);
    let renewed = Registered { secret: new_secret.expose().to_owned(), ..service.web.clone() };
    let parameters = [("audience", "orders")];
    for client in [&service.web, &renewed] {
        access_token(&service.client_token(client, &parameters).await);
    }
    service.advance_clock(3_600);
    service.client_token(&service.web, &parameters).await.assert_is(401, INVALID_CLIENT);
    access_token(&service.client_token(&renewed, &parameters).await);
}
