//! Formats of times: RFC 3339, Unix time, and the fields of `strftime`.

use stele_core::time::{Offset, Timestamp};
use time::format_description::OwnedFormatItem;
use time::parsing::Parsed;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// How a column writes times.
#[derive(Clone, Debug)]
pub(crate) enum TimeFormat {
    Rfc3339,
    /// Seconds since the Unix epoch.
    Unix,
    /// Milliseconds since the Unix epoch.
    UnixMillis,
    /// The fields of `strftime`; `zone` where the text has no offset of its own.
    Fields {
        format: OwnedFormatItem,
        zone: Offset,
    },
}

impl TimeFormat {
    /// Parses the format of a map.
    pub(crate) fn parse(format: &str, zone: Option<Offset>) -> Result<Self, String> {
        let fixed = match format {
            "rfc3339" => Some(Self::Rfc3339),
            "unix" => Some(Self::Unix),
            "unix_ms" => Some(Self::UnixMillis),
            _ => None,
        };
        match (fixed, zone) {
            (Some(fixed), None) => Ok(fixed),
            (Some(_), Some(_)) => Err(format!("zone has no meaning with format = \"{format}\"; remove it")),
            (None, zone) => {
                let unknown = |_| {
                    "format is not known; write \"rfc3339\", \"unix\", \"unix_ms\" or fields such as \
                     \"%Y-%m-%d %H:%M:%S\""
                        .to_owned()
                };
                if !format.contains('%') {
                    return Err(unknown(()));
                }
                let zone = match zone {
                    Some(zone) => zone,
                    // The text has its own offset.
                    None if format.contains("%z") => Offset::UTC,
                    None => {
                        return Err("zone is missing; write the zone of the times, as in zone = \"+08:00\"".to_owned());
                    }
                };
                let format = time::format_description::parse_strftime_owned(format).map_err(|_| unknown(()))?;
                Ok(Self::Fields { format, zone })
            }
        }
    }

    /// Reads a time; `None` if the text is not one. The time is between the years 0 and 9999.
    pub(crate) fn read(&self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Rfc3339 => Timestamp::parse(text),
            Self::Unix => parse_unix(text, 1_000_000),
            Self::UnixMillis => parse_unix(text, 1_000),
            Self::Fields { format, zone } => parse_fields(text, format, *zone),
        }
    }

    /// Writes a time as [`TimeFormat::read`] reads it; empty if the format cannot write one.
    pub(crate) fn write(&self, at: Timestamp) -> String {
        match self {
            Self::Rfc3339 => at.to_rfc3339(Offset::UTC),
            Self::Unix => at.as_secs().to_string(),
            Self::UnixMillis => at.as_micros().div_euclid(1_000).to_string(),
            Self::Fields { format, zone } => {
                let offset = UtcOffset::from_whole_seconds(zone.whole_seconds()).unwrap_or(UtcOffset::UTC);
                let at = OffsetDateTime::from_unix_timestamp(at.as_secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
                at.to_offset(offset).format(format).unwrap_or_default()
            }
        }
    }
}

/// A whole number of units of `micros` microseconds. A zero fraction is ignored.
fn parse_unix(text: &str, micros: i64) -> Option<Timestamp> {
    let whole = text.split_once('.').map_or(text, |(whole, zeros)| match zeros.bytes().all(|b| b == b'0') {
        true => whole,
        false => text,
    });
    let at = whole.parse::<i64>().ok()?.checked_mul(micros)?;
    OffsetDateTime::from_unix_timestamp(at.div_euclid(1_000_000)).ok()?;
    Some(Timestamp::from_micros(at))
}

fn parse_fields(text: &str, format: &OwnedFormatItem, zone: Offset) -> Option<Timestamp> {
    let mut parsed = Parsed::new();
    let rest = parsed.parse_item(text.as_bytes(), format).ok()?;
    let date = Date::try_from(parsed).ok()?;
    // A format without a time of day means midnight.
    let time_of_day = Time::try_from(parsed).unwrap_or(Time::MIDNIGHT);
    let offset = UtcOffset::try_from(parsed).or_else(|_| UtcOffset::from_whole_seconds(zone.whole_seconds())).ok()?;
    let at = PrimitiveDateTime::new(date, time_of_day).assume_offset(offset);
    let seconds = Timestamp::from_secs(at.unix_timestamp());
    Some(Timestamp::from_micros(seconds.as_micros() + parse_fraction(rest)?))
}

