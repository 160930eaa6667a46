//! Lazy migration: a login whose proof cannot be verified here is asked about at the old server that the user comes from.
//! A yes logs the user in, and migrates the user if a verifier follows from the proof.
//!
//! The rate limits are checked before the question, and a no counts as a wrong password. A relayed salted digest is
//! recorded as used before it is sent. A server that cannot answer is an error of its own, and nothing is counted.

mod answered_user;
mod new_user;
mod replacement;

use self::answered_user::check_answered_user;
use self::new_user::{new_user, with_identifier_alone};
use self::replacement::replace_credential;
use super::RequestInfo;
use super::credential;
use super::login::AllowedUsers;
use super::proof_verification::{check_rate_limit, match_credential, to_used_proof};
use crate::event::{Action, Event, Outcome};
use crate::identifier::Identifier;
use crate::mac::sha256;
use crate::old_server::{
    ExpectedUser, Leader, LegacyId, OldApi, OldProfile, OldServer, PreparedQuestion, UnknownUsers, prepare_question,
};
use crate::ports::{LoginAttempt, OldAnswer, OldLoginResult, SuccessEffects, UsedProof};
use crate::proof::{Proof, SaltedProof};
use crate::user::{Account, LegacyIds, Profile};
use crate::verifier::{self, PresentedSecret};
use crate::{Dependencies, Error, Result};

/// A login whose proof does not match the credential that is stored here.
pub(super) struct UnverifiedLogin<'a> {
    /// The request.
    pub caller: &'a RequestInfo,
    /// The content of the login field; `None` where the user is named by id.
    pub identifier: Option<&'a Identifier>,
    /// The account; `None` if no user has the identifier.
    pub account: Option<&'a Account>,
    /// The proof.
    pub proof: &'a Proof,
    /// The users whom the use case accepts.
    pub allowed_users: AllowedUsers,
    /// The attempt as the rate limits count it.
    pub attempt: &'a LoginAttempt,
    /// Whether the client may repeat a salted proof.
    pub may_repeat: bool,
}

/// A login that an old server has confirmed.
pub(super) struct ConfirmedLogin {
    /// The account, with its epoch and credential as they are now.
    pub account: Account,
    /// The salted digest that was relayed; `None` if the proof taught a secret.
    pub relayed: Option<SaltedProof>,
    /// The record of the relayed digest.
    pub mark: Option<ProofMark>,
    /// The server.
    api: OldApi,
    /// What became of the credential so far.
    credential: ConfirmedCredential,
    /// The profile, if the answer fills empty fields.
    filled_profile: Option<Profile>,
}

/// The record of a relayed digest.
pub(super) struct ProofMark {
    /// The key that was recorded.
    pub used_proof: UsedProof,
    /// Whether it was recorded before: then the login is accepted only as a permitted repetition.
    pub was_used: bool,
}

impl ConfirmedLogin {
    /// Moves the attempt to the account as it is now: it may have been added, or have a new epoch. A code that is consumed
    /// was sent for the unknown identifier, and stays with it.
    pub(super) fn move_attempt(&self, attempt: &mut LoginAttempt, success: &SuccessEffects) {
        if success.consumed_code.is_none() {
            attempt.account = LoginAttempt::account_key(Some(self.account.user.id), "");
        }
        attempt.epoch = self.account.epoch;
    }
}

impl ProofMark {
    /// The proof, if it was recorded now. If it was recorded before, the login needs a stored permit.
    ///
    /// # Errors
    /// `Replayed` without a permit.
    pub(super) fn require_permit_if_used(self, success: &mut SuccessEffects) -> Result<Option<UsedProof>> {
        if self.was_used {
            success.repeat_permit.as_mut().ok_or(Error::Replayed)?.is_required = true;
            return Ok(None);
        }
        Ok(Some(self.used_proof))
    }
}

enum ConfirmedCredential {
    /// The user has none yet; this secret makes one.
    Missing(PresentedSecret),
    /// The user has none yet, and a relayed digest makes none; or the one here stays.
    Unchanged,
    /// The user was added with one.
    Added,
    /// The one here was replaced.
    Replaced,
    /// Another instance has migrated the user meanwhile.
    MigratedElsewhere,
}

