#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::api::Quantity;
use crate::problem::Problem;

fn read(text: &str) -> Result<Config, Vec<Problem>> {
    let path = Path::new("/home/me/.config/banger/config.toml");
    parse(path, text, Path::new("/home/me"))
}

#[test]
fn nothing_means_the_defaults() {
    let config = read("# nothing\n").unwrap();
    assert_eq!(config.limits.max_concurrent_actions, 2);
    assert!(config.network.guest_to_guest);
    assert_eq!(config.defaults, VmDefaults::default());
    let target = config.pool.target().unwrap();
    assert_eq!((target.size.get(), target.parallel.get()), (4, 4));
    assert_eq!(
        config.directories.vms,
        Path::new("/home/me/.config/banger/vms")
    );
    assert_eq!(
        config.directories.images,
        Path::new("/home/me/.config/banger/images")
    );
    let file = Path::new("/home/me/.config/banger/config.toml");
    assert_eq!(config, Config::without_file(file, Path::new("/home/me")));
}

#[test]
fn what_is_written_holds_and_comes_back() {
    let config = read(
        "[network]\nsubnet = \"172.30.4.0/24\"\nguestToGuest = false\n[dns]\nupstreams = [\"192.0.2.53\", \"2001:db8::53\"]\n[limits]\nmaxConcurrentActions = 4\n[trash]\nkeepDays = 30\n[disk]\npauseCreatesBelow = \"3Gi\"\nballast = 0\n[defaults]\nmemory = \"1Gi\"\nnat = false\n[directories]\nvms = \"~/vms\"\nimages = \"/srv/images\"\n",
    )
    .unwrap();
    assert_eq!(config.defaults.memory, Quantity::from_mib(1024));
    assert!(!config.defaults.nat && !config.network.guest_to_guest);
    assert_eq!(config.trash.keep_days, 30);
    let limits = config.disk.limits();
    assert_eq!(
        (limits.creates, limits.ballast),
        (Quantity::from_mib(3072), Quantity::default())
    );
    assert_eq!(limits.guests, Quantity::from_mib(512));
    assert!(config.dns.enabled);
    assert_eq!(config.dns.upstreams.len(), 2);
    assert_eq!(config.directories.vms, Path::new("/home/me/vms"));
    assert_eq!(config.directories.images, Path::new("/srv/images"));
    assert_eq!(read(&config.to_toml().unwrap()).unwrap(), config);
}

#[test]
fn mistakes_are_at_their_place() {
    for (text, at, message, remedy) in [
        (
            "[limits]\nmaxConcurrent = 1",
            (2, 1),
            "no field `maxConcurrent`",
            "write one of",
        ),
        (
            "[defaults]\nmemroy = \"1Gi\"",
            (2, 1),
            "no field `memroy`",
            "did you mean `memory`?",
        ),
        (
            "[defaults]\nmemory = \"1Gb\"",
            (2, 10),
            "not an amount of bytes",
            "quotes",
        ),
        (
            "[defaults]\nrunPolicy = \"Sometimes\"",
            (2, 13),
            "no value `Sometimes`",
            "`Always`",
        ),
        (
            "[defaults]\nvcpus = \"2\"",
            (2, 9),
            "invalid type",
            "without",
        ),
        (
            "[defaults]\nvcpus = 64",
            (2, 9),
            "64 is not from 1 to 32",
            "1 to 32",
        ),
        (
            "defaults.memory = \"1Mi\"",
            (1, 19),
            "whole number of MiB",
            "64Mi",
        ),
        (
            "[pool]\ntaps = 65",
            (2, 8),
            "65 is not from 0 to 64",
            "0 to 64",
        ),
        (
            "[pool]\nmaxConcurrentTapWarmup = 0",
            (2, 26),
            "0 is not from 1 to 16",
            "1 to 16",
        ),
        (
            "[directories]\nresyncSeconds = 0",
            (2, 17),
            "0 is not from 1",
            "3600",
        ),
        (
            "[trash]\nkeepDays = 0",
            (2, 12),
            "0 is not from 1 to 3650",
            "1 to 3650",
        ),
        (
            "[disk]\nballast = \"128Gi\"",
            (2, 11),
            "128Gi is not a whole number of MiB from 0 to 64Gi",
            "256Mi",
        ),
        ("[disk]\nhysteresis = 0", (2, 14), "from 1Mi", "256Mi"),
        (
            "[disk]\npauseCreatesBelow = \"1Gi\"\npauseGuestsBelow = \"2Gi\"",
            (3, 20),
            "2Gi is not a whole number of MiB from 0 to 1Gi",
            "512Mi",
        ),
        (
            "[disk]\npauseGuestsBelow = 100000",
            (2, 20),
            "whole number of MiB",
            "512Mi",
        ),
        (
            "[directories]\nvms = \"~you/vms\"",
            (2, 7),
            "path of a directory",
            "~/",
        ),
        (
            "[network]\nsubnet = \"172.30.0.1/24\"",
            (2, 10),
            "is not a subnet",
            "172.30.0.0/24",
        ),
        (
            "[network]\nipv6 = \"2001:db8::/64\"",
            (2, 8),
            "not a network of unique local addresses",
            "\"off\"",
        ),
        (
            "[network]\nipv6 = \"fd00::/48\"",
            (2, 8),
            "is not a /64",
            "fd12:",
        ),
        (
            "[network]\nipv6 = \"on\"",
            (2, 8),
            "neither `off` nor an IPv6 network",
            "in \"quotes\"",
        ),
        (
            "[dns]\nupstreams = [\"0.0.0.0\"]",
            (2, 13),
            "`0.0.0.0` is no server's address",
            "in quotes",
        ),
        (
            "[dns]\nupstreams = [\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\", \"192.0.2.4\"]",
            (2, 13),
            "4 servers are more than 3",
            "at most 3",
        ),
        ("[limits\n", (1, 8), "", "[name]"),
    ] {
        let problems = read(text).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}");
        let problem = &problems[0];
        assert_eq!(problem.at, Some(at), "{text}: {problem:?}");
        assert!(problem.message.contains(message), "{problem:?}");
        assert!(
            problem.remedy.as_ref().unwrap().contains(remedy),
            "{problem:?}"
        );
    }
}

#[test]
fn ipv6_is_the_installations_or_off() {
    let installed = "fd12:3456:789a:1::/64".parse().unwrap();
    let of = |line: &str| {
        let config = read(&format!("[network]\n{line}\n")).unwrap();
        assert_eq!(read(&config.to_toml().unwrap()).unwrap(), config);
        config.network.ula(installed)
    };
    assert_eq!(of(""), Ok(Some(installed)));
    assert_eq!(of("ipv6 = \"off\""), Ok(None));
    let repeated = "ipv6 = \"fd12:3456:789a:1::/64\"";
    assert_eq!(of(repeated), Ok(Some(installed)));
    let other = "fd12:3456:789a:2::/64";
    assert_eq!(
        of(&format!("ipv6 = \"{other}\"")),
        Err(other.parse().unwrap())
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        if let Err(problems) = read(&text) {
            proptest::prop_assert!(!problems.is_empty());
        }
    }
}
