//! User enumeration over sequences of calls: from an address that is not a trusted origin of the account, every
//! sequence of calls has the same responses and costs for an account that exists as for one that does not. (All calls
//! use one identifier: two identifiers that share a failure count reveal that they belong to one account, ADR 24.)

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
use stele_core::usecase::change_password::{ChangePasswordRequest, PasswordChangeAuthorization};
use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};
use stele_core::usecase::register::RegisterRequest;
use stele_core::usecase::reset_password::ResetPasswordRequest;
use stele_core::usecase::send_code::RecipientFilter;
use stele_core::{Error, Result};
use stele_testkit::TestLab;
use tokio::sync::Mutex;

/// One step, executed in both labs.
#[derive(Clone, Debug)]
enum Step {
    /// A stranger makes a call from the address with this number, one of four.
    StrangerCall(u8, Call),
    /// The clock advances by this number of seconds.
    Wait(u64),
    /// If the account exists, its owner logs in from an address of their own, possibly after a mistyped password.
    OwnerLogin { first_try: TypedPassword, address: u8 },
    /// If the account exists, its owner changes the password.
    OwnerPasswordChange,
}

/// What the owner types first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TypedPassword {
    Right,
    Mistyped,
}

/// A call of a stranger.
#[derive(Clone, Copy, Debug)]
enum Call {
    Login,
    LoginWithCaptcha(CaptchaAnswer),
    LoginWithCode { has_code: bool },
    SendCode,
    SendReset { to_own_phone: bool },
    GrantReset,
    ResetPassword,
    Register,
    CheckCode,
    IssueCaptcha,
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
        3 => any::<bool>().prop_map(|has_code| Call::LoginWithCode { has_code }),
        2 => Just(Call::SendCode),
        2 => any::<bool>().prop_map(|to_own_phone| Call::SendReset { to_own_phone }),
        2 => Just(Call::GrantReset),
        2 => Just(Call::ResetPassword),
        1 => Just(Call::Register),
        1 => Just(Call::CheckCode),
        1 => Just(Call::IssueCaptcha),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0u8..4, any_call()).prop_map(|(from, call)| Step::StrangerCall(from, call)),
        2 => prop_oneof![0u64..3, 1u64..70, 1u64..2_000].prop_map(Step::Wait),
        2 => (prop_oneof![Just(TypedPassword::Right), Just(TypedPassword::Mistyped)], 0u8..2)
            .prop_map(|(first_try, address)| Step::OwnerLogin { first_try, address }),
        1 => Just(Step::OwnerPasswordChange),
    ]
}

/// Whether the account that the calls are about exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AccountExistence {
    Exists,
    Missing,
}

/// A lab in which the account exists, or one in which it does not.
struct Scenario {
    lab: TestLab,
    account: AccountExistence,
    password: String,
    phone: String,
    round: u32,
}

impl Scenario {
    async fn new(account: AccountExistence) -> Self {
        let (password, phone) = Default::default();
        Self { lab: TestLab::new().await, account, password, phone, round: 0 }
    }

    /// Starts a round with a new account and with new addresses, for which no failure has been counted.
    async fn start_round(&mut self, round: u32) {
        self.round = round;
        self.phone = format!("138{round:08}");
        self.password = "first-password".to_owned();
        self.lab.clock().advance(Duration::from_secs(7_200));
        if self.account == AccountExistence::Exists {
            self.lab.user(&format!("person{round}")).phone(&self.phone).password(&self.password).add().await;
        }
    }

    /// A stranger's request from the address with number `from`: two are IPv4 addresses, two are in different /64
    /// networks of one /56.
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

    /// Logs in the owner, if the account exists. A stranger does not see the response.
    async fn log_in_owner(&self, address: u8, first_try: TypedPassword) {
        let caller = self.owner_info(address);
        let exists = self.account == AccountExistence::Exists;
        if first_try == TypedPassword::Mistyped && exists {
            drop(self.log_in(&caller, "mistyped", Challenge::Never).await);
        }
        // Past the longest lockout, so that the owner's login succeeds and resets the count of the mistyped password.
        self.lab.clock().advance(Duration::from_secs(60));
        if exists {
            self.log_in(&caller, &self.password, Challenge::Never).await.unwrap();
        }
    }