/// Asks the old server, if there is one that may and can be asked. `None` if there is none, or if it says no: the proof
/// is then wrong.
///
/// # Errors
/// `RateLimited`; `Replayed` for a salted digest that was relayed before; `Unavailable` if the server could not answer,
/// or answered about another user; `Busy`, `Internal`.
pub(super) async fn ask_old_server(deps: &Dependencies, login: &UnverifiedLogin<'_>) -> Result<Option<ConfirmedLogin>> {
    let Some((prepared, legacy_ids)) = prepare(deps, login).await? else { return Ok(None) };
    let turn = deps.old_servers.take_turn(&login.attempt.account).await;
    let _turn = turn.ok_or_else(|| Error::unavailable("other logins of this user are asked about"))?;
    // Also if they were checked before the wait: a login that was counted meanwhile may have reached the limit.
    check_rate_limit(deps, login.attempt).await?;
    let relayed = login.proof.as_salted().filter(|_| prepared.taught.is_none());
    let mark = match relayed {
        Some(salted) => Some(mark_relayed(deps, login, salted).await?),
        None => None,
    };
    let confirmed = ask_and_accept(deps, login, &prepared, &legacy_ids).await;
    match confirmed {
        Ok(Some(confirmed)) => {
            if let (Some(salted), None) = (relayed, login.account) {
                // From now on the digest is looked up by the user's id.
                let owner = confirmed.account.user.id;
                let used_proof = to_used_proof(deps, owner.as_bytes(), salted, login.attempt.now);
                deps.users.mark_proof_used(&used_proof).await?;
            }
            Ok(Some(ConfirmedLogin { relayed, mark, ..confirmed }))
        }
        // No session was opened here by the digest, and a client whose login was not answered may send it again.
        rejected => {
            if let Some(ProofMark { used_proof, was_used: false }) = &mark {
                deps.users.unmark_proof_used(used_proof).await?;
            }
            rejected
        }
    }
}

/// The question to ask, with the user's ids at the server.
async fn prepare(
    deps: &Dependencies,
    login: &UnverifiedLogin<'_>,
) -> Result<Option<(PreparedQuestion, Vec<LegacyId>)>> {
    let servers = deps.old_servers.list();
    let is_asked_about_unknown = |server: &OldServer| server.unknown_users == UnknownUsers::Ask;
    let Some(account) = login.account else {
        if login.identifier.is_none() || !servers.iter().any(is_asked_about_unknown) {
            return Ok(None);
        }
        let prepared = prepare_for(login, servers, &is_asked_about_unknown);
        return Ok(prepared.map(|prepared| (prepared, Vec::new())));
    };
    let has_no_password = account.credential.verifier == verifier::NO_PASSWORD;
    let leads = |server: &OldServer| server.leader == Leader::OldServer && account.has_password_of_old_server();
    let may_ask = |server: &OldServer| has_no_password || leads(server);
    // An account that this login does not accept is not asked about: the answer would be the same.
    if !servers.iter().any(may_ask) || !login.allowed_users.permits(&account.user) {
        return Ok(None);
    }
    let mut legacy_ids = deps.legacy_users.list_legacy_ids(account.user.number).await?;
    // A password that was set here before an import joined the user is not the old server's.
    if !has_no_password && !deps.legacy_users.was_added_by_import(account.user.number).await? {
        return Ok(None);
    }
    let is_known_there = |server: &OldServer| legacy_ids.iter().any(|legacy| legacy.api == server.api);
    let prepared = prepare_for(login, servers, &|server| may_ask(server) && is_known_there(server));
    Ok(prepared.map(|prepared| {
        legacy_ids.retain(|legacy| legacy.api == prepared.server.api);
        (prepared, legacy_ids)
    }))
}

