//! `stele client` and `stele resource`: registration, rotation and removal of OAuth clients and resource servers.

use serde_json::Value;

use crate::migrate::execute_sql;
use crate::support::{CommandOutput, Installation};

fn migrated_installation() -> Installation {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    installation
}

fn run(installation: &Installation, line: &str) -> CommandOutput {
    installation.run(&line.split(' ').collect::<Vec<_>>())
}

fn show(installation: &Installation, line: &str) -> Value {
    serde_json::from_str(&run(installation, &format!("{line} --json")).assert_success().stdout).unwrap()
}

fn assert_secret(output: &CommandOutput) -> String {
    let secret = output.last_stdout_word();
    let is_base64url = secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    assert!(secret.len() == 43 && is_base64url, "256 bits in base64url: {output:?}");
    secret
}

const ADD_WEB: &str = "client add web --grants token-exchange,client_credentials --resources orders,legacy-backend \
                       --subject-types tms-session,cloudbox-session --redirect-uri https://b.example/cb \
                       --redirect-uri http://127.0.0.1:8080/cb --alg ES256";

#[test]
fn clients_and_resource_servers_are_added_shown_listed_and_removed() {
    let installation = migrated_installation();
    let orders_secret = assert_secret(&run(&installation, "resource add orders"));
    let backend =
        "resource add legacy-backend --uri https://old.example/api --legacy-tokens jwt-login,cloudbox-session";
    assert_secret(&run(&installation, backend));
    let mut add_web: Vec<_> = ADD_WEB.split(' ').collect();
    add_web.extend(["--scopes", "orders:write orders:read"]);
    let added = installation.run(&add_web);
    let web_secret = assert_secret(&added);
    assert_eq!(added.stdout, format!("client_id web\nclient_secret {web_secret}\n"));

    let web = show(&installation, "client show web");
    assert_eq!(web["grants"], serde_json::json!(["client_credentials", "token-exchange"]));
    assert_eq!(web["resources"], serde_json::json!(["legacy-backend", "orders"]));
    assert_eq!(web["subject_types"], serde_json::json!(["cloudbox-session", "tms-session"]));
    assert_eq!(web["scopes"], serde_json::json!(["orders:read", "orders:write"]));
    assert_eq!(web["redirect_uris"], serde_json::json!(["https://b.example/cb", "http://127.0.0.1:8080/cb"]));
    assert_eq!((&web["client_id"], &web["algorithm"]), (&"web".into(), &"ES256".into()));
    assert_eq!((web["secrets"].as_array().unwrap().len(), &web["secrets"][0]["expires_at"]), (1, &Value::Null));
    let text = run(&installation, "client show web").assert_success().stdout.clone();
    assert!(text.contains("\nscopes\torders:read orders:write\n"), "{text}");
    let orders = show(&installation, "resource show orders");
    assert_eq!((&orders["uri"], &orders["audience"]), (&Value::Null, &"urn:stele:resource:orders".into()));
    let backend = show(&installation, "resource show legacy-backend");
    assert_eq!(backend["audience"], "https://old.example/api");
    assert_eq!(backend["legacy_tokens"], serde_json::json!(["cloudbox-session", "jwt-login"]));
    let clients = run(&installation, "client list");
    assert_eq!(
        clients.assert_success().stdout,
        "web\tclient_credentials,token-exchange\tlegacy-backend,orders\tES256\n"
    );
    let resources = run(&installation, "resource list");
    assert_eq!(
        resources.assert_success().stdout,
        "legacy-backend\thttps://old.example/api\tcloudbox-session,jwt-login\norders\turn:stele:resource:orders\t-\n"
    );

    // Neither the secrets nor anything else of their length is shown or stored again.
    for command in ["client show web", "client list --json", "resource show orders", "resource list --json", "audit"] {
        let output = run(&installation, command);
        for secret in [&web_secret, &orders_secret] {
            assert!(!output.assert_success().stdout.contains(secret.as_str()), "{command}: {output:?}");
        }
    }

    run(&installation, "resource remove orders").assert_failed(1, "clients use the resource server: web;");
    run(&installation, "client remove web").assert_success();
    run(&installation, "resource remove orders").assert_success();
    for gone in ["client show web", "client remove web", "client rotate web"] {
        run(&installation, gone).assert_failed(1, "no client `web` is registered; `stele client list`");
    }
    for gone in ["resource show orders", "resource remove orders", "resource rotate orders"] {
        run(&installation, gone).assert_failed(1, "no resource server `orders` is registered; `stele resource list`");
    }
    assert_eq!(run(&installation, "client list").assert_success().stdout, "");
}

#[test]
fn two_secrets_are_valid_while_one_is_rotated() {
    let installation = migrated_installation();
    run(&installation, "resource add orders").assert_success();
    run(&installation, "client add web --grants client_credentials --resources orders").assert_success();
    for name in ["client", "resource"] {
        let record = if name == "client" { "web" } else { "orders" };
        let rotate = |options: &str| run(&installation, format!("{name} rotate {record} {options}").trim_end());
        let expiries = || {
            let secrets = show(&installation, &format!("{name} show {record}"))["secrets"].clone();
            secrets.as_array().unwrap().iter().map(|secret| secret["expires_at"].clone()).collect::<Vec<_>>()
        };
        rotate("--replace-newest").assert_failed(1, "rotate without --replace-newest");
        let rotated = rotate("");
        let second = assert_secret(&rotated);
        assert!(rotated.stdout.starts_with("previous secret valid until 20"), "{rotated:?}");
        assert_eq!((expiries().len(), &expiries()[0]), (2, &Value::Null));
        rotate("--overlap 1h").assert_failed(1, "two secrets are valid, the older one until 20");
        let before = expiries()[1].as_str().unwrap().to_owned();
        let third = assert_secret(&rotate("--replace-newest --overlap 2d"));
        assert!(second != third && expiries()[1].as_str().unwrap() > before.as_str(), "{before} {:?}", expiries());
        let ended = rotate("--overlap 0s");
        assert_secret(&ended);
        assert!(ended.stdout.starts_with("previous secret ended\n"), "{ended:?}");
        assert_eq!(expiries(), [Value::Null]);
    }
}

