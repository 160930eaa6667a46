//! Captchas (JWT document, 生成验证码), a challenge against brute force. A captcha's text is derived from the id with a key,
//! so only the ids in use are stored.

use subtle::ConstantTimeEq as _;

use super::RequestInfo;
use super::audit_scope::AuditScope;
use super::send_code::origin_quota_uses;
use crate::event::Action;
use crate::text;
use crate::{Dependencies, Error, Result, UseCases};

/// Captcha ids are below 2^53, so that every JSON parser reads them as exact integers.
const ID_LIMIT: u64 = 1 << 53;
const TEXT_LENGTH: usize = 5;
/// Letters and digits that are not easily confused with each other.
const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxy3456789";

/// A client's solution of a captcha. The text is never printed.
#[derive(Clone)]
pub struct CaptchaSolution {
    /// The captcha's id.
    pub id: u64,
    /// The text that the client read in the image. Letter case, white space, hyphens and invisible characters are
    /// ignored.
    pub text: String,
}

impl std::fmt::Debug for CaptchaSolution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CaptchaSolution({}, …)", self.id)
    }
}

/// The text and noise seed from which a captcha's image is drawn: the same for an id each time and on every instance.
/// Never printed.
pub struct CaptchaImage {
    /// The text that the image shows.
    pub text: String,
    /// The seed of the image's noise.
    pub seed: [u8; 32],
}

impl std::fmt::Debug for CaptchaImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CaptchaImage(…)")
    }
}

impl UseCases {
    /// Issues a captcha. Returns its id.
    ///
    /// # Errors
    /// `RateLimited`; `Unavailable`, `Internal`.
    pub async fn issue_captcha(&self, caller: &RequestInfo) -> Result<u64> {
        let audit = AuditScope::start(&self.deps, Action::IssueCaptcha, caller);
        let outcome = store_new_captcha(&self.deps, caller).await;
        audit.finish(outcome)
    }
}

async fn store_new_captcha(deps: &Dependencies, caller: &RequestInfo) -> Result<u64> {
    let uses = origin_quota_uses("captcha", &caller.origin, deps.policy.send_quotas.captcha);
    if let Some(exceeded) = deps.state.consume_quotas(&uses, None, deps.now()).await? {
        return Err(Error::RateLimited { retry_after: exceeded.retry_after });
    }
    let id = deps.random.uniform_below(ID_LIMIT);
    deps.state.store_captcha(id, deps.now().saturating_add(deps.policy.captcha_ttl)).await?;
    Ok(id)
}

impl UseCases {
    /// The image to draw for the captcha `id`; `None` if the captcha was not issued, has expired, was solved or tried
    /// before, or was viewed [`Policy::captcha_views`] times already.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    ///
    /// [`Policy::captcha_views`]: crate::policy::Policy::captcha_views
    pub async fn view_captcha(&self, id: u64) -> Result<Option<CaptchaImage>> {
        let may_view = self.deps.state.count_captcha_view(id, self.deps.policy.captcha_views, self.deps.now()).await?;
        let derive_seed = || self.deps.mac.tag(&[b"captcha-noise", &id.to_be_bytes()]);
        Ok(may_view.then(|| CaptchaImage { text: expected_text(&self.deps, id), seed: derive_seed() }))
    }
}

/// Whether `solution` is correct. A captcha can be tried only once, whether or not the solution is correct.
///
/// # Errors
/// `Unavailable`, `Internal`.
pub(super) async fn verify_solution(deps: &Dependencies, solution: &CaptchaSolution) -> Result<bool> {
    let was_issued = deps.state.consume_captcha(solution.id, deps.now()).await?;
    let typed = text::normalize_typed(&solution.text).to_ascii_lowercase();
    let is_match: bool = typed.as_bytes().ct_eq(expected_text(deps, solution.id).as_bytes()).into();
    Ok(was_issued && is_match)
}

fn expected_text(deps: &Dependencies, id: u64) -> String {
    let tag = deps.mac.tag(&[b"captcha", &id.to_be_bytes()]);
    tag.chunks_exact(4).take(TEXT_LENGTH).map(|word| char::from(ALPHABET[alphabet_index(word)])).collect()
}

fn alphabet_index(word: &[u8]) -> usize {
    word.iter().fold(0_usize, |acc, &byte| (acc * 256 + usize::from(byte)) % ALPHABET.len())
}
