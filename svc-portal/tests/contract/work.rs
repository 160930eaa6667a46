//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what somebody costs.

use stele_testkit::Work;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{PHONE, Portal};

const STRANGER: &str = "13900139000";

async fn with_a_user() -> Portal {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).email("1@hna.cn").add().await;
    portal
}

#[tokio::test]
async fn a_code_costs_the_same_whoever_has_the_recipient() {
    let portal = with_a_user().await;
    for to in [PHONE, "1@hna.cn", STRANGER, "nobody@qq.com"] {
        let (answer, work) = portal.lab.work(portal.post("/code/send", &[("username", to)])).await;
        answer.is("200");
        assert_eq!(work, Work::of(0, &["find"], &["send_code"]), "{to}");
    }
}

#[tokio::test]
async fn a_wrong_code_costs_the_same_whoever_it_is_for() {
    let portal = with_a_user().await;
    for path in ["/i/resetpwd", "/i/register"] {
        for to in [PHONE, STRANGER] {
            let code = Portal::not(&portal.code(to).await);
            let (answer, work) = portal.lab.work(portal.with_code(path, to, "new123", &code)).await;
            answer.is("3208");
            assert_eq!(work, Work::of(0, &["find"], &["guess_code"]), "{path} {to}");
        }
    }
}
