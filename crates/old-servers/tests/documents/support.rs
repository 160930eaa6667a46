//! A client, and proofs computed by md5sum and base64.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::{Client, Response};
use serde_json::Value;
use stele_old_servers::OldServer;

/// Runs a program with `input` on standard input, and returns what it prints.
pub(crate) fn run(program: &str, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {args:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// `md5(text)` in hex.
pub(crate) fn md5(text: &str) -> String {
    run("md5sum", &[], text.as_bytes())[..32].to_owned()
}

/// `md5(md5(password) + timestamp)` in hex.
pub(crate) fn salted(password: &str, timestamp: u64) -> String {
    md5(&format!("{}{timestamp}", md5(password)))
}

/// Base64 of a text.
pub(crate) fn base64(text: &str) -> String {
    run("base64", &["-w0"], text.as_bytes())
}

/// Posts JSON.
pub(crate) async fn post_json(server: &OldServer, path: &str, body: &Value) -> Response {
    Client::new().post(format!("{}{path}", server.url())).json(body).send().await.unwrap()
}

/// Posts an urlencoded form.
pub(crate) async fn post_form(server: &OldServer, path: &str, form: &[(&str, &str)]) -> Response {
    let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let form: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    let request = Client::new().post(format!("{}{path}", server.url()));
    let request = request.header("Content-Type", "application/x-www-form-urlencoded");
    request.body(form.join("&")).send().await.unwrap()
}

/// Asserts that an answer with status 200 has the JSON of `sample`, in the same order of fields. `TOKEN` in the sample
/// stands for 32 hexadecimal digits, which are returned.
#[track_caller]
pub(crate) fn assert_sample(answer: &str, sample: &str) -> String {
    let sample = serde_json::from_str::<Value>(sample).unwrap().to_string();
    let Some((before, after)) = sample.split_once("TOKEN") else {
        assert_eq!(answer, sample);
        return String::new();
    };
    let token = answer.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    let token = token.unwrap_or_else(|| panic!("{answer}\nis not\n{sample}"));
    assert!(token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    token.to_owned()
}

/// The text of an answer with status 200.
pub(crate) async fn text(answer: Response) -> String {
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// The JSON of an answer with status 200.
pub(crate) async fn json(answer: Response) -> Value {
    serde_json::from_str(&text(answer).await).unwrap()
}
