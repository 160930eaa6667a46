//! Salted proofs as old clients format them: text and unit of the timestamp, letter case of `D` (the password's md5),
//! format of the digest.

use stele_core::Error;

use super::salted::{assert_accepted_at, bit_converter_format, login_with_digest, salted_digest, start_with_user};
use super::{PASSWORD, PHONE, SaltedDialect};
use crate::{TestResponse, md5_hex};

/// Logs in with a digest and this text as the timestamp.
async fn login_with_timestamp_text<D: SaltedDialect>(app: &D, digest: &str, sent: &str) -> TestResponse {
    let mut fields = D::proof_fields(PHONE, digest, 0);
    fields.iter_mut().filter(|(name, _)| *name == "timestamp").for_each(|(_, value)| sent.clone_into(value));
    app.login_with_fields(0, fields).await
}

/// `md5(D + text)`.
fn salted_digest_with_text(text: &str) -> String {
    md5_hex(&format!("{}{text}", md5_hex(PASSWORD)))
}

pub async fn a_proof_covers_the_timestamp_as_text<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let formats: [fn(i64) -> (String, String); 10] = [
        |at| (format!(" {at}\n"), at.to_string()),
        |at| (format!("{at}\r\n"), format!("{at}\r\n")),
        |at| (format!("\"{at}\""), at.to_string()),
        |at| (format!("{at}.0"), format!("{at}.0")),
        |at| (format!("{at}.0"), at.to_string()),
        |at| (format!("{at}.000"), at.to_string()),
        |at| (format!("{at}E0"), at.to_string()),
        |at| (format!("{at}000"), format!("{at}000")),
        |at| (format!("{at}987"), format!("{at}987")),
        |at| (format!(" {at}123.0 "), format!("{at}123")),
    ];
    for write in formats {
        app.advance_clock(1);
        let (sent, hashed) = write(app.now());
        let digest = salted_digest_with_text(&hashed);
        app.assert_accepted(login_with_timestamp_text(&app, &digest, &sent).await);
        // The proof is consumed, also for other spellings of the same text.
        for again in [sent.clone(), format!("{sent} "), hashed.trim().to_owned(), format!("'{}'", hashed.trim())] {
            let response = login_with_timestamp_text(&app, &digest, &again).await;
            let expected = [Error::Replayed, Error::WrongPassword].map(|error| app.render_error(&error));
            assert!(expected.contains(&response.text), "{sent:?} over {hashed:?}, then {again:?}: {response:?}");
        }
        app.assert_fails_with(&login_with_timestamp_text(&app, &digest, &sent).await, &Error::Replayed);
    }
}

pub async fn a_json_double_is_accepted_as_timestamp<D: SaltedDialect>() {
    type Write = fn(i64) -> String;
    let app: D = start_with_user(&[]).await;
    let formats: [(Write, Write); 5] = [
        (|at| format!("{at}.0"), |at| format!("{at}.0")),
        (|at| format!("{at}.0"), |at| at.to_string()),
        (|at| format!("{}E9", at as f64 / 1e9), |at| at.to_string()),
        (|at| format!("{}E9", at as f64 / 1e9), |at| format!("{}E9", at as f64 / 1e9)),
        (|at| format!("{at}123.0"), |at| format!("{at}123")),
    ];
    for (write_sent, write_hashed) in formats {
        app.advance_clock(1);
        let (sent, hashed) = (write_sent(app.now()), write_hashed(app.now()));
        let digest = salted_digest_with_text(&hashed);
        let fields = D::proof_fields(PHONE, &digest, 0).into_iter().map(|(name, value)| match name {
            "timestamp" => format!("{name:?}:{sent}"),
            _ => format!("{name:?}:{value:?}"),
        });
        let body = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
        let request = app
            .add_credentials(app.request("POST", D::LOGIN_PATH))
            .header("content-type", "application/json")
            .body(body);
        app.assert_accepted(app.send(request).await);
        let is_plain = hashed == app.now().to_string();
        let expected = if is_plain { Error::Replayed } else { Error::WrongPassword };
        app.assert_fails_with(&login_with_digest(&app, PHONE, &digest, app.now()).await, &expected);
    }
}

pub async fn millisecond_timestamps_are_accepted<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    for (offset, is_fresh) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
        let sent = format!("{}123", app.now() + offset);
        let response = login_with_timestamp_text(&app, &salted_digest_with_text(&sent), &sent).await;
        if is_fresh {
            app.assert_accepted(response);
        } else {
            app.assert_fails_with(&response, &Error::Stale);
        }
    }
}

pub async fn a_proof_over_an_uppercase_digest_is_accepted<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let digest = md5_hex(&format!("{}{}", md5_hex(PASSWORD).to_uppercase(), app.now()));
    app.assert_accepted(login_with_digest(&app, PHONE, &digest, app.now()).await);
    app.assert_fails_with(&login_with_digest(&app, PHONE, &digest, app.now()).await, &Error::Replayed);
    // The proof over the lowercase digest is a different proof, so it is also accepted. This reveals nothing more.
    assert_accepted_at(&app, app.now()).await;
}

pub async fn a_hyphenated_digest_is_accepted<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let proof = bit_converter_format(&salted_digest(PASSWORD, app.now()));
    app.assert_accepted(login_with_digest(&app, PHONE, &proof, app.now()).await);
    app.assert_fails_with(
        &login_with_digest(&app, PHONE, &salted_digest(PASSWORD, app.now()), app.now()).await,
        &Error::Replayed,
    );
}
