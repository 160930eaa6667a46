//! Login: verifies a password proof, and a challenge where the rate limits require one, and opens a session.

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
use crate::user::{Account, LegacyIds, Role, User, UserId};
use crate::{Dependencies, Error, Result, UseCases};

/// A login request.
#[derive(Debug)]
pub struct LoginRequest<'a> {
    /// The content of the login field: a user name, phone number or e-mail address, or any other text.
    pub identifier: &'a str,
    /// The proof of the password.
    pub proof: Proof,
    /// The calling client or app.
    pub caller: &'a RequestInfo,
    /// The users that this login accepts.
    pub allowed_users: AllowedUsers,
    /// The kind of challenge that is required after too many failures, with the client's answer.
    pub challenge: Challenge,
    /// How later requests refer to the session.
    pub transport: SessionTransport,
}

/// The users that a login accepts. For other users the proof counts as wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedUsers {
    /// Every user.
    Everyone,
    /// Administrators only.
    Admins,
}

impl AllowedUsers {
    /// Whether the login accepts `user`.
    pub(super) fn permits(self, user: &User) -> bool {
        match self {
            Self::Everyone => true,
            Self::Admins => user.role == Role::Admin,
        }
    }
}

/// The challenge that a login requires beside the password after [`LoginLimits::challenge_after`] failures, with the
/// client's answer (brute force).
///
/// [`LoginLimits::challenge_after`]: crate::policy::LoginLimits::challenge_after
#[derive(Debug)]
pub enum Challenge {
    /// The login never requires a challenge.
    Never,
    /// A code that this dialect sent to the identifier for [`CodePurpose::Any`]; `None` if the request has no code.
    Code(Option<Code>),
    /// A captcha; `None` if the request has no solution.
    Captcha(Option<captcha::CaptchaSolution>),
}

/// How later requests refer to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionTransport {
    /// By the session's token.
    Token,
    /// Without a token: the session is bound to the user and the calling app (MeFP).
    AppBound,
}

/// A successful login.
#[derive(Debug)]
pub struct AuthenticatedSession {
    /// The user.
    pub user: User,
    /// The user's ids in the old system of the dialect; `None` if the user has none there.
    pub legacy: Option<LegacyIds>,
    /// The session's token. With [`SessionTransport::AppBound`] no session has this token.
    pub token: Token,
    /// The session.
    pub session: Session,
}

impl AuthenticatedSession {
    /// The user id that the dialect answers: that of its own old system, else the UUID.
    pub fn user_id(&self) -> String {
        self.legacy.as_ref().map_or_else(|| self.user.id.to_string(), |legacy| legacy.id.clone())
    }

    /// cloudbox `user_alias_id`: 32 hex digits.
    pub fn alias_id(&self) -> &str {
        self.legacy.as_ref().and_then(|legacy| legacy.alias_id.as_deref()).unwrap_or(&self.user.alias_id)
    }
}

impl UseCases {
    /// Logs in. Costs one indexed read, and one round trip to the state store (two if the proof costs a password hash
    /// or the login has a challenge).
    ///
    /// # Errors
    /// `RateLimited`, `ChallengeRequired`, `ChallengeFailed`, `Stale`, `Replayed`, `Disabled`; `UnknownUser` and
    /// `WrongPassword`, which cost the same work and which dialects answer alike where user enumeration must be
    /// prevented; `Busy`, `Unavailable`, `Internal`.
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
    let LoginRequest { identifier, proof, caller, allowed_users, challenge, transport } = request;
    let parsed = Identifier::parse(identifier);
    // Text that cannot be an identifier is looked up by the empty key, which no user has, so that it costs the same.
    let key = parsed.as_ref().map_or("", Identifier::key);
    let account = deps.users.find_for_login(caller.dialect, key).await?;
    audit.set_account(account.as_ref());
    let attempt = caller.login_attempt(deps, account.as_ref(), parsed.as_ref().map_or(identifier, |p| p.key()));

    let (limit_check, consumed_code) = match challenge {
        Challenge::Never => (LimitCheck::Pending, None),
        challenge => (LimitCheck::Passed, require_challenge(deps, caller, &attempt, key, challenge).await?),
    };
    let token = Token::generate(deps.random.as_ref());
    let repeat_policy = RepeatPolicy::WithinDialect(caller.dialect);
    let identifier = parsed.as_ref();
    let proof_request =
        ProofRequest { caller, identifier, account, attempt, proof: &proof, allowed_users, limit_check, repeat_policy };
    let verified = verify_proof(deps, proof_request, |account| {
        let session = new_session(deps, caller, account.user.id, account.epoch);
        let session_key = match transport {
            SessionTransport::Token => token.key(),
            SessionTransport::AppBound => TokenKey::app_bound(caller.dialect, &caller.app, account.user.id),
        };
        let new =
            NewSession { key: session_key, session: session.clone(), max_per_user: deps.policy.sessions_per_user };
        (
            SuccessEffects {
                consumed_code,
                origin_trust: OriginTrustChange::Trust,
                session: Some(new),
                ..SuccessEffects::default()
            },
            session,
        )
    })
    .await?;
    audit.set_action(Action::Login(verified.kind));
    let Account { user, legacy, .. } = verified.account;
    audit.set_subject(user.id);
    Ok(AuthenticatedSession { user, legacy, token, session: verified.granted })
}

/// A session of `user` that `caller` opens now under `epoch`.
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

/// Checks the rate limits and, if the number of failures requires a challenge, verifies the client's answer. Returns
/// the key of the code that a successful login consumes; `None` without a challenge and for captchas.
async fn require_challenge(
    deps: &Dependencies,
    caller: &RequestInfo,
    attempt: &LoginAttempt,
    identifier_key: &str,
    challenge: Challenge,
) -> Result<Option<CodeKey>> {
    // A trusted origin needs a challenge too, by the failures of its counter at this account. Otherwise a missing
    // challenge would show that the account exists (user enumeration).
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
            let is_solved = captcha::verify_solution(deps, &solution).await?;
            if is_solved { Ok(None) } else { Err(Error::ChallengeFailed) }
        }
    }
}
