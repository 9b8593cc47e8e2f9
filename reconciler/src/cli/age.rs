//! Ages as kubectl writes them: two units at most, the finer one only while it matters.

use jiff::Timestamp;

/// The time from `then` to `now`, `0s` where `then` is ahead.
pub(super) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: i64, unit: char, rest: i64, small: char| match rest {
        0 => format!("{big}{unit}"),
        rest => format!("{big}{unit}{rest}{small}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        _ => two(days / 365, 'y', days % 365, 'd'),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;

    use super::age;

    #[test]
    fn two_units_at_most() {
        let then = Timestamp::from_second(1_000).unwrap();
        let after = |seconds: i64| age(then, Timestamp::from_second(1_000 + seconds).unwrap());
        assert_eq!(after(-5), "0s");
        assert_eq!(after(119), "119s");
        assert_eq!(after(120), "2m");
        assert_eq!(after(125), "2m5s");
        assert_eq!(after(659), "10m");
        assert_eq!(after(3 * 3600 + 59), "3h");
        assert_eq!(after(3 * 3600 + 60), "3h1m");
        assert_eq!(after(20 * 3600), "20h");
        assert_eq!(after(49 * 3600), "2d1h");
        assert_eq!(after(100 * 86_400), "100d");
        assert_eq!(after(800 * 86_400), "2y70d");
    }
}
