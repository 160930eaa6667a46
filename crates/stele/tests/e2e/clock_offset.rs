//! Two instances of a service behind the gateway, one of which has a wrong clock.

use stele_testkit::servers;

use crate::client::{CLOUDBOX_LOGIN, salted_login_body};
use crate::separate_programs::RunningProgram;
use crate::support::{Installation, eventually, libfaketime_path};

/// Half of the salted logins failed before instances compared their clocks with the stores' servers.
#[tokio::test]
#[ignore = "needs faketime, PostgreSQL and Redis"]
async fn the_gateway_sends_no_login_to_an_instance_whose_clock_is_wrong() {
    let mut installation = Installation::new();
    for (name, value) in servers::store_settings() {
        installation.set(name, &value);
    }
    installation.run(&["migrate"]).assert_success();
    installation.add_user("mark", "the-password", &[]);
    let right = RunningProgram::start(&installation, "svc-cloudbox", &[]);
    let library = libfaketime_path();
    let ten_minutes_slow =
        [("LD_PRELOAD", library.as_str()), ("FAKETIME", "-600"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let wrong = RunningProgram::start(&installation, "svc-cloudbox", &ten_minutes_slow);
    let upstreams = format!("http://{},http://{}", right.address, wrong.address);
    let gateway = RunningProgram::start(&installation, "gateway", &[("STELE_UPSTREAM_CLOUDBOX", &upstreams)]);

    let http = stele_testkit::http_client();
    let readyz = http.get(format!("http://{}/readyz", wrong.admin)).send().await.unwrap();
    assert_eq!(readyz.status(), 503);
    let reason = readyz.text().await.unwrap();
    assert!(reason.contains("600.0 s behind the user store's server"), "{reason}");
    let noticed = || {
        let is_about_it = |line: &serde_json::Value| line["message"] == "health check: not ready";
        gateway.log_lines().iter().any(|line| is_about_it(line) && line["instance"] == wrong.address).then_some(())
    };
    eventually("the gateway's health check", noticed);

    let login = async |address: &str| {
        let request = http.post(format!("http://{address}{CLOUDBOX_LOGIN}"));
        let response = request.json(&salted_login_body("mark", "the-password")).send().await.unwrap();
        response.json::<serde_json::Value>().await.unwrap()["code"].as_str().unwrap().to_owned()
    };
    // The proof is right, and stale by this instance's clock.
    assert_eq!(login(&wrong.address).await, "1003");
    for _ in 0..40 {
        assert_eq!(login(&gateway.address).await, "0000");
    }
}
