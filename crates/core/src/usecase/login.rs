//! Logging in.

use super::audit_scope::AuditScope;
use super::check_code;
use super::proof_verification::{self, LimitCheck, ProofRequest, RepeatPolicy, verify_proof};
use super::{RequestInfo, captcha};
use crate::code::{Code, CodeKey, CodePurpose};
use crate::event::Action;
use crate::identifier::Identifier;
use crate::ports::{LoginAttempt, OnCodeMatch, OriginTrustChange, SuccessEffects};
use crate::proof::Proof;
use crate::session::{NewSession, Session, Token, TokenKey};
use crate::user::{Role, User, UserId};
use crate::{Dependencies, Error, Result, UseCases};

/// An attempt to log in.
#[derive(Debug)]
pub struct LoginRequest<'a> {
    /// What the login field holds: a name, phone or e-mail address, or nonsense.
    pub identifier: &'a str,
    /// The proof of the password.
    pub proof: Proof,
    /// By which door.
    pub caller: &'a RequestInfo,
    /// Who may use this door.
    pub allowed_users: AllowedUsers,
    /// What is asked after too many failures.
    pub challenge: Challenge,
    /// How the session is carried.
    pub transport: SessionTransport,
}

/// Who may log in by a door. Others are told what a wrong password is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedUsers {
    /// Every user.
    Everyone,
    /// Administrators.
    Admins,
}

impl AllowedUsers {
    /// Whether `user` belongs to it.
    pub(super) fn permits(self, user: &User) -> bool {
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
    /// A code sent to the identifier for [`CodePurpose::Any`] in this dialect, if it was typed.
    Code(Option<Code>),
    /// A captcha, if it was solved.
    Captcha(Option<captcha::CaptchaSolution>),
}

/// How a session is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionTransport {
    /// By a token that the client keeps.
    Token,
    /// By nothing: the user counts as present at the calling app (MeFP).
    AppBound,
}

/// Someone who has logged in.
#[derive(Debug)]
pub struct AuthenticatedSession {
    /// Who.
    pub user: User,
    /// The session's token; with [`SessionTransport::AppBound`] it opens nothing.
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
    pub async fn login(&self, request: LoginRequest<'_>) -> Result<AuthenticatedSession> {
        let mut audit = AuditScope::start(&self.deps, Action::Login(request.proof.kind()), request.caller);
        let outcome = log_in(&self.deps, request, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn log_in(
    deps: &Dependencies,
    request: LoginRequest<'_>,
    audit: &mut AuditScope<'_>,
) -> Result<AuthenticatedSession> {
    let LoginRequest { identifier, proof, caller, allowed_users: audience, challenge, transport: carrier } = request;
    let parsed = Identifier::parse(identifier);
    // Nobody has an empty key: what cannot be an identifier is looked up all the same, so that it costs as much.
    let key = parsed.as_ref().map_or("", Identifier::key);
    let account = deps.users.find_by_identifier(key).await?;
    if let Some(account) = &account {
        audit.set_subject(account.user.id);
    }
    let attempt = caller.login_attempt(deps, account.as_ref(), parsed.as_ref().map_or(identifier, |p| p.key()));

    let (limit_check, used_code) = match challenge {
        Challenge::Never => (LimitCheck::Pending, None),
        asked => (LimitCheck::Passed, require_challenge(deps, caller, &attempt, key, asked).await?),
    };
    let token = Token::generate(deps.random.as_ref());
    let repeats = RepeatPolicy::WithinDialect(caller.dialect);
    let claim =
        ProofRequest { account, attempt, proof: &proof, allowed_users: audience, limit_check, repeat_policy: repeats };
    let proven = verify_proof(deps, claim, |account| {
        let session = new_session(deps, caller, account.user.id, account.epoch);
        let key = match carrier {
            SessionTransport::Token => token.key(),
            SessionTransport::AppBound => TokenKey::app_bound(caller.dialect, &caller.app, account.user.id),
        };
        let new = NewSession { key, session: session.clone(), max_per_user: deps.policy.sessions_per_user };
        (
            SuccessEffects {
                consumed_code: used_code,
                origin_trust: OriginTrustChange::Trust,
                session: Some(new),
                ..SuccessEffects::default()
            },
            session,
        )
    })
    .await?;
    audit.set_action(Action::Login(proven.kind));
    Ok(AuthenticatedSession { user: proven.account.user, token, session: proven.granted })
}

/// A session that begins now under `epoch`.
pub(super) fn new_session(deps: &Dependencies, caller: &RequestInfo, user: UserId, epoch: i64) -> Session {
    let now = deps.now();
    Session {
        user,
        dialect: caller.dialect.to_owned(),
        app: caller.app.clone(),
        created: now,
        expires: now.saturating_add(deps.policy.session_ttl),
        last_seen: now,
        epoch,
    }
}

/// Asks the limits and, if they ask for a challenge, sees that it is met. Gives the code that a success uses up.
async fn require_challenge(
    deps: &Dependencies,
    caller: &RequestInfo,
    attempt: &LoginAttempt,
    identifier_key: &str,
    challenge: Challenge,
) -> Result<Option<CodeKey>> {
    // Known origins are asked as well, by the budget of their own: otherwise the question would show that the account
    // exists.
    if proof_verification::check_rate_limit(deps, attempt).await? < deps.policy.login_limits.challenge_after {
        return Ok(None);
    }
    match challenge {
        Challenge::Never => Ok(None),
        Challenge::Code(None) | Challenge::Captcha(None) => Err(Error::ChallengeRequired),
        Challenge::Code(Some(code)) => {
            let key = CodeKey::new(caller.dialect, CodePurpose::Any, identifier_key);
            match check_code::verify_code(deps, caller, attempt, std::slice::from_ref(&key), &code, OnCodeMatch::Keep)
                .await
            {
                Ok(_) => Ok(Some(key)),
                Err(Error::WrongCode) => Err(Error::ChallengeFailed),
                Err(other) => Err(other),
            }
        }
        Challenge::Captcha(Some(solution)) => {
            let met = captcha::verify_solution(deps, &solution).await?;
            if met { Ok(None) } else { Err(Error::ChallengeFailed) }
        }
    }
}
