//! Points in time as events carry them.

use std::{fmt, str::FromStr, time::Duration};

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The point `later` after this one.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// The time of day in the machine's time zone, to the millisecond: what a person reads on a terminal.
    #[must_use]
    pub fn time_of_day(self) -> String {
        self.jiff()
            .to_zoned(TimeZone::system())
            .strftime("%H:%M:%S%.3f")
            .to_string()
    }

    /// Day and time of day in the machine's time zone, to the microsecond, and that zone's distance from UTC.
    #[must_use]
    pub fn local(self) -> String {
        self.jiff()
            .to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S%.6f %:z")
            .to_string()
    }

    fn jiff(self) -> jiff::Timestamp {
        // Nanoseconds in a u64 reach the year 2554, which jiff can hold; the fallback is for the type checker.
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// RFC 3339 with nanoseconds, in UTC.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.jiff())
    }
}

/// As it is displayed. What lies before 1970 is none.
impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp = text.parse()?;
        Ok(Self(u64::try_from(time.as_nanosecond()).unwrap_or(0)))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Turns the kernel's time since boot into wall-clock time by a distance taken once, so that events stay in order when
/// the wall clock is set meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct BootClock {
    /// Wall-clock time at boot, in nanoseconds since the epoch.
    boot: u64,
}

impl BootClock {
    /// Takes the distance between the two clocks now.
    #[must_use]
    pub fn now() -> Self {
        let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Self {
            boot: nanoseconds(wall).saturating_sub(boot_ns()),
        }
    }

    /// A clock by which the machine booted `boot` nanoseconds after the epoch.
    #[must_use]
    pub fn at(boot: u64) -> Self {
        Self { boot }
    }

    /// The time now.
    #[must_use]
    pub fn wall_now(&self) -> Timestamp {
        self.wall(boot_ns())
    }

    /// A point in time that the kernel gave in nanoseconds since boot.
    #[must_use]
    pub fn wall(&self, boot_ns: u64) -> Timestamp {
        Timestamp(self.boot.saturating_add(boot_ns))
    }
}

/// Nanoseconds since boot, time asleep included: the clock of the kernel programs.
#[must_use]
pub fn boot_ns() -> u64 {
    nanoseconds(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_rfc_3339_with_nanoseconds() {
        assert_eq!(
            Timestamp(1_700_000_000_000_000_042).to_string(),
            "2023-11-14T22:13:20.000000042Z"
        );
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000000000Z");
        assert!(Timestamp(u64::MAX).to_string().starts_with("2554-"));
        for time in [0, 1_700_000_000_000_000_042, u64::MAX] {
            assert_eq!(
                Timestamp(time).to_string().parse().ok(),
                Some(Timestamp(time))
            );
        }
        assert_eq!("1969-12-31T23:00:00Z".parse().ok(), Some(Timestamp(0)));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn differences_never_underflow() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_nanos(4));
    }
}
