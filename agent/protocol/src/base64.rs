//! Base64 as in RFC 4648 section 4, padded; what isn't canonical is refused.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Text for bytes.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = 0_u32;
        for index in 0..3 {
            word = word << 8 | u32::from(chunk.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            if index <= chunk.len() {
                let six = word >> (18 - 6 * index) & 63;
                text.push(char::from(ALPHABET[six as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Bytes of a text, or `None` where it isn't canonical base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for quad in text[..text.len() - padding].chunks(4) {
        let mut word = 0_u32;
        for index in 0..4 {
            let six = match quad.get(index) {
                Some(byte) => ALPHABET.iter().position(|known| known == byte)?,
                None => 0,
            };
            word = word << 6 | u32::try_from(six).ok()?;
        }
        let [_, first, second, third] = word.to_be_bytes();
        let kept = quad.len() - 1;
        let all = [first, second, third];
        if all[kept..].iter().any(|bits| *bits != 0) {
            return None;
        }
        bytes.extend(&all[..kept]);
    }
    Some(bytes)
}
