//! The bytes behind an Ignition `source`. Only `data:` URLs: nothing here fetches anything.

use percent_encoding::percent_decode_str;

/// The bytes of a `data:` URL, percent-encoded or base64. An absent or empty source is an empty file.
/// `None`: another scheme, or not decodable.
pub fn decode(source: &str) -> Option<Vec<u8>> {
    if source.is_empty() {
        return Some(Vec::new());
    }
    let (media, data) = source.strip_prefix("data:")?.split_once(',')?;
    let bytes: Vec<u8> = percent_decode_str(data).collect();
    if media.split(';').any(|part| part == "base64") {
        base64(&bytes)
    } else {
        Some(bytes)
    }
}

/// RFC 4648, standard or URL-safe alphabet, padding optional.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut word = 0_u32;
        for byte in group {
            word = word << 6 | sextet(*byte)?;
        }
        let whole = match group.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        word <<= 6 * (4 - group.len());
        bytes.extend(word.to_be_bytes().into_iter().skip(1).take(whole));
    }
    Some(bytes)
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_encodings_are_read() {
        assert_eq!(decode("data:,from%20rt").unwrap(), b"from rt");
        assert_eq!(
            decode("data:text/plain;charset=utf-8;base64,aGVsbG8=").unwrap(),
            b"hello"
        );
        assert_eq!(decode("data:;base64,aGVsbG8h").unwrap(), b"hello!");
        assert_eq!(decode("data:;base64,aA%3D%3D").unwrap(), b"h");
        assert_eq!(decode("").unwrap(), b"");
        assert_eq!(decode("https://example.org/x"), None);
        assert_eq!(decode("data:;base64,a?"), None);
        assert_eq!(decode("data:;base64,a"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(source in "data:(;base64)?,[ -~]{0,40}") {
            decode(&source);
        }

        #[test]
        fn what_k8s_encodes_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            // `ByteString` serialises as base64: an encoder that we didn't write.
            let encoded = serde_json::to_value(k8s_openapi::ByteString(bytes.clone())).unwrap();
            let url = format!("data:;base64,{}", encoded.as_str().unwrap());
            prop_assert_eq!(decode(&url).unwrap(), bytes);
        }
    }
}
