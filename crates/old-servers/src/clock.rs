//! The time.

use time::OffsetDateTime;

#[expect(clippy::disallowed_methods, reason = "an old server has the system's clock")]
pub(crate) fn now() -> OffsetDateTime {
    std::time::SystemTime::now().into()
}
