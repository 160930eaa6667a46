//! A user who is not there, and a password that is wrong (`docs/THREATS.md` 1).

use stele_bench_kit::dialect::now;
use stele_bench_kit::{App, Caller, Dialect, Failure, Person, Process, Programs, Result, Site, people};

use crate::Options;
use crate::report::{Must, Plan, Report};

/// Limits out of the way, and one thread, so that no request waits for another one's. Nothing else differs from a
/// service as it is installed: a failure is counted as any, but a wait never begins and nobody is asked for a captcha.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("STELE_LIMIT_ACCOUNT", "1000000000"),
    ("STELE_LIMIT_ADDRESS", "1000000000"),
    ("STELE_LIMIT_APP", "1000000000"),
    ("STELE_SEND_RECIPIENT", "1000000000"),
    ("STELE_SEND_ADDRESS", "1000000000"),
    ("STELE_SEND_TOTAL", "0"),
    ("STELE_SEND_APP", "1000000000"),
    ("STELE_WORKERS", "1"),
    ("STELE_LOG", "warn"),
    ("STELE_DRAIN", "0"),
];

/// How many there are of those who are there, and of those who are not.
pub(crate) const CROWD: usize = 500;

/// A service, and whom it knows.
pub(crate) struct Scene {
    pub process: Process,
    pub caller: Caller,
    pub known: Vec<Person>,
    pub unknown: Vec<Person>,
    _site: Site,
}

impl Scene {
    /// The service of a dialect alone, on an embedded store, with these settings on top.
    pub(crate) fn new(programs: &Programs, dialect: Dialect, extra: &[(&str, &str)]) -> Result<Self> {
        let site = Site::embedded(programs, &[SETTINGS, extra].concat())?;
        let app: App = site.app("melink", "melink")?;
        let caller = Caller { app, tms_token: site.tms_token("timing")? };
        let runtime = tokio::runtime::Runtime::new()?;
        let known = runtime.block_on(people::add(&site, 0, CROWD, "the-right-password"))?;
        // Their names are as long.
        let unknown = (0..CROWD).map(|number| Person::numbered(99_000_000 + number)).collect();
        let process = site.service(dialect, &[])?;
        // Or the first salted proofs would be older than the store.
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        Ok(Self { process, caller, known, unknown, _site: site })
    }
}

/// One of a crowd, another one each time, in no order that a cache could like better for one crowd than for the other.
pub(crate) fn one(crowd: &[Person], number: u64) -> &Person {
    let at = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    &crowd[usize::try_from(at).unwrap_or_default() % crowd.len()]
}

/// A way to log in.
struct Door {
    name: &'static str,
    dialect: Dialect,
    settings: &'static [(&'static str, &'static str)],
    costly: bool,
    must: Must,
}

const DOORS: [Door; 7] = [
    Door { name: "cloudbox", dialect: Dialect::Cloudbox, settings: &[], costly: false, must: Must::Alike },
    Door {
        name: "tms, salted",
        dialect: Dialect::Tms,
        settings: &[("STELE_TMS_PROOF", "salted")],
        costly: false,
        must: Must::Alike,
    },
    Door { name: "tms", dialect: Dialect::Tms, settings: &[], costly: true, must: Must::Alike },
    // Its document has 3201 and 3202: the bytes tell, and the work must not.
    Door { name: "portal", dialect: Dialect::Portal, settings: &[], costly: true, must: Must::AlikeInTime },
    Door {
        name: "portal, not telling",
        dialect: Dialect::Portal,
        settings: &[("STELE_PORTAL_TELL_UNKNOWN", "false")],
        costly: true,
        must: Must::Alike,
    },
    Door { name: "mefp", dialect: Dialect::Mefp, settings: &[], costly: true, must: Must::Alike },
    Door { name: "jwt", dialect: Dialect::Jwt, settings: &[], costly: true, must: Must::Alike },
];

pub(crate) fn compare(options: &Options, programs: &Programs, report: &mut Report) -> Result<()> {
    for door in DOORS {
        let title = |what: &str| format!("1 {}: {what}", door.name);
        let names = [title("unknown user, wrong password"), title("the same twice"), title("control: no hash")];
        if !names.iter().any(|name| name.contains(&options.only)) {
            continue;
        }
        let scene = Scene::new(programs, door.dialect, door.settings)?;
        let login = |person: &Person, number: u64| {
            let name = if matches!(door.dialect, Dialect::Jwt) { &person.email } else { &person.phone };
            let guess = format!("guess-{number:08}");
            // For an e-mail address is longer than a phone, and both crowds use the same.
            scene.caller.login(door.dialect, name, &guess, now()).bytes()
        };
        let wrong = |number: u64| login(one(&scene.known, number), number);
        let unknown = |number: u64| login(one(&scene.unknown, number), number);
        let plan = |name: &str, kinds, must| Plan {
            name: name.to_owned(),
            address: scene.process.address(),
            costly: door.costly,
            kinds,
            after: None,
            must,
        };
        report.compare(options, plan(&names[0], [&wrong, &unknown], door.must))?;
        if matches!(door.name, "cloudbox" | "jwt") {
            let again = |number: u64| login(one(&scene.known, number + 1_000_003), number);
            report.compare(options, plan(&names[1], [&wrong, &again], Must::Alike))?;
            // Less work, and no less to read: what is stale, or empty, is not checked.
            let idle = |number: u64| match door.dialect {
                Dialect::Jwt => scene.caller.login(door.dialect, &one(&scene.known, number).email, "", now()).bytes(),
                _ => scene.caller.login(door.dialect, &one(&scene.known, number).phone, "x", now() - 5_000).bytes(),
            };
            report.compare(options, plan(&names[2], [&wrong, &idle], Must::Apart))?;
        }
        if !scene.process.is_running() {
            return Err(Failure::new(format!("{} ended: {}", door.name, scene.process.log())));
        }
    }
    Ok(())
}
