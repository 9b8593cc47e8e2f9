//! Sends one request, given as JSON, and prints the answer:
//!
//! `call SOCKET '{"op":"ensure-loop","uid":"…","role":"cow"}' rw:/var/lib/banger/x.cow`
//!
//! Descriptors are `r:`, `rw:` or `a:` (append) and a path.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, bail};
use banger_helper::client::Client;
use banger_protocol::Response;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(request)) = (arguments.next(), arguments.next()) else {
        bail!("usage: call SOCKET JSON [r:PATH|rw:PATH|a:PATH]…");
    };
    let request = serde_json::from_str(&request).context("the request")?;
    let files = arguments.map(|a| open(&a)).collect::<Result<Vec<_>, _>>()?;
    let descriptors: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let mut client = Client::connect(Path::new(&socket)).context("connect")?;
    let response = client.call(&request, &descriptors).context("call")?;
    println!("{}", serde_json::to_string_pretty(&response)?);
    if matches!(response, Response::Error { .. }) {
        std::process::exit(1);
    }
    Ok(())
}

fn open(argument: &str) -> anyhow::Result<File> {
    let (how, path) = argument
        .split_once(':')
        .context("r:PATH, rw:PATH or a:PATH")?;
    let mut options = OpenOptions::new();
    match how {
        "r" => options.read(true),
        "rw" => options.read(true).write(true),
        "a" => options.append(true).create(true),
        _ => bail!("`{how}:`: use r:, rw: or a:"),
    };
    options.open(path).with_context(|| path.to_owned())
}