fn prepare_for(
    login: &UnverifiedLogin<'_>,
    servers: &[OldServer],
    may_ask: &dyn Fn(&OldServer) -> bool,
) -> Option<PreparedQuestion> {
    let user = login.account.map(|account| &account.user);
    prepare_question(servers, login.caller.dialect, (login.proof, login.attempt.now), (login.identifier, user), may_ask)
}

/// Records a relayed digest as used, before it is sent: an eavesdropper who sends it at the same time gets no session.
///
/// # Errors
/// `Replayed` if it was recorded before and may not be repeated; `Unavailable`, `Internal`.
async fn mark_relayed(deps: &Dependencies, login: &UnverifiedLogin<'_>, salted: SaltedProof) -> Result<ProofMark> {
    let owner = match login.account {
        Some(account) => *account.user.id.as_bytes(),
        None => {
            let mut owner = [0; 16];
            owner.copy_from_slice(&sha256(login.identifier.map_or("", Identifier::key).as_bytes())[..16]);
            owner
        }
    };
    let used_proof = to_used_proof(deps, &owner, salted, login.attempt.now);
    let was_used = !deps.users.mark_proof_used(&used_proof).await?;
    if was_used && !login.may_repeat {
        return Err(Error::Replayed);
    }
    Ok(ProofMark { used_proof, was_used })
}

async fn ask_and_accept(
    deps: &Dependencies,
    login: &UnverifiedLogin<'_>,
    prepared: &PreparedQuestion,
    legacy_ids: &[LegacyId],
) -> Result<Option<ConfirmedLogin>> {
    let PreparedQuestion { server, question, taught } = prepared;
    let answer = match deps.old_servers.ask(server.api, question.clone()).await {
        OldAnswer::Yes(profile) => profile,
        OldAnswer::No => return Ok(None),
        OldAnswer::Unavailable(reason) => {
            return Err(Error::unavailable(format!("the old {} server: {reason}", server.api.as_str())));
        }
    };
    let user = login.account.map(|account| &account.user);
    let expected = ExpectedUser { login_name: &question.login_name, user, legacy_ids };
    check_answered_user(deps, login, server.api, expected, &answer).await?;
    match login.account {
        Some(account) => accept_known(deps, login, account.clone(), server.api, taught.as_ref(), &answer).await,
        None => accept_unknown(deps, login, server.api, taught.as_ref(), &answer).await,
    }
}

/// A user who is known here: the credential of a user with a password is replaced at once, because the session belongs to
/// its new epoch; a missing one is added after the login is recorded.
async fn accept_known(
    deps: &Dependencies,
    login: &UnverifiedLogin<'_>,
    mut account: Account,
    api: OldApi,
    taught: Option<&PresentedSecret>,
    answer: &OldProfile,
) -> Result<Option<ConfirmedLogin>> {
    let credential = match taught {
        None => ConfirmedCredential::Unchanged,
        Some(secret) if account.credential.verifier == verifier::NO_PASSWORD => {
            ConfirmedCredential::Missing(secret.clone())
        }
        Some(secret) => match replace_credential(deps, login, account, secret).await? {
            Some((current, credential)) => {
                account = current;
                credential
            }
            None => return Ok(None),
        },
    };
    let has_filled = answer.fill_in(&mut account.user.profile);
    let filled_profile = has_filled.then(|| account.user.profile.clone());
    Ok(Some(ConfirmedLogin { account, relayed: None, mark: None, api, credential, filled_profile }))
}

/// A user whose password another process has stored since this login read the account: an instance to which the same
/// login was sent, or a change of the password. The proof must match what is stored.
async fn accept_if_matching(
    deps: &Dependencies,
    login: &UnverifiedLogin<'_>,
    api: OldApi,
    current: Option<Account>,
) -> Result<Option<ConfirmedLogin>> {
    let is_match = match_credential(deps, current.as_ref(), login.proof).await?.is_match();
    Ok(current.filter(|_| is_match).map(|account| ConfirmedLogin {
        account,
        relayed: None,
        mark: None,
        api,
        credential: ConfirmedCredential::MigratedElsewhere,
        filled_profile: None,
    }))
}

