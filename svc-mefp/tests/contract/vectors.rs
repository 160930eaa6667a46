//! Envelopes from another implementation (`tests/vectors/README.md`), and properties of all envelopes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};
use stele_dialect::{FieldError, Fields};
use stele_testkit::{TestLab, http_client};
use svc_mefp::SERVICE;
use svc_mefp::envelope::{EnvelopeCipher, EnvelopeKey, Padding};
use zeroize::Zeroizing;

fn reference_vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/envelope.json")).unwrap()
}

fn build_cipher(key: &str, iv: &str) -> EnvelopeCipher {
    EnvelopeCipher::new(EnvelopeKey::new(key).unwrap(), Zeroizing::new(iv.as_bytes().try_into().unwrap()))
}

fn test_cipher() -> EnvelopeCipher {
    build_cipher("0123456789abcdefghijklmnopqrstuv", "melinkmelinkmeli")
}

/// The fields of an envelope, or their error; `None` if it cannot be decrypted.
fn decrypt_fields(encrypt: &str) -> Option<Result<Fields, FieldError>> {
    test_cipher().decrypt(encrypt).map(|decrypted| decrypted.fields)
}

/// Whether `fields` are the members of the JSON object in `text`.
fn has_members(fields: &Fields, text: &str) -> bool {
    let object: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap();
    let names = ["login_name", "password", "new_password", "captcha", "usage", "app_to", "token"];
    let as_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.len() == object.len()
        && names.iter().all(|name| fields.optional(name).unwrap().map(str::to_owned) == object.get(*name).map(as_text))
}

/// The padding of the response to a request with this padding; `None` for a whole block of ISO 10126, which is
/// rejected.
fn expected_response_padding(padding: &Value, text: &str) -> Option<Padding> {
    let is_whole_blocks = text.len().is_multiple_of(16);
    match padding.as_str().unwrap() {
        "zeros" if !is_whole_blocks => Some(Padding::Zeros),
        "spaces" if !is_whole_blocks => Some(Padding::Spaces),
        "a block of zeros" | "a line break, zeros" => Some(Padding::Zeros),
        "a block of spaces" => Some(Padding::Spaces),
        "iso10126" if is_whole_blocks => None,
        _ => Some(Padding::Pkcs7),
    }
}

#[test]
fn reference_envelopes_are_decrypted_and_reproduced() {
    let file = reference_vectors();
    let cipher = build_cipher(file["key"].as_str().unwrap(), file["iv"].as_str().unwrap());
    for vector in file["vectors"].as_array().unwrap() {
        let [text, encrypted] = ["text", "encrypt"].map(|name| vector[name].as_str().unwrap());
        let decrypted = cipher.decrypt(encrypted);
        let expected = expected_response_padding(&vector["padding"], text);
        assert_eq!(decrypted.as_ref().map(|decrypted| decrypted.padding), expected, "{vector}");
        let Some(decrypted) = decrypted else { continue };
        assert!(has_members(&decrypted.fields.unwrap(), text), "{vector}");
        let padding = match vector["padding"].as_str().unwrap() {
            "pkcs7" => Padding::Pkcs7,
            "zeros" => Padding::Zeros,
            "spaces" => Padding::Spaces,
            _ => continue,
        };
        assert_eq!(cipher.encrypt(text.as_bytes(), padding), encrypted, "{vector}");
    }
}

#[actix_web::test]
async fn reference_envelopes_get_a_response() {
    let file = reference_vectors();
    let [key, iv] = ["key", "iv"].map(|name| file[name].as_str().unwrap());
    let lab = TestLab::with_settings(&[("STELE_MEFP_SECRET", key)]).await;
    lab.add_app("melink", iv, &[]).await;
    let service = lab.start_service(SERVICE).await;
    let cipher = build_cipher(key, iv);
    for vector in file["vectors"].as_array().unwrap() {
        let body = json!({ "encrypt": vector["encrypt"], "app_from": "melink" });
        let response = http_client().post(service.url("/auth/check/loginname")).json(&body).send().await.unwrap();
        let unknown = r#"{"result":0,"errors":{"code":40005,"message":"用户名不存在"}}"#;
        let missing = r#"{"result":0,"errors":{"code":40000,"message":"缺少参数: login_name"}}"#;
        let has_login_name = vector["text"].as_str().unwrap().contains("login_name");
        let padding = expected_response_padding(&vector["padding"], vector["text"].as_str().unwrap());
        assert_eq!(response.status(), if has_login_name && padding.is_some() { 200 } else { 400 }, "{vector}");
        let response: Value = response.json().await.unwrap();
        let Some(padding) = padding else {
            assert_eq!(response["errors"]["code"], 40000, "{vector}");
            continue;
        };
        let expected = cipher.encrypt(if has_login_name { unknown } else { missing }.as_bytes(), padding);
        assert_eq!(response, json!({ "encrypt": expected }), "{vector}");
    }
}

