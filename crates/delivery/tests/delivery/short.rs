//! Short messages by webhook.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use stele_core::hex;
use stele_service::metrics::Metrics;

use crate::gateway::{Act, Gateway, Request};
use crate::{CODE, HOUR, NOW, PHONE, SECRET, bounds, message, open, plan, settings, soon};

fn sent(request: &Request) -> Value {
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
async fn a_code_arrives_signed() {
    let mut gateway = Gateway::start(&[], Act::Answer(204));
    let delivery = open(&gateway.url, bounds());
    // Typed in another way, it is the same phone.
    delivery.dispatch(message("+8613800138042")).unwrap();
    let request = gateway.next().await;
    assert_signed(&request);
    assert_eq!(request.content_type, "application/json");
    assert_eq!(request.key.len(), 32);
    assert_eq!(request.authorization.as_deref(), Some("Basic dXNlcjpwYXNzIHdvcmQ="));
    let text = format!("您的重置密码验证码是 {CODE}，1 小时内有效，请勿告诉他人。");
    assert_eq!(sent(&request), json!({ "to": PHONE, "code": CODE, "purpose": "reset", "text": text }));

    delivery.dispatch(message(PHONE)).unwrap();
    assert_ne!(gateway.next().await.key, request.key, "another message");
    soon(delivery.drain()).await;
    assert!(!gateway.has_more());
}

#[actix_web::test]
async fn a_template_and_english() {
    let mut gateway = Gateway::start(&[], Act::Answer(200));
    let settings = settings(&gateway.url).with([
        ("STELE_WEBHOOK_TEMPLATE", r#"{"phones":["{to}"],"say":"{text}","sign":7}"#.to_owned()),
        ("STELE_DELIVERY_ENGLISH", "jwt".to_owned()),
    ]);
    let delivery = plan(&settings, HOUR / 6).unwrap().open(&Metrics::default()).unwrap();
    delivery.dispatch(message("+14155550123")).unwrap();
    let text = "Your code to reset your password is 012345. It is valid for 10 minutes. Do not share it.";
    assert_eq!(sent(&gateway.next().await), json!({ "phones": ["+14155550123"], "say": text, "sign": 7 }));
}

#[actix_web::test]
async fn trouble_is_tried_again_as_the_same_message() {
    let mut gateway = Gateway::start(&[Act::Answer(500), Act::Answer(429)], Act::Answer(200));
    let delivery = open(&gateway.url, bounds());
    delivery.dispatch(message(PHONE)).unwrap();
    let first = gateway.next().await;
    for _ in 0..2 {
        let again = gateway.next().await;
        assert_signed(&again);
        assert_eq!(again, first);
    }
    soon(delivery.drain()).await;
    assert!(!gateway.has_more());
}

#[actix_web::test]
async fn three_attempts_are_made_and_refusals_are_final() {
    for (status, attempts) in [(503, 3), (408, 3), (400, 1), (401, 1), (404, 1), (302, 1)] {
        let mut gateway = Gateway::start(&[], Act::Answer(status));
        let delivery = open(&gateway.url, bounds());
        delivery.dispatch(message(PHONE)).unwrap();
        soon(delivery.drain()).await;
        for _ in 0..attempts {
            assert!(gateway.has_more(), "{status}");
        }
        assert!(!gateway.has_more(), "{status}");
    }
}
