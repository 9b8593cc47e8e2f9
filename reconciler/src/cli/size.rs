//! Sizes as people read them: three digits and a binary unit.

/// `0`, `512B`, `1.5Ki`, `37Mi`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if bytes == 0 {
        return "0".to_owned();
    }
    let mut unit = None;
    // In tenths, so that no floating point is needed.
    let mut tenths = u128::from(bytes) * 10;
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths = tenths.div_ceil(1024);
        unit = Some(next);
    }
    match unit {
        None => format!("{bytes}B"),
        Some(unit) if tenths < 100 => format!("{}.{}{unit}", tenths / 10, tenths % 10),
        Some(unit) => format!("{}{unit}", tenths.div_ceil(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn few_digits_and_never_less_than_there_is() {
        assert_eq!(size(0), "0");
        assert_eq!(size(1023), "1023B");
        assert_eq!(size(1024), "1.0Ki");
        assert_eq!(size(1536), "1.5Ki");
        assert_eq!(size(37 << 20), "37Mi");
        assert_eq!(size((37 << 20) + 1), "38Mi");
        assert_eq!(size(3 << 30), "3.0Gi");
    }
}
