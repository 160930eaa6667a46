//! Logging in.

use super::check_code;
use super::prove::{self, Claim, LimitCheck, Repeats, prove};
use super::watch::Watch;
use super::{Caller, captcha};
use crate::code::{Code, CodeKey, Purpose};
use crate::event::Act;
use crate::identifier::Identifier;
use crate::ports::{Attempt, CodeUse, OriginTrust, Success};
use crate::proof::Proof;
use crate::session::{NewSession, Session, Token, TokenKey};
use crate::user::{Role, User, UserId};
use crate::{Deps, Error, Result, UseCases};

/// An attempt to log in.
#[derive(Debug)]
pub struct Login<'a> {
    /// What the login field holds: a name, phone or e-mail address, or nonsense.
    pub identifier: &'a str,
    /// The proof of the password.
    pub proof: Proof,
    /// By which door.
    pub caller: &'a Caller,
    /// Who may use this door.
    pub audience: Audience,
    /// What is asked after too many failures.
    pub challenge: Challenge,
    /// How the session is carried.
    pub carrier: Carrier,
}

/// Who may log in by a door. Others are told what a wrong password is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every user.
    Everyone,
    /// Administrators.
    Admins,
}

impl Audience {
    /// Whether `user` belongs to it.
    pub(super) fn admits(self, user: &User) -> bool {
        match self {
            Self::Everyone => true,
            Self::Admins => user.role == Role::Admin,
        }
    }
}

/// What is asked, beside the password, once the budget that applies to the origin has had its free failures.
#[derive(Debug)]
pub enum Challenge {
    /// Nothing.
    Never,
    /// A code sent to the identifier for [`Purpose::Any`] in this dialect, if it was typed.
    Code(Option<Code>),
    /// A captcha, if it was solved.
    Captcha(Option<captcha::Solution>),
}

/// How a session is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// By a token that the client keeps.
    Token,
    /// By nothing: the user counts as present at the calling app (MeFP).
    Presence,
}

/// Someone who has logged in.
#[derive(Debug)]
pub struct LoggedIn {
    /// Who.
    pub user: User,
    /// The session's token; with [`Carrier::Presence`] it opens nothing.
    pub token: Token,
    /// The session.
    pub session: Session,
}

impl UseCases {
    /// Logs in: one indexed read, one trip to the short-lived store (two where the proof costs a hash).
    ///
    /// # Errors
    /// `TooMany`, `ChallengeRequired`, `ChallengeFailed`, `Stale`, `UnknownUser` and `WrongPassword` (which cost the same
    /// work; a dialect that must not distinguish them answers the same), `Replayed`, `Disabled`; `Busy` and faults of ours.
    pub async fn login(&self, request: Login<'_>) -> Result<LoggedIn> {
        let mut watch = Watch::over(&self.deps, Act::Login(request.proof.kind()), request.caller);
        let outcome = attempt(&self.deps, request, &mut watch).await;
        watch.end(outcome)
    }
}

async fn attempt(deps: &Deps, request: Login<'_>, watch: &mut Watch<'_>) -> Result<LoggedIn> {
    let Login { identifier, proof, caller, audience, challenge, carrier } = request;
    let parsed = Identifier::parse(identifier);
    // Nobody has an empty key: what cannot be an identifier is looked up all the same, so that it costs as much.
    let key = parsed.as_ref().map_or("", Identifier::key);
    let account = deps.users.find(key).await?;
    if let Some(account) = &account {
        watch.concerns(account.user.id);
    }
    let attempt = caller.attempt(deps, account.as_ref(), parsed.as_ref().map_or(identifier, |p| p.key()));

    let (limit_check, used_code) = match challenge {
        Challenge::Never => (LimitCheck::Pending, None),
        asked => (LimitCheck::Passed, meet(deps, caller, &attempt, key, asked).await?),
    };
    let token = Token::generate(deps.random.as_ref());
    let repeats = Repeats::In(caller.dialect);
    let claim = Claim { account, attempt, proof: &proof, audience, limit_check, repeats };
    let proven = prove(deps, claim, |account| {
        let session = new_session(deps, caller, account.user.id, account.epoch);
        let key = match carrier {
            Carrier::Token => token.key(),
            Carrier::Presence => TokenKey::presence(caller.dialect, &caller.app, account.user.id),
        };
        let new = NewSession { key, session: session.clone(), per_user: deps.policy.sessions_per_user };
        (
            Success { code: used_code, origin_trust: OriginTrust::Trusted, session: Some(new), ..Success::default() },
            session,
        )
    })
    .await?;
    watch.is(Act::Login(proven.kind));
    Ok(LoggedIn { user: proven.account.user, token, session: proven.granted })
}

/// A session that begins now under `epoch`.
pub(super) fn new_session(deps: &Deps, caller: &Caller, user: UserId, epoch: i64) -> Session {
    let now = deps.now();
    Session {
        user,
        dialect: caller.dialect.to_owned(),
        app: caller.app.clone(),
        created: now,
        expires: now.after(deps.policy.session_ttl),
        last_seen: now,
        epoch,
    }
}

/// Asks the limits and, if they ask for a challenge, sees that it is met. Gives the code that a success uses up.
async fn meet(
    deps: &Deps,
    caller: &Caller,
    attempt: &Attempt,
    identifier_key: &str,
    challenge: Challenge,
) -> Result<Option<CodeKey>> {
    // Known origins are asked as well, by the budget of their own: otherwise the question would show that the account
    // exists.
    if prove::admit(deps, attempt).await? < deps.policy.guessing.challenge_after {
        return Ok(None);
    }
    match challenge {
        Challenge::Never => Ok(None),
        Challenge::Code(None) | Challenge::Captcha(None) => Err(Error::ChallengeRequired),
        Challenge::Code(Some(code)) => {
            let key = CodeKey::new(caller.dialect, Purpose::Any, identifier_key);
            match check_code::guess(deps, caller, attempt, std::slice::from_ref(&key), &code, CodeUse::Check).await {
                Ok(_) => Ok(Some(key)),
                Err(Error::WrongCode) => Err(Error::ChallengeFailed),
                Err(other) => Err(other),
            }
        }
        Challenge::Captcha(Some(solution)) => {
            let met = captcha::solve(deps, &solution).await?;
            if met { Ok(None) } else { Err(Error::ChallengeFailed) }
        }
    }
}