#[test]
fn registrations_that_cannot_work_are_refused() {
    let installation = migrated_installation();
    run(&installation, "resource add orders --uri https://orders.example/").assert_success();
    run(&installation, "client add web --grants client_credentials --resources orders").assert_success();
    for (line, code, message) in [
        // A client or resource server named as a user (RFC 9700 4.15).
        (
            "client add 0b922f14-d00b-11e7-aafd-525400bbac8e --grants client_credentials --resources orders",
            2,
            "user's id",
        ),
        ("client add 0b922f14d00b11e7aafd525400bbac8e --grants client_credentials --resources orders", 2, "user's id"),
        ("client add 100001 --grants client_credentials --resources orders", 2, "user's id"),
        ("resource add 100001", 2, "user's id"),
        ("client add batch --grants token-exchange --resources orders", 2, "--subject-types"),
        ("client add batch --grants client_credentials --resources orders --subject-types tms-session", 2, "--grants"),
        ("client add batch --grants client_credentials", 2, "--resources"),
        ("client add batch --grants client_credentials --resources orders,billing", 1, "stele resource add billing"),
        ("client add web --grants client_credentials --resources orders", 1, "a client `web` exists already"),
        ("resource add orders", 1, "a resource server `orders` exists already"),
        ("resource add billing --uri https://orders.example/", 1, "another resource server has this URI"),
        ("resource add billing --legacy-tokens mefp-handover", 2, "one-time token"),
        ("resource add billing --uri urn:stele:resource:orders", 2, "reserved"),
        ("client rotate web --overlap 91d", 2, "0s to 90d"),
    ] {
        run(&installation, line).assert_failed(code, message);
    }
    for uri in [
        "http://app.example/cb",
        "https://app.example/../cb",
        "https://user@app.example/cb",
        "https://*.app.example/cb",
        "https://app.example/cb#x",
        "https://app.example/cb?code=x",
        "javascript:alert(1)",
    ] {
        let add = "client add batch --grants client_credentials --resources orders --redirect-uri";
        run(&installation, &format!("{add} {uri}")).assert_failed(2, "--redirect-uri");
    }
    assert_eq!(run(&installation, "client list").assert_success().stdout.lines().count(), 1);
    assert_eq!(run(&installation, "resource list").assert_success().stdout.lines().count(), 1);
}

#[test]
fn registrations_and_rotations_are_in_the_audit_log() {
    let installation = migrated_installation();
    run(&installation, "resource add orders").assert_success();
    run(&installation, "client add web --grants client_credentials --resources orders").assert_success();
    run(&installation, "client rotate web").assert_success();
    run(&installation, "client rotate web").assert_failed(1, "two secrets");
    run(&installation, "resource rotate orders").assert_success();
    run(&installation, "resource remove orders").assert_failed(1, "web");
    run(&installation, "client remove web").assert_success();
    run(&installation, "resource remove orders").assert_success();
    let entries = run(&installation, "audit --json").assert_success().stdout.clone();
    let entries = entries.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or("-").to_owned();
    let summary = |entry: Value| ["act", "subject", "result"].map(|field| text(&entry, field)).join(" ");
    let entries: Vec<_> = entries.map(summary).collect();
    assert_eq!(
        entries,
        [
            "add_resource orders ok",
            "add_oauth_client web ok",
            "rotate_client_secret web ok",
            "rotate_client_secret web not_allowed",
            "rotate_resource_secret orders ok",
            "remove_resource orders not_allowed",
            "remove_oauth_client web ok",
            "remove_resource orders ok",
        ]
    );
    let of_orders = run(&installation, "audit --subject orders --act remove_resource --json");
    assert_eq!(of_orders.assert_success().stdout.lines().count(), 2);
}

/// More than one page of a listing, read to the end and into `head`.
#[test]
fn long_listings_are_complete_and_end_with_their_reader() {
    let installation = migrated_installation();
    run(&installation, "resource add orders").assert_success();
    run(&installation, "client add client-1000 --grants client_credentials --resources orders").assert_success();
    // Written to the file, because 450 runs of the command take too long.
    let columns =
        "grants, resources, subject_types, scopes, algorithm, redirect_uris, secret, secret_created_at, created_at";
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n WHERE i < 1449) INSERT INTO oauth_clients \
         (id, {columns}) SELECT 'client-' || i, {columns} FROM n, oauth_clients WHERE id = 'client-1000'"
    );
    execute_sql(&installation.data().join("users.db"), &sql);
    let listed = run(&installation, "client list").assert_success().stdout.clone();
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines.len() == 450 && lines.is_sorted(), "{}", lines.len());
    let mut child = installation.command(&["client", "list", "--json"]).spawn().unwrap();
    let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut reader, &mut first).unwrap();
    assert!(first.contains("\"client_id\":\"client-1000\""), "{first}");
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}