/// Adds a user whom no one here knows. If the user exists by now, another instance has added the user, or the identifier
/// was taken by a registration; only a proof that matches then counts.
async fn accept_unknown(
    deps: &Dependencies,
    login: &UnverifiedLogin<'_>,
    api: OldApi,
    taught: Option<&PresentedSecret>,
    answer: &OldProfile,
) -> Result<Option<ConfirmedLogin>> {
    let Some(identifier) = login.identifier else { return Ok(None) };
    // An unknown user is no administrator, whatever the old server says.
    if login.allowed_users == AllowedUsers::Admins {
        return Ok(None);
    }
    let new = new_user(deps, identifier, taught, answer).await?;
    let id = answer.ids.first().map_or_else(|| identifier.key().to_owned(), |id| id.trim().to_owned());
    let legacy_id = LegacyId { api, id };
    let mut added = deps.legacy_users.add_with_legacy_id(&new, &legacy_id).await?;
    if added.is_none() {
        let new = with_identifier_alone(new.clone(), identifier);
        added = deps.legacy_users.add_with_legacy_id(&new, &legacy_id).await?;
    }
    let credential = if taught.is_some() { ConfirmedCredential::Added } else { ConfirmedCredential::Unchanged };
    if let Some(user) = added {
        let is_own_dialect = api.as_str() == login.caller.dialect && !answer.ids.is_empty();
        let legacy = is_own_dialect.then(|| LegacyIds { id: legacy_id.id, ..LegacyIds::default() });
        let account = Account { user, credential: new.credential, epoch: 0, salted_at: None, legacy };
        let (relayed, mark, filled_profile) = (None, None, None);
        return Ok(Some(ConfirmedLogin { account, relayed, mark, api, credential, filled_profile }));
    }
    let Some(account) = deps.users.find_for_login(login.caller.dialect, identifier.key()).await? else {
        return Err(Error::unavailable("the old server's id of a new user belongs to another user here"));
    };
    if account.credential.verifier == verifier::NO_PASSWORD {
        let legacy_ids = deps.legacy_users.list_legacy_ids(account.user.number).await?;
        let is_same = legacy_ids.contains(&legacy_id) && login.allowed_users.permits(&account.user);
        return if is_same { accept_known(deps, login, account, api, taught, answer).await } else { Ok(None) };
    }
    accept_if_matching(deps, login, api, Some(account)).await
}

/// Completes a confirmed login after it was recorded: stores the missing credential and the profile. A failure is only
/// logged, because the next login asks and tries again.
pub(super) async fn finish(deps: &Dependencies, caller: &RequestInfo, account: &Account, confirmed: ConfirmedLogin) {
    let ConfirmedLogin { api, credential, filled_profile, .. } = confirmed;
    if let Some(profile) = filled_profile
        && let Err(error) = deps.legacy_users.fill_profile(account.user.id, &profile).await
    {
        tracing::warn!(cause = %error, "cannot store what an old server says about a user");
    }
    let result = match credential {
        ConfirmedCredential::Added => OldLoginResult::Migrated,
        ConfirmedCredential::Replaced => OldLoginResult::Replaced,
        ConfirmedCredential::Unchanged => OldLoginResult::NotMigrated,
        ConfirmedCredential::MigratedElsewhere => return,
        ConfirmedCredential::Missing(secret) => {
            match credential::rehash_on_login(deps, account, &secret).await {
                Ok(true) => OldLoginResult::Migrated,
                // Another instance was faster.
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(cause = %error, "cannot migrate a user; the user's next login tries again");
                    OldLoginResult::NotMigrated
                }
            }
        }
    };
    deps.old_servers.record_login(api, result);
    if matches!(result, OldLoginResult::Migrated | OldLoginResult::Replaced) {
        let entry_point = caller.entry_point();
        deps.events.record(Event {
            at: deps.now(),
            action: Action::MigratePassword,
            outcome: Outcome::Done,
            subject: Some(account.user.id.into()),
            entry_point: Some(entry_point),
            client: None,
        });
    }
}
