//! Captchas (JWT document, 生成验证码): the text follows from the id and a key, so only ids in use are kept.

use subtle::ConstantTimeEq as _;

use super::Caller;
use super::send_code::uses_of_origin;
use super::watch::Watch;
use crate::event::Act;
use crate::text;
use crate::{Deps, Error, Result, UseCases};

/// Ids stay below 2^53, so that every JSON reader takes them as integers.
const IDS: u64 = 1 << 53;
const LENGTH: usize = 5;
/// Letters and digits that are not mistaken for one another.
const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxy3456789";

/// A solved captcha. Its text is never printed.
#[derive(Clone)]
pub struct Solution {
    /// The id it was issued under.
    pub id: u64,
    /// What the client read in the picture; letter case, white space and hyphens do not matter.
    pub text: String,
}

impl std::fmt::Debug for Solution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Solution({}, …)", self.id)
    }
}

/// What a captcha's picture is drawn from: the same for an id each time and on every instance. Never printed.
pub struct Picture {
    /// What it shows.
    pub text: String,
    /// What its noise follows from.
    pub seed: [u8; 32],
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Picture(…)")
    }
}

impl UseCases {
    /// Issues a captcha to `caller`; gives its id.
    ///
    /// # Errors
    /// `TooMany`; faults of ours.
    pub async fn issue_captcha(&self, caller: &Caller) -> Result<u64> {
        let watch = Watch::over(&self.deps, Act::IssueCaptcha, caller);
        let outcome = draw(&self.deps, caller).await;
        watch.end(outcome)
    }
}

async fn draw(deps: &Deps, caller: &Caller) -> Result<u64> {
    let drawn = uses_of_origin("captcha", &caller.origin, deps.policy.sending.captcha);
    if let Some(exceeded) = deps.state.send_code(&drawn, None, deps.now()).await? {
        return Err(Error::TooMany { retry_after: exceeded.retry_after });
    }
    let id = deps.random.below(IDS);
    deps.state.put_captcha(id, deps.now().after(deps.policy.captcha_ttl)).await?;
    Ok(id)
}

impl UseCases {
    /// What to draw for `id`, [`Policy::captcha_views`] times; `None` if it was not issued, has expired, was tried, or was
    /// viewed so often.
    ///
    /// # Errors
    /// Faults of ours.
    ///
    /// [`Policy::captcha_views`]: crate::policy::Policy::captcha_views
    pub async fn view_captcha(&self, id: u64) -> Result<Option<Picture>> {
        let seen = self.deps.state.view_captcha(id, self.deps.policy.captcha_views, self.deps.now()).await?;
        let seed = || self.deps.mac.tag(&[b"captcha-noise", &id.to_be_bytes()]);
        Ok(seen.then(|| Picture { text: answer(&self.deps, id), seed: seed() }))
    }
}

/// Whether `solution` is right. Each captcha can be tried once, right or wrong.
///
/// # Errors
/// Faults of ours.
pub(super) async fn solve(deps: &Deps, solution: &Solution) -> Result<bool> {
    let issued = deps.state.take_captcha(solution.id, deps.now()).await?;
    let typed = text::typed(&solution.text).to_ascii_lowercase();
    let right: bool = typed.as_bytes().ct_eq(answer(deps, solution.id).as_bytes()).into();
    Ok(issued && right)
}

fn answer(deps: &Deps, id: u64) -> String {
    let tag = deps.mac.tag(&[b"captcha", &id.to_be_bytes()]);
    tag.chunks_exact(4).take(LENGTH).map(|word| char::from(ALPHABET[pick(word)])).collect()
}

fn pick(word: &[u8]) -> usize {
    word.iter().fold(0_usize, |acc, &byte| (acc * 256 + usize::from(byte)) % ALPHABET.len())
}
