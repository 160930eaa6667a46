//! Delivery of short messages by webhook.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use stele_core::hex;
use stele_service::metrics::Metrics;

use crate::sms_gateway::{GatewayBehavior, Request, SmsGateway};
use crate::{
    CODE, HOUR, NOW, PHONE, SECRET, delivery_config, message, open_delivery, settings, test_config, within_timeout,
};

fn request_json(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

fn assert_signed(request: &Request) {
    let time = NOW.as_secs().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.{}", request.body).as_bytes());
    let tag = hex::encode(&mac.finalize().into_bytes());
    assert_eq!(request.signature, format!("t={time},v1={tag}"));
}

#[actix_web::test]
async fn a_code_is_delivered_by_a_signed_webhook_request() {
    let mut gateway = SmsGateway::start(&[], GatewayBehavior::Respond(204));
    let delivery = open_delivery(&gateway.url, test_config());
    // The same phone number as `PHONE`, with the calling code.
    delivery.dispatch(message("+8613800138042")).unwrap();
    let request = gateway.next_request().await;
    assert_signed(&request);
    assert_eq!(request.content_type, "application/json");
    assert_eq!(request.idempotency_key.len(), 32);
    assert_eq!(request.authorization.as_deref(), Some("Basic dXNlcjpwYXNzIHdvcmQ="));
    let text = format!("您的重置密码验证码是 {CODE}，1 小时内有效，请勿告诉他人。");
    assert_eq!(request_json(&request), json!({ "to": PHONE, "code": CODE, "purpose": "reset", "text": text }));

    delivery.dispatch(message(PHONE)).unwrap();
    assert_ne!(gateway.next_request().await.idempotency_key, request.idempotency_key, "each message has its own key");
    within_timeout(delivery.drain()).await;
    assert!(!gateway.has_unread_request());
}

#[actix_web::test]
async fn a_custom_template_and_english_texts_are_used() {
    let mut gateway = SmsGateway::start(&[], GatewayBehavior::Respond(200));
    let settings = settings(&gateway.url).with_values([
        ("STELE_WEBHOOK_TEMPLATE", r#"{"phones":["{to}"],"say":"{text}","sign":7}"#.to_owned()),
        ("STELE_DELIVERY_ENGLISH", "jwt".to_owned()),
    ]);
    let delivery = delivery_config(&settings, HOUR / 6).unwrap().open(&Metrics::default()).unwrap();
    delivery.dispatch(message("+14155550123")).unwrap();
    let text = "Your code to reset your password is 012345. It is valid for 10 minutes. Do not share it.";
    assert_eq!(
        request_json(&gateway.next_request().await),
        json!({ "phones": ["+14155550123"], "say": text, "sign": 7 })
    );
}

#[actix_web::test]
async fn provider_errors_are_retried_with_the_same_idempotency_key() {
    let mut gateway = SmsGateway::start(
        &[GatewayBehavior::Respond(500), GatewayBehavior::Respond(429)],
        GatewayBehavior::Respond(200),
    );
    let delivery = open_delivery(&gateway.url, test_config());
    delivery.dispatch(message(PHONE)).unwrap();
    let first = gateway.next_request().await;
    for _ in 0..2 {
        let retried = gateway.next_request().await;
        assert_signed(&retried);
        assert_eq!(retried, first);
    }
    within_timeout(delivery.drain()).await;
    assert!(!gateway.has_unread_request());
}

#[actix_web::test]
async fn transient_errors_get_three_attempts_and_rejections_one() {
    for (status, attempts) in [(503, 3), (408, 3), (400, 1), (401, 1), (404, 1), (302, 1)] {
        let mut gateway = SmsGateway::start(&[], GatewayBehavior::Respond(status));
        let delivery = open_delivery(&gateway.url, test_config());
        delivery.dispatch(message(PHONE)).unwrap();
        within_timeout(delivery.drain()).await;
        for _ in 0..attempts {
            assert!(gateway.has_unread_request(), "{status}");
        }
        assert!(!gateway.has_unread_request(), "{status}");
    }
}
