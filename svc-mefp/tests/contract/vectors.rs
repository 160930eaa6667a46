//! Envelopes made by another implementation (`tests/vectors`), and what must hold of all envelopes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};
use stele_dialect::{Fault, Fields};
use stele_testkit::{Lab, http};
use svc_mefp::SERVICE;
use svc_mefp::envelope::{Envelope, Key, Padding};
use zeroize::Zeroizing;

fn made_elsewhere() -> Value {
    serde_json::from_str(include_str!("../vectors/envelope.json")).unwrap()
}

fn envelope(key: &str, iv: &str) -> Envelope {
    Envelope::new(Key::new(key).unwrap(), Zeroizing::new(iv.as_bytes().try_into().unwrap()))
}

fn any_envelope() -> Envelope {
    envelope("0123456789abcdefghijklmnopqrstuv", "melinkmelinkmeli")
}

/// What opening gives: the fields, or what is wrong with them.
fn opened(encrypt: &str) -> Option<Result<Fields, Fault>> {
    any_envelope().open(encrypt).map(|opened| opened.fields)
}

/// Whether `fields` are the members of the JSON object in `text`.
fn same(fields: &Fields, text: &str) -> bool {
    let object: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap();
    let names = ["login_name", "password", "new_password", "captcha", "usage", "app_to", "token"];
    let told = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.len() == object.len()
        && names.iter().all(|name| fields.optional(name).unwrap().map(str::to_owned) == object.get(*name).map(told))
}

/// How a request that is padded like this is answered; `None` if it does not open: a whole block of ISO 10126.
fn answered(padding: &Value, text: &str) -> Option<Padding> {
    let whole = text.len().is_multiple_of(16);
    match padding.as_str().unwrap() {
        "zeros" if !whole => Some(Padding::Zeros),
        "spaces" if !whole => Some(Padding::Spaces),
        "a block of zeros" | "a line break, zeros" => Some(Padding::Zeros),
        "a block of spaces" => Some(Padding::Spaces),
        "iso10126" if whole => None,
        _ => Some(Padding::Pkcs7),
    }
}

#[test]
fn envelopes_made_elsewhere_are_opened_and_made_alike() {
    let all = made_elsewhere();
    let envelope = envelope(all["key"].as_str().unwrap(), all["iv"].as_str().unwrap());
    for vector in all["vectors"].as_array().unwrap() {
        let [text, sealed] = ["text", "encrypt"].map(|name| vector[name].as_str().unwrap());
        let opened = envelope.open(sealed);
        let expected = answered(&vector["padding"], text);
        assert_eq!(opened.as_ref().map(|opened| opened.padding), expected, "{vector}");
        let Some(opened) = opened else { continue };
        assert!(same(&opened.fields.unwrap(), text), "{vector}");
        let padding = match vector["padding"].as_str().unwrap() {
            "pkcs7" => Padding::Pkcs7,
            "zeros" => Padding::Zeros,
            "spaces" => Padding::Spaces,
            _ => continue,
        };
        assert_eq!(envelope.seal(text.as_bytes(), padding), sealed, "{vector}");
    }
}

#[actix_web::test]
async fn envelopes_made_elsewhere_are_answered() {
    let all = made_elsewhere();
    let [key, iv] = ["key", "iv"].map(|name| all[name].as_str().unwrap());
    let lab = Lab::with(&[("STELE_MEFP_SECRET", key)]).await;
    lab.app("melink", iv, &[]).await;
    let service = lab.start(SERVICE).await;
    let envelope = envelope(key, iv);
    for vector in all["vectors"].as_array().unwrap() {
        let body = json!({ "encrypt": vector["encrypt"], "app_from": "melink" });
        let answer = http().post(service.url("/auth/check/loginname")).json(&body).send().await.unwrap();
        let unknown = r#"{"result":0,"errors":{"code":40005,"message":"用户名不存在"}}"#;
        let missing = r#"{"result":0,"errors":{"code":40000,"message":"缺少参数: login_name"}}"#;
        let named = vector["text"].as_str().unwrap().contains("login_name");
        let padding = answered(&vector["padding"], vector["text"].as_str().unwrap());
        assert_eq!(answer.status(), if named && padding.is_some() { 200 } else { 400 }, "{vector}");
        let answer: Value = answer.json().await.unwrap();
        let Some(padding) = padding else {
            assert_eq!(answer["errors"]["code"], 40000, "{vector}");
            continue;
        };
        let expected = envelope.seal(if named { unknown } else { missing }.as_bytes(), padding);
        assert_eq!(answer, json!({ "encrypt": expected }), "{vector}");
    }
}