    async fn change_owner_password(&mut self) {
        self.lab.clock().advance(Duration::from_secs(60));
        if self.account == AccountExistence::Missing {
            return;
        }
        let use_cases = self.lab.use_cases();
        let user = self.lab.dependencies().users.find_by_identifier(&self.phone).await.unwrap().unwrap().user.id;
        let new = format!("{}+", self.password);
        let request = ChangePasswordRequest {
            authorization: PasswordChangeAuthorization::ProofOnly(&user.into()),
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
            Call::LoginWithCaptcha(captcha_answer) => {
                let solution = self.solve_captcha(&jwt, captcha_answer).await;
                visible_response(&self.log_in(&jwt, "wrong", Challenge::Captcha(solution)).await)
            }
            Call::LoginWithCode { has_code } => {
                visible_response(&self.log_in(&portal, "wrong", Challenge::Code(has_code.then_some(wrong))).await)
            }
            Call::SendCode => {
                visible_response(&use_cases.send_code(&portal, &to, CodePurpose::Any, RecipientFilter::Anyone).await)
            }
            Call::SendReset { to_own_phone } => {
                let other_recipient = Recipient::parse("13900139000").unwrap();
                visible_response(
                    &use_cases.send_reset(&jwt, &self.phone, if to_own_phone { &to } else { &other_recipient }).await,
                )
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
            Call::IssueCaptcha => visible_response(&use_cases.issue_captcha(&jwt).await),
        }
    }

    async fn solve_captcha(&self, caller: &RequestInfo, captcha_answer: CaptchaAnswer) -> Option<CaptchaSolution> {
        let use_cases = self.lab.use_cases();
        let id = match captcha_answer {
            CaptchaAnswer::Missing => return None,
            CaptchaAnswer::Wrong | CaptchaAnswer::Right => use_cases.issue_captcha(caller).await.ok()?,
        };
        let text = match captcha_answer {
            CaptchaAnswer::Right => use_cases.view_captcha(id).await.unwrap().unwrap().text,
            CaptchaAnswer::Missing | CaptchaAnswer::Wrong => "wrong".to_owned(),
        };
        Some(CaptchaSolution { id, text })
    }

    async fn run_step(&mut self, step: &Step) -> String {
        match *step {
            Step::StrangerCall(from, call) => {
                let (response, cost) = self.lab.measure_cost(self.run_call(from, call)).await;
                return format!("{step:?}: {response}, {cost:?}");
            }
            Step::Wait(seconds) => self.lab.clock().advance(Duration::from_secs(seconds)),
            Step::OwnerLogin { first_try, address } => self.log_in_owner(address, first_try).await,
            Step::OwnerPasswordChange => self.change_owner_password().await,
        }
        String::new()
    }
}

/// What a stranger sees of a result in a dialect that reports an unknown user as a wrong password.
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
    let scenarios = runtime.block_on(async {
        (Scenario::new(AccountExistence::Exists).await, Scenario::new(AccountExistence::Missing).await)
    });
    let (scenarios, rounds) = (Mutex::new(scenarios), AtomicU32::new(1));
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::with_cases(60) };
    proptest!(config, |(steps in proptest::collection::vec(any_step(), 1..60))| {
        let round = rounds.fetch_add(1, Ordering::Relaxed);
        let difference = runtime.block_on(async {
            let (with_account, without_account) = &mut *scenarios.lock().await;
            with_account.start_round(round).await;
            without_account.start_round(round).await;
            for (index, step) in steps.iter().enumerate() {
                let for_existing = with_account.run_step(step).await;
                let for_missing = without_account.run_step(step).await;
                if for_existing != for_missing {
                    return Some(format!("step {index}: existing {for_existing}; missing {for_missing}"));
                }
            }
            None
        });
        prop_assert_eq!(difference, None);
    });
}
