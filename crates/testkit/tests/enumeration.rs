//! Existence over several calls: whatever a stranger calls in whatever order, an account that exists answers and costs
//! what one does that does not, at addresses that the account does not know. (By one identifier: that two of them share a
//! count shows that they are one account's, ADR 24.)

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use stele_core::code::{Code, Purpose};
use stele_core::identifier::Recipient;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::usecase::Caller;
use stele_core::usecase::captcha::Solution;
use stele_core::usecase::change_password::{ChangePassword, Whose};
use stele_core::usecase::login::{Audience, Carrier, Challenge, Login};
use stele_core::usecase::register::Register;
use stele_core::usecase::reset_password::ResetPassword;
use stele_core::usecase::send_code::Sendable;
use stele_core::{Error, Result};
use stele_testkit::Lab;
use tokio::sync::Mutex;

/// What happens next, in both laboratories.
#[derive(Clone, Debug)]
enum Step {
    /// A stranger calls, from one of four addresses.
    Stranger(u8, Call),
    /// Time passes, in seconds.
    Wait(u64),
    /// The owner logs in, where there is one: from an address of their own, perhaps after a wrong password.
    Owner { mistyped: bool, address: u8 },
    /// The owner changes the password, where there is one.
    Change,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Login,
    LoginWithCaptcha(Solved),
    LoginWithCode { typed: bool },
    Send,
    Reset { own_phone: bool },
    GrantReset,
    ResetPassword,
    Register,
    CheckCode,
    Captcha,
}

#[derive(Clone, Copy, Debug)]
enum Solved {
    Not,
    Wrong,
    Right,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => Just(Call::Login),
        2 => Just(Call::LoginWithCaptcha(Solved::Not)),
        1 => Just(Call::LoginWithCaptcha(Solved::Wrong)),
        3 => Just(Call::LoginWithCaptcha(Solved::Right)),
        3 => any::<bool>().prop_map(|typed| Call::LoginWithCode { typed }),
        2 => Just(Call::Send),
        2 => any::<bool>().prop_map(|own_phone| Call::Reset { own_phone }),
        2 => Just(Call::GrantReset),
        2 => Just(Call::ResetPassword),
        1 => Just(Call::Register),
        1 => Just(Call::CheckCode),
        1 => Just(Call::Captcha),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0u8..4, call()).prop_map(|(from, call)| Step::Stranger(from, call)),
        2 => prop_oneof![0u64..3, 1u64..70, 1u64..2_000].prop_map(Step::Wait),
        2 => (any::<bool>(), 0u8..2).prop_map(|(mistyped, address)| Step::Owner { mistyped, address }),
        1 => Just(Step::Change),
    ]
}

/// A laboratory in which the account exists, or one in which it does not.
struct Side {
    lab: Lab,
    exists: bool,
    password: String,
    phone: String,
    round: u32,
}

impl Side {
    async fn new(exists: bool) -> Self {
        let (password, phone) = Default::default();
        Self { lab: Lab::new().await, exists, password, phone, round: 0 }
    }

    /// Another account, and addresses that nothing was counted for.
    async fn begin(&mut self, round: u32) {
        self.round = round;
        self.phone = format!("138{round:08}");
        self.password = "first-password".to_owned();
        self.lab.clock().advance(Duration::from_secs(7_200));
        if self.exists {
            self.lab.user(&format!("person{round}")).phone(&self.phone).password(&self.password).add().await;
        }
    }

    /// Strangers: two of IPv4, and two /64 of one /56.
    fn stranger(&self, dialect: &'static str, from: u8) -> Caller {
        let round = self.round;
        let address = match from {
            0 | 1 => format!("10.{}.{}.{from}", round / 256, round % 256),
            n => format!("2001:db8:{round:x}:{n}::1"),
        };
        Caller::direct(dialect, address.parse().unwrap())
    }

    fn owner(&self, address: u8) -> Caller {
        let round = self.round;
        Caller::direct("tms", format!("192.168.{}.{}", round % 256, 100 + address).parse().unwrap())
    }

    async fn log_in(&self, caller: &Caller, password: &str, challenge: Challenge) -> Result<()> {
        let request = Login {
            identifier: &self.phone,
            proof: Proof::Raw(RawPassword::new(password.to_owned())),
            caller,
            audience: Audience::Everyone,
            challenge,
            carrier: Carrier::Token,
        };
        self.lab.use_cases().login(request).await.map(drop)
    }

    /// What the owner does is not answered to strangers.
    async fn owner_logs_in(&self, address: u8, mistyped: bool) {
        let caller = self.owner(address);
        if mistyped && self.exists {
            drop(self.log_in(&caller, "mistyped", Challenge::Never).await);
        }
        // Past the longest wait: otherwise the slip alone is counted, as a stranger's could be at either account.
        self.lab.clock().advance(Duration::from_secs(60));
        if self.exists {
            self.log_in(&caller, &self.password, Challenge::Never).await.unwrap();
        }
    }