#[test]
fn base64_may_be_wrapped_unpadded_or_through_a_form() {
    let text = r#"{"login_name":"13612345678","password":"密码密码密码密码密码密码密码密码密码密码密码密码"}"#;
    let sealed = any_envelope().seal(text.as_bytes(), Padding::Pkcs7);
    assert!(sealed.contains('+') && sealed.ends_with('='));
    let mut wrapped = String::new();
    for line in sealed.as_bytes().chunks(76) {
        wrapped += std::str::from_utf8(line).unwrap();
        wrapped += "\n";
    }
    let percent_encoded = sealed.replace('+', "%2B").replace('/', "%2F").replace('=', "%3d");
    for written in [
        sealed.replace('=', ""),
        sealed.replace('+', " "),
        sealed.replace('+', "-").replace('/', "_"),
        format!("{sealed}="),
        format!(" {sealed}\r\n"),
        percent_encoded,
        wrapped.replace('\n', "\r\n"),
        wrapped,
    ] {
        assert!(same(&opened(&written).unwrap().unwrap(), text), "{written}");
    }
    for wrong in [format!("{sealed}AAAA"), sealed.replace('=', "*"), sealed.replace('+', "."), format!("={sealed}")] {
        assert!(opened(&wrong).is_none(), "{wrong}");
    }
}

#[test]
fn every_flipped_bit_ends_in_the_one_error_or_in_another_object() {
    let sealed = any_envelope().seal(br#"{"login_name":"13612345678","password":"123456"}"#, Padding::Pkcs7);
    let whole = STANDARD.decode(&sealed).unwrap();
    let mut shut = 0;
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match opened(&STANDARD.encode(flipped)) {
            None => shut += 1,
            Some(fields) => assert!(fields.is_ok_and(|fields| fields.len() <= 2)),
        }
    }
    assert!(shut > whole.len() * 4, "{shut}");
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(login in "\\PC{1,60}", password in "\\PC{1,60}") {
        let text = json!({ "login_name": login, "password": password }).to_string();
        for padding in [Padding::Pkcs7, Padding::Zeros, Padding::Spaces] {
            let sealed = any_envelope().seal(text.as_bytes(), padding);
            let fields = opened(&sealed).unwrap().unwrap();
            prop_assert!(same(&fields, &text));
        }
    }

    #[test]
    fn zeros_and_spaces_are_padding_too(login in "\\PC{1,60}", filler in prop_oneof![Just(0_u8), Just(b' ')]) {
        let text = json!({ "login_name": login }).to_string();
        let mut padded = text.clone().into_bytes();
        padded.resize(text.len().next_multiple_of(16), filler);
        let blocks = STANDARD.decode(any_envelope().seal(&padded, Padding::Zeros)).unwrap();
        for encoded in [STANDARD.encode(&blocks), STANDARD_NO_PAD.encode(&blocks)] {
            prop_assert!(same(&opened(&encoded).unwrap().unwrap(), &text));
        }
    }

    #[test]
    fn truncated_or_flipped_it_never_panics(cut in 0_usize..200, flip in 0_usize..1_000, text in "\\PC{0,90}") {
        let sealed = any_envelope().seal(json!({ "login_name": text }).to_string().as_bytes(), Padding::Pkcs7);
        let mut bytes = STANDARD.decode(&sealed).unwrap();
        let length = bytes.len();
        bytes[(flip / 8) % length] ^= 1 << (flip % 8);
        bytes.truncate(length - cut % length);
        prop_assert!(matches!(opened(&STANDARD.encode(&bytes)), None | Some(Ok(_) | Err(Fault::Doubled(_)))));
        let at = cut % sealed.len();
        prop_assert!(matches!(opened(&sealed[..at]), None | Some(Ok(_))));
    }

    #[test]
    fn garbage_ends_in_the_one_error(text in "\\PC{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(opened(&text).is_none());
        prop_assert!(opened(&STANDARD.encode(bytes)).is_none());
    }
}
