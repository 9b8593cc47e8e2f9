#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn quantities_read_and_shown() {
    for (text, bytes, shown) in [
        ("0", 0, "0"),
        ("4096", 4096, "4Ki"),
        ("512Mi", 512 << 20, "512Mi"),
        ("8192Mi", 8 << 30, "8Gi"),
        ("1500M", 1_500_000_000, "1500000000"),
        ("1k", 1000, "1000"),
        ("16777215Ti", ((1 << 24) - 1) << 40, "16777215Ti"),
    ] {
        let quantity: Quantity = text.parse().unwrap();
        assert_eq!(quantity.bytes(), bytes);
        assert_eq!(quantity.to_string(), shown);
    }
    for text in [
        "",
        "Mi",
        "1.5Gi",
        "-1",
        "+1",
        "1 Gi",
        "1GB",
        "1gi",
        "16777216Ti",
        "1e3",
        "\u{661}",
    ] {
        assert!(text.parse::<Quantity>().is_err(), "{text}");
    }
}

#[test]
fn names_are_host_names() {
    for good in ["a", "0", "web-1", &"w".repeat(63)] {
        assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
    }
    for bad in [
        "",
        "-",
        "a-",
        "-a",
        "A",
        "a.b",
        "a_b",
        "\u{e4}",
        &"w".repeat(64),
    ] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_quantity_survives_being_written(bytes in any::<u64>(), unit in 0_u32..5) {
        let quantity = Quantity::from_bytes(bytes >> (10 * unit) << (10 * unit));
        prop_assert_eq!(quantity.to_string().parse::<Quantity>().unwrap(), quantity);
        let yaml = serde_yaml::to_string(&quantity).unwrap();
        prop_assert_eq!(serde_yaml::from_str::<Quantity>(&yaml).unwrap(), quantity);
        let json = serde_json::to_string(&quantity).unwrap();
        prop_assert_eq!(serde_json::from_str::<Quantity>(&json).unwrap(), quantity);
        // A bare number of bytes means the same.
        prop_assert_eq!(serde_json::from_str::<Quantity>(&quantity.bytes().to_string()).unwrap(), quantity);
    }
}
