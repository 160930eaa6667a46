//! One limiter behind five dialects: an account is one, however it is named and wherever it is tried; an address is
//! what the peer is, whatever it says.

use crate::client::{Answer, App, Client, Dialect, Person};
use crate::support::{Home, Server};

const PASSWORD: &str = "the-right-one";

struct Scene {
    home: Home,
    server: Server,
    client: Client,
}

impl Scene {
    /// A first wait that no test outlasts: what is refused once stays refused.
    fn new(settings: &[(&str, &str)]) -> Self {
        let home = Home::with(&[&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LIMIT_WAIT", "60s")], settings].concat());
        let server = home.up();
        let app = App::new("melink", home.add_app("melink", "melink"));
        let token = home.run(&["token", "add", "e2e"]).last_word();
        let client = Client::new(&server, app, &token);
        Self { home, server, client }
    }

    fn person(&self, name: &str, phone: &str) -> Person {
        let email = format!("{name}@Example.com");
        let id = self.home.add_user(name, PASSWORD, &["--phone", phone, "--email", &email]);
        Person { id, name: name.to_owned(), phone: phone.to_owned(), email }
    }
}

/// 429 in the dialect's own words, with a wait.
#[track_caller]
fn is_limited(dialect: Dialect, answer: &Answer) {
    let code = ["1007", "1007", "429", "42900", "-1"][dialect as usize];
    assert_eq!((answer.status, answer.code().as_str()), (429, code), "{dialect:?}: {answer:?}");
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{dialect:?}: {answer:?}");
    let fields = match dialect {
        Dialect::Cloudbox | Dialect::Tms => vec!["message", "code"],
        Dialect::Portal => vec!["status", "content"],
        Dialect::Mefp => vec!["result", "errors"],
        Dialect::Jwt => vec!["code", "message"],
    };
    let told = answer.json.as_object().unwrap();
    assert!(told.len() == fields.len() && fields.iter().all(|field| told.contains_key(*field)), "{answer:?}");
}

#[tokio::test]
async fn failures_are_summed_over_the_dialects() {
    let scene = Scene::new(&[]);
    let (person, other) = (scene.person("mark", "13800138000"), scene.person("other", "13800138001"));
    for dialect in Dialect::ALL {
        let answer = scene.client.login(dialect, &person, "guess-1").await;
        assert!(!answer.succeeded() && answer.status == 200, "{dialect:?}: {answer:?}");
    }
    // Five are free. The sixth is answered too, and starts the wait.
    scene.client.login(Dialect::Cloudbox, &person, "guess-2").await.is(200, "1002");
    for dialect in Dialect::ALL {
        for password in ["guess-3", PASSWORD] {
            is_limited(dialect, &scene.client.login(dialect, &person, password).await);
        }
        scene.client.login(dialect, &other, PASSWORD).await.good();
    }
    scene.server.stop();
    // Neither a restart nor another server forgets.
    let again = scene.home.up();
    let client = Client::new(&again, scene.client.app.clone(), &scene.client.tms);
    for dialect in Dialect::ALL {
        is_limited(dialect, &client.login(dialect, &person, PASSWORD).await);
    }
}

#[tokio::test]
async fn one_account_is_one_account_under_all_its_names() {
    let scene = Scene::new(&[]);
    let person = scene.person("Mark", "13800138000");
    let tries = [
        (Dialect::Cloudbox, "mark".to_owned()),
        (Dialect::Cloudbox, "MARK".to_owned()),
        (Dialect::Tms, person.email.to_uppercase()),
        (Dialect::Portal, person.email.to_lowercase()),
        (Dialect::Mefp, person.phone.clone()),
        (Dialect::Tms, person.phone.clone()),
    ];
    for (dialect, identifier) in tries {
        let answer = scene.client.login_as(dialect, &identifier, "guess").await;
        assert!(!answer.succeeded() && answer.status == 200, "{dialect:?}, {identifier}: {answer:?}");
    }
    for identifier in ["mArK", &person.phone, &person.email, &person.email.to_uppercase()] {
        for dialect in [Dialect::Cloudbox, Dialect::Tms, Dialect::Jwt] {
            is_limited(dialect, &scene.client.login_as(dialect, identifier, PASSWORD).await);
        }
    }
}

#[tokio::test]
async fn an_unknown_identifier_is_limited_like_a_known_one() {
    let scene = Scene::new(&[]);
    for turn in 0..6 {
        let dialect = [Dialect::Cloudbox, Dialect::Tms, Dialect::Mefp][turn % 3];
        scene.client.login_as(dialect, "13800138099", "guess").await;
    }
    for dialect in Dialect::ALL {
        is_limited(dialect, &scene.client.login_as(dialect, "13800138099", "guess").await);
    }
}

#[tokio::test]
async fn a_success_clears_the_account_in_every_dialect() {
    let scene = Scene::new(&[]);
    let person = scene.person("mark", "13800138000");
    // MeFP's calls come from its app, the others from one address: a success clears what its own origin contributed.
    let direct = [Dialect::Cloudbox, Dialect::Tms, Dialect::Portal, Dialect::Jwt];
    for turn in 0..20 {
        let dialect = if turn < 16 { direct[turn % 4] } else { Dialect::Mefp };
        let answer = scene.client.login(dialect, &person, "typo").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        if turn % 4 == 3 {
            let dialect = if turn < 16 { direct[turn / 4] } else { dialect };
            scene.client.login(dialect, &person, PASSWORD).await.good();
        }
    }
}

#[tokio::test]
async fn after_five_failures_a_stranger_needs_more_than_a_password_where_the_dialect_can_ask() {
    let scene = Scene::new(&[]);
    let person = scene.person("mark", "13800138000");
    for _ in 0..5 {
        scene.client.login(Dialect::Cloudbox, &person, "guess").await.is(200, "1002");
    }
    scene.client.login(Dialect::Portal, &person, PASSWORD).await.is(200, "3208");
    let answer = scene.client.login(Dialect::Jwt, &person, PASSWORD).await.is(200, "-1");
    assert_eq!(answer.text, r#"{"code":-1,"message":"请输入验证码"}"#);
    // The other dialects have no field to ask in, and the account is not waiting yet.
    scene.client.login(Dialect::Mefp, &person, PASSWORD).await.good();
}

#[tokio::test]
async fn strangers_cannot_keep_the_owner_out() {
    let scene = Scene::new(&[("STELE_TRUSTED_PROXIES", "127.0.0.1")]);
    let person = scene.person("mark", "13800138000");
    let owner = scene.client.from("198.51.100.7");
    owner.login(Dialect::Jwt, &person, PASSWORD).await.good();
    for turn in 0..6 {
        let stranger = scene.client.from(&format!("203.0.113.{turn}"));
        stranger.login(Dialect::Cloudbox, &person, "guess").await.is(200, "1002");
    }
    for dialect in Dialect::ALL {
        is_limited(dialect, &scene.client.from("203.0.113.99").login(dialect, &person, PASSWORD).await);
        if dialect != Dialect::Mefp {
            owner.login(dialect, &person, PASSWORD).await.good();
        }
    }
}

#[tokio::test]
async fn an_address_is_the_peers_whatever_a_stranger_says() {
    let scene = Scene::new(&[("STELE_LIMIT_ADDRESS", "4")]);
    let person = scene.person("mark", "13800138000");
    let headers = ["x-forwarded-for", "forwarded", "x-real-ip", "x_forwarded_for", "x-client-ip", "true-client-ip"];
    for (turn, header) in headers.iter().enumerate() {
        let mut spoofed = scene.client.clone();
        let dialect = [Dialect::Cloudbox, Dialect::Tms, Dialect::Jwt][turn % 3];
        spoofed.always = vec![(header, format!("203.0.113.{turn}")), ("x-stele-hop", "0".repeat(32))];
        let answer = spoofed.login_as(dialect, &format!("somebody-{turn}"), "guess").await;
        assert_eq!(answer.status, if turn < 4 { 200 } else { 429 }, "{turn}: {answer:?}");
    }
    for dialect in [Dialect::Cloudbox, Dialect::Tms, Dialect::Portal, Dialect::Jwt] {
        is_limited(dialect, &scene.client.from("198.51.100.1").login(dialect, &person, PASSWORD).await);
    }
    // MeFP's callers are app servers: an address is not what is counted there.
    scene.client.login(Dialect::Mefp, &person, PASSWORD).await.good();
}

#[tokio::test]
async fn a_trusted_proxys_word_is_taken_and_a_clients_before_it_is_not() {
    let settings = [("STELE_LIMIT_ADDRESS", "2"), ("STELE_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")];
    let scene = Scene::new(&settings);
    let person = scene.person("mark", "13800138000");
    for turn in 0..4 {
        // The client writes something of its own at the left; the proxies append whom they saw.
        let guesser = scene.client.from(&format!("198.51.100.{turn}, 203.0.113.5, 10.1.2.3"));
        let answer = guesser.login_as(Dialect::Jwt, &format!("somebody-{turn}"), "guess").await;
        assert_eq!(answer.status, if turn < 2 { 200 } else { 429 }, "{turn}: {answer:?}");
    }
    scene.client.from("203.0.113.6").login(Dialect::Jwt, &person, PASSWORD).await.good();
    is_limited(Dialect::Jwt, &scene.client.from("203.0.113.5").login(Dialect::Jwt, &person, PASSWORD).await);
}