/// The microseconds of what follows the fields: nothing, or a fraction of a second.
fn parse_fraction(rest: &[u8]) -> Option<i64> {
    let Some(digits) = rest.strip_prefix(b".") else { return rest.is_empty().then_some(0) };
    let is_fraction = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let micros = (0..6).map(|n| i64::from(digits.get(n).map_or(0, |digit| digit - b'0')));
    is_fraction.then(|| micros.fold(0, |sum, digit| 10 * sum + digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, zone: Option<&str>, text: &str) -> Option<String> {
        let zone = zone.map(|zone| Offset::parse(zone).unwrap());
        TimeFormat::parse(format, zone).unwrap().read(text).map(|at| at.to_rfc3339(Offset::UTC))
    }

    #[test]
    fn every_format_reads_the_same_instant() {
        let expected = Some("2018-03-20T06:00:02.000000Z".to_owned());
        for (format, zone, text) in [
            ("rfc3339", None, "2018-03-20T14:00:02+08:00"),
            ("unix", None, "1521525602"),
            ("unix", None, "1521525602.0"),
            ("unix_ms", None, "1521525602000"),
            ("%Y-%m-%d %H:%M:%S", Some("+08:00"), "2018-03-20 14:00:02"),
            ("%Y-%m-%d %H:%M:%S", Some("+08:00"), "2018-03-20 14:00:02.000"),
            ("%Y-%m-%d %H:%M:%S", Some("Z"), "2018-03-20 06:00:02"),
            ("%Y/%m/%d %H:%M:%S", Some("-02:30"), "2018/03/20 03:30:02"),
            ("%d.%m.%Y %H:%M:%S", Some("Z"), "20.03.2018 06:00:02"),
            ("%Y%m%d%H%M%S", Some("+08:00"), "20180320140002"),
            ("%Y-%m-%d %H:%M:%S %z", None, "2018-03-20 14:00:02 +0800"),
        ] {
            assert_eq!(read(format, zone, text), expected, "{format} {text}");
        }
        let midnight = read("%Y-%m-%d", Some("+08:00"), "2018-03-20");
        assert_eq!(midnight.as_deref(), Some("2018-03-19T16:00:00.000000Z"));
        let fraction = read("%Y-%m-%d %H:%M:%S", Some("Z"), "2018-03-20 06:00:02.412827");
        assert_eq!(fraction.as_deref(), Some("2018-03-20T06:00:02.412827Z"));
    }

    #[test]
    fn a_written_time_is_read_again() {
        let at = Timestamp::from_secs(1_521_525_602);
        for (format, zone) in
            [("rfc3339", None), ("unix", None), ("unix_ms", None), ("%Y-%m-%d %H:%M:%S", Some("+08:00"))]
        {
            let format = TimeFormat::parse(format, zone.map(|zone| Offset::parse(zone).unwrap())).unwrap();
            assert_eq!(format.read(&format.write(at)), Some(at), "{format:?}");
        }
    }

    #[test]
    fn other_texts_are_no_times() {
        for (format, zone, text) in [
            ("rfc3339", None, "2018-03-20 14:00:02"),
            ("unix", None, "1521525602.5"),
            ("unix", None, ""),
            ("unix", None, "99999999999999"),
            ("unix_ms", None, "9223372036854775807"),
            ("%Y-%m-%d %H:%M:%S", Some("Z"), "2018-02-30 00:00:00"),
            ("%Y-%m-%d %H:%M:%S", Some("Z"), "2018-03-20 14:00"),
            ("%Y-%m-%d %H:%M:%S", Some("Z"), "2018-03-20 14:00:02 x"),
            ("%Y-%m-%d %H:%M:%S", Some("Z"), "2018-03-20 14:00:02."),
            ("%H:%M", Some("Z"), "14:00"),
        ] {
            assert_eq!(read(format, zone, text), None, "{format} {text}");
        }
    }

    #[test]
    fn unusable_formats_name_the_remedy() {
        for (format, zone, expected) in [
            ("iso", None, "rfc3339"),
            ("%Y-%m-%d", None, "zone is missing"),
            ("unix", Some(Offset::UTC), "remove it"),
            ("%Q", Some(Offset::UTC), "format is not known"),
        ] {
            let error = TimeFormat::parse(format, zone).unwrap_err();
            assert!(error.contains(expected), "{format}: {error}");
        }
    }
}
