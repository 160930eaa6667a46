//! Existence over several calls: whatever a stranger calls in whatever order, an account that exists answers and costs
//! what one does that does not, at addresses that the account does not know. (By one identifier: that two of them share a
//! count shows that they are one account's, ADR 24.)

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use stele_core::code::{Code, CodePurpose};
use stele_core::identifier::Recipient;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::captcha::CaptchaSolution;
use stele_core::usecase::change_password::{ChangePasswordRequest, PasswordChangeTarget};
use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};
use stele_core::usecase::register::RegisterRequest;
use stele_core::usecase::reset_password::ResetPasswordRequest;
use stele_core::usecase::send_code::RecipientFilter;
use stele_core::{Error, Result};
use stele_testkit::TestLab;
use tokio::sync::Mutex;

/// What happens next, in both laboratories.
#[derive(Clone, Debug)]
enum Step {
    /// A stranger calls, from one of four addresses.
    StrangerCall(u8, Call),
    /// Time passes, in seconds.
    Wait(u64),
    /// The owner logs in, where there is one: from an address of their own, perhaps after a wrong password.
    OwnerLogin { mistyped: bool, address: u8 },
    /// The owner changes the password, where there is one.
    OwnerPasswordChange,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Login,
    LoginWithCaptcha(CaptchaAnswer),
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
enum CaptchaAnswer {
    Missing,
    Wrong,
    Right,
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => Just(Call::Login),
        2 => Just(Call::LoginWithCaptcha(CaptchaAnswer::Missing)),
        1 => Just(Call::LoginWithCaptcha(CaptchaAnswer::Wrong)),
        3 => Just(Call::LoginWithCaptcha(CaptchaAnswer::Right)),
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

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0u8..4, any_call()).prop_map(|(from, call)| Step::StrangerCall(from, call)),
        2 => prop_oneof![0u64..3, 1u64..70, 1u64..2_000].prop_map(Step::Wait),
        2 => (any::<bool>(), 0u8..2).prop_map(|(mistyped, address)| Step::OwnerLogin { mistyped, address }),
        1 => Just(Step::OwnerPasswordChange),
    ]
}

/// A laboratory in which the account exists, or one in which it does not.
struct Scenario {
    lab: TestLab,
    exists: bool,
    password: String,
    phone: String,
    round: u32,
}

impl Scenario {
    async fn new(exists: bool) -> Self {
        let (password, phone) = Default::default();
        Self { lab: TestLab::new().await, exists, password, phone, round: 0 }
    }

    /// Another account, and addresses that nothing was counted for.
    async fn start_round(&mut self, round: u32) {
        self.round = round;
        self.phone = format!("138{round:08}");
        self.password = "first-password".to_owned();
        self.lab.clock().advance(Duration::from_secs(7_200));
        if self.exists {
            self.lab.user(&format!("person{round}")).phone(&self.phone).password(&self.password).add().await;
        }
    }

    /// Strangers: two of IPv4, and two /64 of one /56.
    fn stranger_info(&self, dialect: &'static str, from: u8) -> RequestInfo {
        let round = self.round;
        let address = match from {
            0 | 1 => format!("10.{}.{}.{from}", round / 256, round % 256),
            n => format!("2001:db8:{round:x}:{n}::1"),
        };
        RequestInfo::from_client(dialect, address.parse().unwrap())
    }

    fn owner_info(&self, address: u8) -> RequestInfo {
        let round = self.round;
        RequestInfo::from_client("tms", format!("192.168.{}.{}", round % 256, 100 + address).parse().unwrap())
    }

    async fn log_in(&self, caller: &RequestInfo, password: &str, challenge: Challenge) -> Result<()> {
        let request = LoginRequest {
            identifier: &self.phone,
            proof: Proof::Raw(RawPassword::new(password.to_owned())),
            caller,
            allowed_users: AllowedUsers::Everyone,
            challenge,
            transport: SessionTransport::Token,
        };
        self.lab.use_cases().login(request).await.map(drop)
    }

    /// What the owner does is not answered to strangers.
    async fn owner_login(&self, address: u8, mistyped: bool) {
        let caller = self.owner_info(address);
        if mistyped && self.exists {
            drop(self.log_in(&caller, "mistyped", Challenge::Never).await);
        }
        // Past the longest wait: otherwise the slip alone is counted, as a stranger's could be at either account.
        self.lab.clock().advance(Duration::from_secs(60));
        if self.exists {
            self.log_in(&caller, &self.password, Challenge::Never).await.unwrap();
        }
    }

    async fn owner_password_change(&mut self) {
        self.lab.clock().advance(Duration::from_secs(60));
        if !self.exists {
            return;
        }
        let use_cases = self.lab.use_cases();
        let user = self.lab.dependencies().users.find_by_identifier(&self.phone).await.unwrap().unwrap().user.id;
        let new = format!("{}+", self.password);
        let request = ChangePasswordRequest {
            target: PasswordChangeTarget::Unauthenticated(user),
            proof: Proof::Raw(RawPassword::new(self.password.clone())),
            password: NewPassword::from_user_choice(&RawPassword::new(new.clone()), 6).unwrap(),
            caller: &self.owner_info(0),
        };
        use_cases.change_password(request).await.unwrap();
        self.password = new;
    }

