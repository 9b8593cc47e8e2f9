//! What a line for `authorized_keys` looks like (sshd(8), AUTHORIZED_KEYS FILE
//! FORMAT): type, base64, and a comment; without options.

/// The types that OpenSSH 9 and later accept.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Why a text is not a public key; message and remedy.
pub(super) fn refusal(key: &str) -> Option<(String, String)> {
    let paste = "paste the one line of the `.pub` file, such as `ssh-ed25519 AAAA… you@host`";
    if key.contains("PRIVATE KEY") {
        return Some((
            "this is a private key; it must never leave its file".to_owned(),
            format!("{paste}, and take this key out of use: it stood in a file"),
        ));
    }
    if key.chars().any(char::is_control) {
        return Some((
            "a key is one line, without control characters".to_owned(),
            paste.to_owned(),
        ));
    }
    let mut words = key.split_ascii_whitespace();
    let (Some(kind), body) = (words.next(), words.next()) else {
        return Some(("the key is empty".to_owned(), paste.to_owned()));
    };
    if kind.starts_with(['~', '/', '.']) {
        return Some((
            format!("`{kind}` is a path; keys are not read from files"),
            paste.to_owned(),
        ));
    }
    if kind == "ssh-dss" {
        return Some((
            "DSA keys are not accepted by any current SSH server".to_owned(),
            "make a new key with `ssh-keygen -t ed25519`".to_owned(),
        ));
    }
    if !TYPES.contains(&kind) {
        return Some((
            format!("`{kind}` is not a type of key"),
            format!("{paste}; options before the type are not supported"),
        ));
    }
    let Some(bytes) = body.and_then(base64) else {
        return Some((
            "what follows the type is not a key".to_owned(),
            format!("{paste}, all of it"),
        ));
    };
    let parts = strings(&bytes).unwrap_or_default();
    if parts.len() < 2 || parts[0] != kind.as_bytes() {
        return Some((
            format!("the key is cut short, or is no `{kind}` key"),
            format!("{paste}, all of it"),
        ));
    }
    None
}

/// The blob as the SSH strings that it is made of, the first of them the type
/// (RFC 4251, 5; RFC 4253, 6.6).
fn strings(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (part, rest) = rest.split_at_checked(length)?;
        parts.push(part);
        bytes = rest;
    }
    Some(parts)
}

/// RFC 4648, padded.
fn base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let body = text.trim_end_matches('=');
    if text.len() - body.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut bits = 0_u32;
    let mut count = 0;
    for byte in body.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}
