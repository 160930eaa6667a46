//! Attempts, codes and uses: what the limits have a say in.

use stele_core::code::CodeKey;
use stele_core::limit_key::{AttemptKeys, LimitKey, limit_key};
use stele_core::ports::{
    Admission, Attempt, CodeCheck, CodeGuess, CodeUse, NewCode, OriginTrust, QuotaExceeded, Settlement, Success, Use,
    Verdict,
};
use stele_core::time::Timestamp;
use stele_core::{Result, hex};

use super::call::{self, Call};
use super::scripts::{self, Script};
use super::{RedisState, nonsense, records};

/// What these scripts answer: what became of it, and up to two numbers.
type Answer = (String, i64, i64);

impl RedisState {
    /// A key of what the limits count, which one script must see together.
    fn counted(&self, kind: &str, key: &LimitKey) -> String {
        self.together(kind, hex::encode(key))
    }

    fn code_key(&self, key: &CodeKey) -> String {
        self.counted("code", &limit_key("code", key.as_str()))
    }

    /// A call that asks the limits first: the keys and arguments that `standing.lua` names.
    fn attempt(&self, script: &'static Script, attempt: &Attempt) -> Call {
        let AttemptKeys { account, known, origins, tag } = AttemptKeys::of(attempt);
        let call = Call::new(script)
            .key(self.counted("known", &known))
            .key(self.counted("account", &account))
            .key(self.counted("own", &known));
        let call = origins.iter().fold(call, |call, (key, _)| call.key(self.counted("origin", key)));
        let schedules: Vec<_> = origins.iter().map(|(_, schedule)| *schedule).collect();
        call.instant(attempt.now)
            .schedule(&[attempt.limits.account])
            .schedule(&schedules)
            .span(attempt.limits.known_for)
            .arg([b"o".as_slice(), &tag].concat())
    }

    pub(super) async fn admission(&self, attempt: &Attempt) -> Result<Admission> {
        let (outcome, number, known): Answer = self.links.here().run(&self.attempt(&scripts::ADMIT, attempt)).await?;
        match (outcome.as_str(), u32::try_from(number)) {
            ("blocked", _) => Ok(Admission::Blocked { retry_after: call::wait(number) }),
            ("open", Ok(failures)) => Ok(Admission::Open { failures, known: known == 1 }),
            _ => Err(nonsense("admission")),
        }
    }

    pub(super) async fn settlement(&self, attempt: &Attempt, verdict: &Verdict) -> Result<Settlement> {
        let mut call = self.attempt(&scripts::SETTLE, attempt).key(self.birth_key());
        call = match attempt.proof_made {
            Some(made) => call.arg(made.as_secs()),
            None => call.flag(false),
        };
        let Verdict::Right(success) = verdict else {
            return settled(self.links.here().run(&call.arg("wrong")).await?);
        };
        let Success { replay, repeat, code, origin_trust, session } = &**success;
        call = call
            .arg("right")
            .instant_or_none(replay.as_ref().map(|mark| mark.expires))
            .flag(code.is_some())
            .flag(*origin_trust == OriginTrust::Trusted)
            .instant_or_none(repeat.as_ref().map(|permit| permit.expires))
            .flag(repeat.as_ref().is_some_and(|permit| permit.needed));
        if let Some(mark) = replay {
            call = call.key(self.together("replay", hex::encode(&mark.key)));
        }
        if let Some(permit) = repeat {
            call = call.key(self.together("repeat", hex::encode(&permit.key)));
        }
        if let Some(code) = code {
            call = call.key(self.code_key(code));
        }
        call = match session {
            Some(new) if self.whole => {
                let call = call.key(self.session_key(&new.key)).key(self.sessions_key(new.session.user));
                records::with_session(call, new)
            }
            Some(_) | None => call.flag(false),
        };
        let settlement = settled(self.links.here().run(&call).await?)?;
        // On a cluster a session is where its token is looked for, which may be another node: further trips. If one
        // fails, so does the login; the client has no token yet.
        if let (Settlement::Done, Some(new), false) = (settlement, session, self.whole) {
            self.put_session(new, attempt.now).await?;
        }
        Ok(settlement)
    }

    pub(super) async fn code_check(&self, attempt: &Attempt, guess: &CodeGuess) -> Result<CodeCheck> {
        let CodeGuess { candidates, epoch, on_right, max_tries } = guess;
        let consume = *on_right == CodeUse::Consume;
        let mut call = self.attempt(&scripts::GUESS_CODE, attempt).arg(*epoch).flag(consume).arg(*max_tries);
        for (key, tag) in candidates {
            call = call.key(self.code_key(key)).arg(tag.as_slice());
        }
        let (outcome, number, _): Answer = self.links.here().run(&call).await?;
        match (outcome.as_str(), usize::try_from(number)) {
            ("blocked", _) => Ok(CodeCheck::Blocked { retry_after: call::wait(number) }),
            ("right", Ok(index)) if index < candidates.len() => Ok(CodeCheck::Right(index)),
            ("wrong", _) => Ok(CodeCheck::Wrong),
            _ => Err(nonsense("check of a code")),
        }
    }

    pub(super) async fn count(
        &self,
        uses: &[Use],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>> {
        if uses.is_empty() && code.is_none() {
            return Ok(None);
        }
        let mut call = Call::new(&scripts::SEND_CODE).instant(now).arg(uses.len());
        call = match code {
            Some(code) => call.arg(code.tag.as_slice()).arg(code.epoch).instant(code.expires),
            None => call.flag(false).flag(false).flag(false),
        };
        for Use { key, quota } in uses {
            call = call.key(self.counted("use", &limit_key("use", key))).arg(quota.max).span(quota.window);
        }
        if let Some(code) = code {
            call = call.key(self.code_key(&code.key));
        }
        let (outcome, number, index): Answer = self.links.here().run(&call).await?;
        match (outcome.as_str(), usize::try_from(index)) {
            ("blocked", Ok(index)) => Ok(Some(QuotaExceeded { retry_after: call::wait(number), index })),
            ("done", _) => Ok(None),
            _ => Err(nonsense("count")),
        }
    }
}

fn settled((outcome, number, _): Answer) -> Result<Settlement> {
    match outcome.as_str() {
        "done" => Ok(Settlement::Done),
        "blocked" => Ok(Settlement::Blocked { retry_after: call::wait(number) }),
        "stale" => Ok(Settlement::Stale),
        "replayed" => Ok(Settlement::Replayed),
        "codegone" => Ok(Settlement::CodeGone),
        _ => Err(nonsense("settlement")),
    }
}