    async fn run_call(&self, from: u8, call: Call) -> String {
        let use_cases = self.lab.use_cases();
        let (portal, jwt) = (self.stranger_info("portal", from), self.stranger_info("jwt", from));
        let to = Recipient::parse(&self.phone).unwrap();
        let wrong = Code::from_user_input("wrong");
        let password = NewPassword::from_user_choice(&RawPassword::new("chosen by a stranger".to_owned()), 6).unwrap();
        match call {
            Call::Login => {
                visible_response(&self.log_in(&self.stranger_info("tms", from), "wrong", Challenge::Never).await)
            }
            Call::LoginWithCaptcha(solved) => {
                let solution = self.captcha_solution(&jwt, solved).await;
                visible_response(&self.log_in(&jwt, "wrong", Challenge::Captcha(solution)).await)
            }
            Call::LoginWithCode { typed } => {
                visible_response(&self.log_in(&portal, "wrong", Challenge::Code(typed.then_some(wrong))).await)
            }
            Call::Send => {
                visible_response(&use_cases.send_code(&portal, &to, CodePurpose::Any, RecipientFilter::Anyone).await)
            }
            Call::Reset { own_phone } => {
                let other = Recipient::parse("13900139000").unwrap();
                visible_response(&use_cases.send_reset(&jwt, &self.phone, if own_phone { &to } else { &other }).await)
            }
            Call::GrantReset => visible_response(&use_cases.grant_reset(&jwt, &self.phone, &wrong).await),
            Call::ResetPassword => {
                let (purpose, code) = (CodePurpose::Any, &wrong);
                let request = ResetPasswordRequest { to: &to, purpose, code, password: &password, caller: &portal };
                visible_response(&use_cases.reset_password(request).await)
            }
            Call::Register => {
                let (purpose, code) = (CodePurpose::Any, &wrong);
                visible_response(
                    &use_cases
                        .register(RegisterRequest { to: &to, purpose, code, password: &password, caller: &portal })
                        .await,
                )
            }
            Call::CheckCode => {
                let purposes = [CodePurpose::Register, CodePurpose::Reset];
                visible_response(&use_cases.check_code(&self.stranger_info("mefp", from), &to, &purposes, &wrong).await)
            }
            Call::Captcha => visible_response(&use_cases.issue_captcha(&jwt).await),
        }
    }

    async fn captcha_solution(&self, caller: &RequestInfo, solved: CaptchaAnswer) -> Option<CaptchaSolution> {
        let use_cases = self.lab.use_cases();
        let id = match solved {
            CaptchaAnswer::Missing => return None,
            CaptchaAnswer::Wrong | CaptchaAnswer::Right => use_cases.issue_captcha(caller).await.ok()?,
        };
        let text = match solved {
            CaptchaAnswer::Right => use_cases.view_captcha(id).await.unwrap().unwrap().text,
            CaptchaAnswer::Missing | CaptchaAnswer::Wrong => "wrong".to_owned(),
        };
        Some(CaptchaSolution { id, text })
    }

    async fn run_step(&mut self, step: &Step) -> String {
        match *step {
            Step::StrangerCall(from, call) => {
                let (answer, work) = self.lab.measure_cost(self.run_call(from, call)).await;
                return format!("{step:?}: {answer}, {work:?}");
            }
            Step::Wait(seconds) => self.lab.clock().advance(Duration::from_secs(seconds)),
            Step::OwnerLogin { mistyped, address } => self.owner_login(address, mistyped).await,
            Step::OwnerPasswordChange => self.owner_password_change().await,
        }
        String::new()
    }
}

/// What a dialect lets a stranger know that promises to answer an unknown user like a wrong password.
fn visible_response<T: Debug>(result: &Result<T>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(Error::UnknownUser | Error::WrongPassword) => "wrong password".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

#[test]
fn no_call_sequence_reveals_whether_an_account_exists() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sides = runtime.block_on(async { (Scenario::new(true).await, Scenario::new(false).await) });
    let (sides, rounds) = (Mutex::new(sides), AtomicU32::new(1));
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::with_cases(60) };
    proptest!(config, |(steps in proptest::collection::vec(any_step(), 1..60))| {
        let round = rounds.fetch_add(1, Ordering::Relaxed);
        let differs = runtime.block_on(async {
            let (known, unknown) = &mut *sides.lock().await;
            known.start_round(round).await;
            unknown.start_round(round).await;
            for (n, step) in steps.iter().enumerate() {
                let (one, other) = (known.run_step(step).await, unknown.run_step(step).await);
                if one != other {
                    return Some(format!("step {n}: known {one}; unknown {other}"));
                }
            }
            None
        });
        prop_assert_eq!(differs, None);
    });
}
