//! A code asked for by whom it is sent to, and by whom it is not; a code tried for somebody, and for nobody
//! (`docs/THREATS.md` 5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stele_bench_kit::dialect::{JWT_SEND, PORTAL_SEND, form};
use stele_bench_kit::{Dialect, Person, Programs, Request, Result};

use crate::Options;
use crate::login::{Scene, one};
use crate::report::{Must, Plan, Report};

const VALIDATE: &str = "/api/v1/Auth/validatePhone";

pub(crate) fn compare(options: &Options, programs: &Programs, report: &mut Report) -> Result<()> {
    jwt(options, programs, report)?;
    portal(options, programs, report)?;
    mefp(options, programs, report)
}

fn wanted(options: &Options, dialect: &str) -> bool {
    // Whoever asks for some of a dialect's has all of them measured that match.
    options.only.is_empty() || options.only.contains(dialect) || format!("5 {dialect}: ").contains(&options.only)
}

fn jwt(options: &Options, programs: &Programs, report: &mut Report) -> Result<()> {
    if !wanted(options, "jwt") {
        return Ok(());
    }
    let scene = Scene::new(programs, Dialect::Jwt, &[])?;
    let ask = |account: &Person, phone: &Person| -> Request {
        form(JWT_SEND, &[("account", &account.email), ("phone", &phone.phone)])
    };
    let own = |number: u64| ask(one(&scene.known, number), one(&scene.known, number)).bytes();
    let nobody = |number: u64| ask(one(&scene.unknown, number), one(&scene.unknown, number)).bytes();
    let others = |number: u64| ask(one(&scene.known, number), one(&scene.unknown, number)).bytes();
    let validate = |person: &Person| form(VALIDATE, &[("account", &person.email), ("identifyCode", "000000")]).bytes();
    let tried = |number: u64| validate(one(&scene.known, number));
    let tried_for_nobody = |number: u64| validate(one(&scene.unknown, number));
    // What is asked next may have to wait for what the answer left to be done.
    let next = |number: u64| validate(one(&scene.unknown, number));
    let unreadable = |number: u64| form(JWT_SEND, &[("account", &one(&scene.known, number).email)]).bytes();
    let plan = |name: &str, kinds, after, must| Plan {
        name: format!("5 jwt: {name}"),
        address: scene.process.address(),
        costly: false,
        kinds,
        after,
        must,
    };
    report.compare(options, plan("reset asked for: own phone, no account", [&own, &nobody], None, Must::Alike))?;
    report.compare(options, plan("reset asked for: own phone, another's", [&own, &others], None, Must::Alike))?;
    report.compare(options, plan("what is asked next", [&own, &nobody], Some(&next), Must::Alike))?;
    report.compare(options, plan("code tried: account, no account", [&tried, &tried_for_nobody], None, Must::Alike))?;
    report.compare(options, plan("control: nothing counted", [&own, &unreadable], None, Must::Apart))
}

fn portal(options: &Options, programs: &Programs, report: &mut Report) -> Result<()> {
    if !wanted(options, "portal") {
        return Ok(());
    }
    let scene = Scene::new(programs, Dialect::Portal, &[])?;
    let ask = |person: &Person| form(PORTAL_SEND, &[("username", &person.phone)]).bytes();
    let guess = |person: &Person| {
        let [password, code] = ["guess-1", "000000"].map(|text| STANDARD.encode(text));
        form("/i/resetpwd", &[("username", &person.phone), ("password", &password), ("code", &code)]).bytes()
    };
    let kinds: [&dyn Fn(u64) -> Vec<u8>; 4] = [
        &|number| ask(one(&scene.known, number)),
        &|number| ask(one(&scene.unknown, number)),
        &|number| guess(one(&scene.known, number)),
        &|number| guess(one(&scene.unknown, number)),
    ];
    let plan = |name: &str, kinds| Plan {
        name: format!("5 portal: {name}"),
        address: scene.process.address(),
        costly: false,
        kinds,
        after: None,
        must: Must::Alike,
    };
    // The guesses first: afterwards there are codes to be guessed at.
    report.compare(options, plan("code tried: account, no account", [kinds[2], kinds[3]]))?;
    report.compare(options, plan("code asked for: account, no account", [kinds[0], kinds[1]]))
}

fn mefp(options: &Options, programs: &Programs, report: &mut Report) -> Result<()> {
    if !wanted(options, "mefp") {
        return Ok(());
    }
    let scene = Scene::new(programs, Dialect::Mefp, &[])?;
    // 40001 and 40007 disclose who has an account when a code is requested, as documented: nothing to hide.
    let guess = |person: &Person| {
        let message = json!({ "login_name": person.phone, "captcha": "000000" });
        scene.caller.app.call("/auth/check/captcha", &message).bytes()
    };
    let tried = |number: u64| guess(one(&scene.known, number));
    let nobody = |number: u64| guess(one(&scene.unknown, number));
    let plan = Plan {
        name: "5 mefp: code tried: account, no account".to_owned(),
        address: scene.process.address(),
        costly: false,
        kinds: [&tried, &nobody],
        after: None,
        must: Must::Alike,
    };
    report.compare(options, plan)
}
