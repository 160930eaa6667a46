//! Every documented call, made by an independent Python client without any code of ours (`independent/README.md`).

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use stele_testkit::servers;

use crate::support::Installation;

const SETTINGS: [(&str, &str); 2] = [("STELE_HASH_COST", "64,1,1,weak"), ("STELE_SEND_ADDRESS", "100")];

#[test]
fn every_documented_call_matches_its_document() {
    run_every_call(&Installation::with_settings(&SETTINGS));
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn every_documented_call_matches_its_document_on_postgresql_and_redis() {
    let mut installation = Installation::with_settings(&SETTINGS);
    for (name, value) in servers::store_settings() {
        installation.set(name, &value);
    }
    run_every_call(&installation);
    assert!(!installation.data().join("users.db").exists() && !installation.data().join("state.db").exists());
}

/// `deploy/test-on-engine` creates its users and its load by two scripts, which need no container.
#[test]
fn the_users_and_the_load_of_the_engine_test_log_in() {
    let installation = Installation::with_settings(&[SETTINGS[0], ("STELE_LIMIT_ADDRESS", "100000")]);
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/engine");
    let server = installation.start_up();
    let mut add_users = installation.program(Path::new("sh"), &[engine.join("users.sh").to_str().unwrap(), "13"]);
    let programs = Path::new(env!("CARGO_BIN_EXE_stele")).parent().unwrap();
    add_users.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()));
    let users = add_users.output().unwrap();
    assert!(users.status.success(), "{}", String::from_utf8_lossy(&users.stderr));
    let mut environment: Value = serde_json::from_slice(&users.stdout).unwrap();
    environment["url"] = json!(server.url);
    let secret = std::fs::read_to_string(installation.data().join("keys/mefp.secret")).unwrap();
    environment["mefp_secret"] = json!(secret.trim());
    let file = installation.path("environment.json");
    std::fs::write(&file, environment.to_string()).unwrap();
    let mut load = Command::new("python3");
    let output = load.arg("-B").arg(engine.join("load.py")).arg(file).args(["2", "1"]).output().expect("python3");
    let printed = String::from_utf8_lossy(&output.stdout);
    let counts: Value = serde_json::from_str(printed.lines().last().unwrap_or_default())
        .unwrap_or_else(|e| panic!("{e}: {printed}{}", String::from_utf8_lossy(&output.stderr)));
    for dialect in ["cloudbox", "tms", "portal", "mefp", "jwt"] {
        let counts = &counts[dialect];
        assert!(counts["logins"].as_u64() > Some(0) && counts["failures"] == 0, "{dialect}: {printed}");
    }
}

fn run_every_call(installation: &Installation) {
    let server = installation.start_up();
    let add_person = |name: &str, phone: &str, options: &[&str]| -> Value {
        let (email, password) = (format!("{name}@example.com"), format!("{name}-secret"));
        let id = installation.add_user(name, &password, &[&["--phone", phone, "--email", &email], options].concat());
        let shown: Value =
            serde_json::from_str(&installation.run(&["user", "show", name]).assert_success().stdout).unwrap();
        let number = shown["number"].to_string();
        json!({ "id": id, "number": number, "name": name, "phone": phone, "email": email, "password": password })
    };
    let enterprise = ["--enterprise", "e8d3bc38-beb0-11e7-888f-525400d25920", "--group", "rentuser"];
    let cloudbox_options = [&["--real-name", "fff", "--gender", "男"], &enterprise[..]].concat();
    let jwt_options = ["--real-name", "钱七", "--gender", "男", "--organization", "组织", "--department", "部门"];
    let jwt_options =
        [&jwt_options[..], &["--description", "说明", "--avatar-url", "https://example.com/a.png"]].concat();
    let (mefp_secret, melink) = installation.add_app("melink", "wlfz,unheard-of");
    let (_, wlfz) = installation.add_app("wlfz", "wlfz");
    let input = json!({
        "url": server.url,
        "outbox": server.outbox(),
        "client_token": installation.run(&["token", "add", "independent"]).last_stdout_word(),
        "mefp_secret": mefp_secret,
        "apps": { "melink": melink, "wlfz": wlfz },
        "cloudbox": add_person("dddddd", "12312312312", &cloudbox_options),
        "admin": add_person("boss", "13800000001", &["--role", "admin"]),
        "tms": add_person("mark", "1548736484", &[]),
        "jwt": add_person("a", "13800000002", &jwt_options),
    });
    let file = installation.path("input.json");
    std::fs::write(&file, input.to_string()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/independent");
    let mut client = Command::new("python3");
    client.arg("-B").arg(folder.join("client.py")).arg(file).env("PYTHONIOENCODING", "utf-8");
    let output = client.output().expect("python3");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.lines().count() == 5, "{printed}{errors}");
}
