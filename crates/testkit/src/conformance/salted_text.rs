//! Salted proofs as old clients write them: the text of the timestamp, its unit, the letter case of `D`, the digest's own form.

use stele_core::Error;

use super::salted::{assert_accepted_at, bit_converter, login_with_digest, salted_digest, start_with_user};
use super::{PASSWORD, PHONE, SaltedDialect};
use crate::{TestResponse, md5_hex};

/// Logs in with a digest and a timestamp that is written like this.
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
    let writings: [fn(i64) -> (String, String); 10] = [
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
    for write in writings {
        app.advance_clock(1);
        let (sent, hashed) = write(app.now());
        let digest = salted_digest_with_text(&hashed);
        app.assert_accepted(login_with_timestamp_text(&app, &digest, &sent).await);
        // It is used up, whatever is written around the same text.
        for again in [sent.clone(), format!("{sent} "), hashed.trim().to_owned(), format!("'{}'", hashed.trim())] {
            let answer = login_with_timestamp_text(&app, &digest, &again).await;
            let outcome = [Error::Replayed, Error::WrongPassword].map(|error| app.render_error(&error));
            assert!(outcome.contains(&answer.text), "{sent:?} over {hashed:?}, then {again:?}: {answer:?}");
        }
        app.assert_fails_with(&login_with_timestamp_text(&app, &digest, &sent).await, &Error::Replayed);
    }
}

pub async fn a_json_double_is_accepted_as_timestamp<D: SaltedDialect>() {
    type Write = fn(i64) -> String;
    let app: D = start_with_user(&[]).await;
    let writings: [(Write, Write); 5] = [
        (|at| format!("{at}.0"), |at| format!("{at}.0")),
        (|at| format!("{at}.0"), |at| at.to_string()),
        (|at| format!("{}E9", at as f64 / 1e9), |at| at.to_string()),
        (|at| format!("{}E9", at as f64 / 1e9), |at| format!("{}E9", at as f64 / 1e9)),
        (|at| format!("{at}123.0"), |at| format!("{at}123")),
    ];
    for (sent, hashed) in writings {
        app.advance_clock(1);
        let digest = salted_digest_with_text(&hashed(app.now()));
        let fields = D::proof_fields(PHONE, &digest, 0).into_iter().map(|(name, value)| match name {
            "timestamp" => format!("{name:?}:{}", sent(app.now())),
            _ => format!("{name:?}:{value:?}"),
        });
        let body = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
        let request = app
            .add_credentials(app.request("POST", D::LOGIN_PATH))
            .header("content-type", "application/json")
            .body(body);
        app.assert_accepted(app.send(request).await);
        let is_plain = hashed(app.now()) == app.now().to_string();
        let expected = if is_plain { Error::Replayed } else { Error::WrongPassword };
        app.assert_fails_with(&login_with_digest(&app, PHONE, &digest, app.now()).await, &expected);
    }
}

pub async fn millisecond_timestamps_are_accepted<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    for (offset, fresh) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
        let sent = format!("{}123", app.now() + offset);
        let answer = login_with_timestamp_text(&app, &salted_digest_with_text(&sent), &sent).await;
        if fresh {
            app.assert_accepted(answer);
        } else {
            app.assert_fails_with(&answer, &Error::Stale);
        }
    }
}

pub async fn a_proof_over_an_uppercase_digest_is_accepted<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let digest = md5_hex(&format!("{}{}", md5_hex(PASSWORD).to_uppercase(), app.now()));
    app.assert_accepted(login_with_digest(&app, PHONE, &digest, app.now()).await);
    app.assert_fails_with(&login_with_digest(&app, PHONE, &digest, app.now()).await, &Error::Replayed);
    // Who can make one of the two can make the other: it is another proof, and a login of its own.
    assert_accepted_at(&app, app.now()).await;
}

pub async fn a_hyphenated_digest_is_accepted<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let proof = bit_converter(&salted_digest(PASSWORD, app.now()));
    app.assert_accepted(login_with_digest(&app, PHONE, &proof, app.now()).await);
    app.assert_fails_with(
        &login_with_digest(&app, PHONE, &salted_digest(PASSWORD, app.now()), app.now()).await,
        &Error::Replayed,
    );
}