    async fn owner_changes_password(&mut self) {
        self.lab.clock().advance(Duration::from_secs(60));
        if !self.exists {
            return;
        }
        let use_cases = self.lab.use_cases();
        let user = self.lab.deps().users.find(&self.phone).await.unwrap().unwrap().user.id;
        let new = format!("{}+", self.password);
        let request = ChangePassword {
            whose: Whose::Unauthenticated(user),
            proof: Proof::Raw(RawPassword::new(self.password.clone())),
            password: NewPassword::chosen(&RawPassword::new(new.clone()), 6).unwrap(),
            caller: &self.owner(0),
        };
        use_cases.change_password(request).await.unwrap();
        self.password = new;
    }

    async fn call(&self, from: u8, call: Call) -> String {
        let use_cases = self.lab.use_cases();
        let (portal, jwt) = (self.stranger("portal", from), self.stranger("jwt", from));
        let to = Recipient::parse(&self.phone).unwrap();
        let wrong = Code::typed("wrong");
        let password = NewPassword::chosen(&RawPassword::new("chosen by a stranger".to_owned()), 6).unwrap();
        match call {
            Call::Login => answer_of(&self.log_in(&self.stranger("tms", from), "wrong", Challenge::Never).await),
            Call::LoginWithCaptcha(solved) => {
                let solution = self.solution(&jwt, solved).await;
                answer_of(&self.log_in(&jwt, "wrong", Challenge::Captcha(solution)).await)
            }
            Call::LoginWithCode { typed } => {
                answer_of(&self.log_in(&portal, "wrong", Challenge::Code(typed.then_some(wrong))).await)
            }
            Call::Send => answer_of(&use_cases.send_code(&portal, &to, Purpose::Any, Sendable::Anyone).await),
            Call::Reset { own_phone } => {
                let other = Recipient::parse("13900139000").unwrap();
                answer_of(&use_cases.send_reset(&jwt, &self.phone, if own_phone { &to } else { &other }).await)
            }
            Call::GrantReset => answer_of(&use_cases.grant_reset(&jwt, &self.phone, &wrong).await),
            Call::ResetPassword => {
                let (purpose, code) = (Purpose::Any, &wrong);
                let request = ResetPassword { to: &to, purpose, code, password: &password, caller: &portal };
                answer_of(&use_cases.reset_password(request).await)
            }
            Call::Register => {
                let (purpose, code) = (Purpose::Any, &wrong);
                answer_of(
                    &use_cases
                        .register(Register { to: &to, purpose, code, password: &password, caller: &portal })
                        .await,
                )
            }
            Call::CheckCode => {
                let purposes = [Purpose::Register, Purpose::Reset];
                answer_of(&use_cases.check_code(&self.stranger("mefp", from), &to, &purposes, &wrong).await)
            }
            Call::Captcha => answer_of(&use_cases.issue_captcha(&jwt).await),
        }
    }

    async fn solution(&self, caller: &Caller, solved: Solved) -> Option<Solution> {
        let use_cases = self.lab.use_cases();
        let id = match solved {
            Solved::Not => return None,
            Solved::Wrong | Solved::Right => use_cases.issue_captcha(caller).await.ok()?,
        };
        let text = match solved {
            Solved::Right => use_cases.view_captcha(id).await.unwrap().unwrap().text,
            Solved::Not | Solved::Wrong => "wrong".to_owned(),
        };
        Some(Solution { id, text })
    }

    async fn step(&mut self, step: &Step) -> String {
        match *step {
            Step::Stranger(from, call) => {
                let (answer, work) = self.lab.work(self.call(from, call)).await;
                return format!("{step:?}: {answer}, {work:?}");
            }
            Step::Wait(seconds) => self.lab.clock().advance(Duration::from_secs(seconds)),
            Step::Owner { mistyped, address } => self.owner_logs_in(address, mistyped).await,
            Step::Change => self.owner_changes_password().await,
        }
        String::new()
    }
}

/// What a dialect lets a stranger know that promises to answer an unknown user like a wrong password.
fn answer_of<T: Debug>(result: &Result<T>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(Error::UnknownUser | Error::WrongPassword) => "wrong password".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

#[test]
fn no_sequence_of_calls_shows_that_an_account_exists() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sides = runtime.block_on(async { (Side::new(true).await, Side::new(false).await) });
    let (sides, rounds) = (Mutex::new(sides), AtomicU32::new(1));
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::with_cases(60) };
    proptest!(config, |(steps in proptest::collection::vec(step(), 1..60))| {
        let round = rounds.fetch_add(1, Ordering::Relaxed);
        let differs = runtime.block_on(async {
            let (known, unknown) = &mut *sides.lock().await;
            known.begin(round).await;
            unknown.begin(round).await;
            for (n, step) in steps.iter().enumerate() {
                let (one, other) = (known.step(step).await, unknown.step(step).await);
                if one != other {
                    return Some(format!("step {n}: known {one}; unknown {other}"));
                }
            }
            None
        });
        prop_assert_eq!(differs, None);
    });
}
