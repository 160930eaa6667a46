//! Timestamps in microseconds and their text forms, offsets from UTC, and the [`Clock`] that tests can replace.

use std::time::Duration;

use ::time::format_description::StaticFormatDescription;
use ::time::format_description::well_known::Rfc3339;
use ::time::macros::format_description;
use ::time::{Date, OffsetDateTime, UtcOffset};

const RFC3339_MICROS_FORMAT: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
const OFFSET_FORMAT: StaticFormatDescription = format_description!("[offset_hour sign:mandatory]:[offset_minute]");
const DATE_FORMAT: StaticFormatDescription = format_description!("[year]-[month]-[day]");
const DATE_TIME_FORMAT: StaticFormatDescription = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// A point in time: microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The time `secs` seconds after the Unix epoch, saturating at the ends of the range.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Parses a time in RFC 3339 format, or a date `YYYY-MM-DD`, which means its first moment in UTC; `None` for
    /// anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let parse_date = || Date::parse(text, DATE_FORMAT).ok().map(|date| date.midnight().assume_utc());
        let at = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(parse_date)?;
        i64::try_from(at.unix_timestamp_nanos() / 1_000).ok().map(Self)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This time plus `span`, saturating.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(to_micros_saturating(span)))
    }

    /// This time minus `span`, saturating.
    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(to_micros_saturating(span)))
    }

    /// The time that has passed since `earlier`; zero if this time is not after `earlier`.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Formats this time in RFC 3339 with microseconds: `2017-11-23T04:59:11.544126Z`, or `…+08:00` for another offset.
    pub fn to_rfc3339(self, offset: Offset) -> String {
        let local = self.to_offset_date_time(offset);
        let date = local.format(RFC3339_MICROS_FORMAT).unwrap_or_default();
        if offset.0 == UtcOffset::UTC {
            return date + "Z";
        }
        date + &local.format(OFFSET_FORMAT).unwrap_or_default()
    }

    /// Formats this time at `offset` as `YYYY-MM-DD HH:MM:SS`.
    pub fn to_date_time(self, offset: Offset) -> String {
        self.to_offset_date_time(offset).format(DATE_TIME_FORMAT).unwrap_or_default()
    }

    fn to_offset_date_time(self, offset: Offset) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
            .to_offset(offset.0)
    }
}

fn to_micros_saturating(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// A fixed offset from UTC, at which a dialect or a command prints times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset(UtcOffset);

impl Offset {
    /// UTC, `Z`.
    pub const UTC: Self = Self(UtcOffset::UTC);
    /// China Standard Time, `+08:00`.
    pub const CHINA: Self = Self(::time::macros::offset!(+8));

    /// The offset in seconds, positive to the east of Greenwich.
    pub const fn whole_seconds(self) -> i32 {
        self.0.whole_seconds()
    }

    /// Parses `Z` or `±HH:MM`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "Z" {
            return Some(Self::UTC);
        }
        let (sign, magnitude) = match text.split_at_checked(1)? {
            ("+", magnitude) => (1, magnitude),
            ("-", magnitude) => (-1, magnitude),
            _ => return None,
        };
        let (hours, minutes) = magnitude.split_once(':')?;
        if hours.len() != 2 || minutes.len() != 2 {
            return None;
        }
        let (hours, minutes): (i8, i8) = (hours.parse().ok()?, minutes.parse().ok()?);
        UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok().map(Self)
    }
}

/// A clock. Tests inject a clock that they can stop and advance.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// Whether this is the machine's clock. A test's clock is not, and also replaces the clocks of other machines, such
    /// as that of the Redis server.
    fn is_system_clock(&self) -> bool {
        true
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
        Timestamp(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_times_of_the_documents_are_reproduced() {
        let cloudbox = Timestamp::from_micros(1_511_413_151_544_126);
        assert_eq!(cloudbox.to_rfc3339(Offset::UTC), "2017-11-23T04:59:11.544126Z");
        let tms = Timestamp::from_micros(1_521_525_602_412_827);
        assert_eq!(tms.to_rfc3339(Offset::CHINA), "2018-03-20T14:00:02.412827+08:00");
        assert_eq!(tms.to_date_time(Offset::CHINA), "2018-03-20 14:00:02");
    }

    #[test]
    fn rfc3339_instants_and_dates_are_parsed() {
        let at = Timestamp::from_micros(1_511_413_151_544_126);
        assert_eq!(Timestamp::parse("2017-11-23T04:59:11.544126Z"), Some(at));
        assert_eq!(Timestamp::parse("2017-11-23T12:59:11.544126+08:00"), Some(at));
        assert_eq!(Timestamp::parse("1970-01-02"), Some(Timestamp::from_secs(86_400)));
        for bad in ["", "now", "2017-11-31", "2017-11-23T04:59", "12"] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn malformed_offsets_are_rejected() {
        assert_eq!(Offset::parse("+08:00"), Some(Offset::CHINA));
        assert_eq!(Offset::parse("Z"), Some(Offset::UTC));
        for bad in ["", "8", "+8:00", "+08", "08:00", "+99:00", "é"] {
            assert_eq!(Offset::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let last = Timestamp::from_micros(i64::MAX);
        assert_eq!(last.saturating_add(Duration::from_secs(1)), last);
        assert_eq!(Timestamp::from_secs(1).saturating_duration_since(last), Duration::ZERO);
    }
}
