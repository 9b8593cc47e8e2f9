//! What `config.toml` says, as the loop goes by it.

use std::path::Path;

use banger_core::config;
use banger_protocol::PoolSize;

use super::super::Site;
use super::*;

fn of(toml: &str) -> Settings {
    let file = Path::new("/home/ada/.config/banger/config.toml");
    let config = config::parse(file, toml, Path::new("/home/ada")).unwrap();
    let site = Site {
        home: "/home/ada".into(),
        paths: Paths {
            state_dir: "/var/lib/banger".into(),
            known_hosts: "/home/ada/known_hosts".into(),
        },
        subnet: "10.9.0.0/24".parse().unwrap(),
        slots: 7,
        ipv6: false,
    };
    Settings::of(&config, site)
}

#[test]
fn every_setting_reaches_the_loop() {
    type Show = fn(&Settings) -> String;
    let cases: [(&str, Show, &str, &str); 11] = [
        (
            "[limits]\nmaxConcurrentActions = 5",
            |it| it.max_chains.to_string(),
            "2",
            "5",
        ),
        (
            "[limits]\nmemoryHeadroom = \"1Gi\"",
            |it| (it.memory_headroom >> 20).to_string(),
            "256",
            "1024",
        ),
        (
            "[trash]\nkeepDays = 3",
            |it| (it.trash_keep.as_secs() / 86_400).to_string(),
            "7",
            "3",
        ),
        (
            "[directories]\nresyncSeconds = 9",
            |it| it.resync.as_secs().to_string(),
            "60",
            "9",
        ),
        (
            "[directories]\nvms = \"machines\"",
            |it| it.directories[0].display().to_string(),
            "/home/ada/.config/banger/vms",
            "/home/ada/.config/banger/machines",
        ),
        (
            "[directories]\nimages = \"~/roots\"",
            |it| it.directories[1].display().to_string(),
            "/home/ada/.config/banger/images",
            "/home/ada/roots",
        ),
        (
            "[defaults]\nvcpus = 3",
            |it| it.rules.defaults.vcpus.to_string(),
            "1",
            "3",
        ),
        (
            "[defaults]\nmemory = \"1Gi\"",
            |it| it.rules.defaults.memory.to_string(),
            "512Mi",
            "1Gi",
        ),
        (
            "[network]\nguestToGuest = false",
            |it| it.guest_to_guest.to_string(),
            "true",
            "false",
        ),
        (
            "[pool]\ntaps = 0",
            |it| (it.pool.unwrap().size == PoolSize::try_from(0_u8).unwrap()).to_string(),
            "false",
            "true",
        ),
        (
            "[disk]\nballast = \"512Mi\"",
            |it| it.disk.ballast.to_string(),
            "256Mi",
            "512Mi",
        ),
    ];
    for (toml, show, usual, wanted) in cases {
        assert_eq!(show(&of("")), usual, "without {toml}");
        assert_eq!(show(&of(toml)), wanted, "{toml}");
    }
    let site = of("");
    assert_eq!(site.rules.subnet, "10.9.0.0/24".parse().unwrap());
    assert_eq!((site.rules.slots, site.ipv6), (7, false));
}