#[test]
fn envelope_base64_may_be_wrapped_unpadded_or_form_encoded() {
    let text = r#"{"login_name":"13612345678","password":"密码密码密码密码密码密码密码密码密码密码密码密码"}"#;
    let encrypted = test_cipher().encrypt(text.as_bytes(), Padding::Pkcs7);
    assert!(encrypted.contains('+') && encrypted.ends_with('='));
    let mut wrapped = String::new();
    for line in encrypted.as_bytes().chunks(76) {
        wrapped += std::str::from_utf8(line).unwrap();
        wrapped += "\n";
    }
    let percent_encoded = encrypted.replace('+', "%2B").replace('/', "%2F").replace('=', "%3d");
    for encoded in [
        encrypted.replace('=', ""),
        encrypted.replace('+', " "),
        encrypted.replace('+', "-").replace('/', "_"),
        format!("{encrypted}="),
        format!(" {encrypted}\r\n"),
        percent_encoded,
        wrapped.replace('\n', "\r\n"),
        wrapped,
    ] {
        assert!(has_members(&decrypt_fields(&encoded).unwrap().unwrap(), text), "{encoded}");
    }
    for invalid in
        [format!("{encrypted}AAAA"), encrypted.replace('=', "*"), encrypted.replace('+', "."), format!("={encrypted}")]
    {
        assert!(decrypt_fields(&invalid).is_none(), "{invalid}");
    }
}

#[test]
fn a_flipped_bit_yields_the_uniform_error_or_another_object() {
    let encrypted = test_cipher().encrypt(br#"{"login_name":"13612345678","password":"123456"}"#, Padding::Pkcs7);
    let cipher_text = STANDARD.decode(&encrypted).unwrap();
    let mut rejected = 0;
    for bit in 0..cipher_text.len() * 8 {
        let mut flipped = cipher_text.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match decrypt_fields(&STANDARD.encode(flipped)) {
            None => rejected += 1,
            Some(fields) => assert!(fields.is_ok_and(|fields| fields.len() <= 2)),
        }
    }
    assert!(rejected > cipher_text.len() * 4, "{rejected}");
}

proptest! {
    #[test]
    fn an_encrypted_text_can_be_decrypted(login in "\\PC{1,60}", password in "\\PC{1,60}") {
        let text = json!({ "login_name": login, "password": password }).to_string();
        for padding in [Padding::Pkcs7, Padding::Zeros, Padding::Spaces] {
            let encrypted = test_cipher().encrypt(text.as_bytes(), padding);
            let fields = decrypt_fields(&encrypted).unwrap().unwrap();
            prop_assert!(has_members(&fields, &text));
        }
    }

    #[test]
    fn zero_and_space_padding_is_accepted(login in "\\PC{1,60}", filler in prop_oneof![Just(0_u8), Just(b' ')]) {
        let text = json!({ "login_name": login }).to_string();
        let mut padded = text.clone().into_bytes();
        padded.resize(text.len().next_multiple_of(16), filler);
        let blocks = STANDARD.decode(test_cipher().encrypt(&padded, Padding::Zeros)).unwrap();
        for encoded in [STANDARD.encode(&blocks), STANDARD_NO_PAD.encode(&blocks)] {
            prop_assert!(has_members(&decrypt_fields(&encoded).unwrap().unwrap(), &text));
        }
    }

    #[test]
    fn corrupted_envelopes_do_not_panic(cut in 0_usize..200, flip in 0_usize..1_000, text in "\\PC{0,90}") {
        let encrypted = test_cipher().encrypt(json!({ "login_name": text }).to_string().as_bytes(), Padding::Pkcs7);
        let mut bytes = STANDARD.decode(&encrypted).unwrap();
        let length = bytes.len();
        bytes[(flip / 8) % length] ^= 1 << (flip % 8);
        bytes.truncate(length - cut % length);
        prop_assert!(matches!(decrypt_fields(&STANDARD.encode(&bytes)), None | Some(Ok(_) | Err(FieldError::Duplicate(_)))));
        let at = cut % encrypted.len();
        prop_assert!(matches!(decrypt_fields(&encrypted[..at]), None | Some(Ok(_))));
    }

    #[test]
    fn garbage_yields_the_uniform_error(text in "\\PC{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decrypt_fields(&text).is_none());
        prop_assert!(decrypt_fields(&STANDARD.encode(bytes)).is_none());
    }
}
