//! Salted proofs as old clients write them: the text of the timestamp, its unit, the letter case of `D`, the digest's own form.

use stele_core::Error;

use super::salted::{accepts, app, bit_converter, prove, salted};
use super::{PASSWORD, PHONE, SaltedDialect};
use crate::{Answer, md5_hex};

/// Logs in with a digest and a timestamp that is written like this.
async fn prove_written<D: SaltedDialect>(app: &D, digest: &str, sent: &str) -> Answer {
    let mut fields = D::proof_fields(PHONE, digest, 0);
    fields.iter_mut().filter(|(name, _)| *name == "timestamp").for_each(|(_, value)| sent.clone_into(value));
    app.log_in_with(0, fields).await
}

/// `md5(D + text)`.
fn salted_with(text: &str) -> String {
    md5_hex(&format!("{}{text}", md5_hex(PASSWORD)))
}

pub async fn a_proof_is_made_over_the_text_of_its_timestamp<D: SaltedDialect>() {
    let app: D = app(&[]).await;
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
        app.wait(1);
        let (sent, hashed) = write(app.now());
        let digest = salted_with(&hashed);
        app.assert_accepted(prove_written(&app, &digest, &sent).await);
        // It is used up, whatever is written around the same text.
        for again in [sent.clone(), format!("{sent} "), hashed.trim().to_owned(), format!("'{}'", hashed.trim())] {
            let answer = prove_written(&app, &digest, &again).await;
            let outcome = [Error::Replayed, Error::WrongPassword].map(|error| app.answer_to(&error));
            assert!(outcome.contains(&answer.text), "{sent:?} over {hashed:?}, then {again:?}: {answer:?}");
        }
        app.fails(&prove_written(&app, &digest, &sent).await, &Error::Replayed);
    }
}

pub async fn a_timestamp_may_be_a_json_double<D: SaltedDialect>() {
    type Write = fn(i64) -> String;
    let app: D = app(&[]).await;
    let writings: [(Write, Write); 5] = [
        (|at| format!("{at}.0"), |at| format!("{at}.0")),
        (|at| format!("{at}.0"), |at| at.to_string()),
        (|at| format!("{}E9", at as f64 / 1e9), |at| at.to_string()),
        (|at| format!("{}E9", at as f64 / 1e9), |at| format!("{}E9", at as f64 / 1e9)),
        (|at| format!("{at}123.0"), |at| format!("{at}123")),
    ];
    for (sent, hashed) in writings {
        app.wait(1);
        let digest = salted_with(&hashed(app.now()));
        let fields = D::proof_fields(PHONE, &digest, 0).into_iter().map(|(name, value)| match name {
            "timestamp" => format!("{name:?}:{}", sent(app.now())),
            _ => format!("{name:?}:{value:?}"),
        });
        let body = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
        let request = app.carry(app.request("POST", D::LOGIN)).header("content-type", "application/json").body(body);
        app.assert_accepted(app.send(request).await);
        let is_plain = hashed(app.now()) == app.now().to_string();
        let expected = if is_plain { Error::Replayed } else { Error::WrongPassword };
        app.fails(&prove(&app, PHONE, &digest, app.now()).await, &expected);
    }
}

pub async fn milliseconds_are_as_fresh_as_their_seconds<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    for (offset, fresh) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
        let sent = format!("{}123", app.now() + offset);
        let answer = prove_written(&app, &salted_with(&sent), &sent).await;
        if fresh {
            app.assert_accepted(answer);
        } else {
            app.fails(&answer, &Error::Stale);
        }
    }
}

pub async fn a_digest_in_capitals_is_salted_as_well<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let digest = md5_hex(&format!("{}{}", md5_hex(PASSWORD).to_uppercase(), app.now()));
    app.assert_accepted(prove(&app, PHONE, &digest, app.now()).await);
    app.fails(&prove(&app, PHONE, &digest, app.now()).await, &Error::Replayed);
    // Who can make one of the two can make the other: it is another proof, and a login of its own.
    accepts(&app, app.now()).await;
}

pub async fn a_digest_is_read_with_hyphens_between_its_bytes<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let proof = bit_converter(&salted(PASSWORD, app.now()));
    app.assert_accepted(prove(&app, PHONE, &proof, app.now()).await);
    app.fails(&prove(&app, PHONE, &salted(PASSWORD, app.now()), app.now()).await, &Error::Replayed);
}
