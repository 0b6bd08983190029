//! The two ways to keep a command's output in bounded memory: its beginning (what is parsed) and its end (what tells why
//! it failed). Must not read anything itself.

use std::collections::VecDeque;

/// The first bytes of a stream; whether there were more is known.
#[derive(Debug)]
pub struct Head {
    bytes: Vec<u8>,
    limit: usize,
    more: bool,
}

impl Head {
    /// Keeps so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            more: false,
        }
    }

    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.limit - self.bytes.len();
        self.more |= bytes.len() > room;
        self.bytes.extend(bytes.iter().take(room));
    }

    /// Whether more came than was kept.
    pub fn more(&self) -> bool {
        self.more
    }

    /// What was kept, bytes that are no UTF-8 replaced.
    pub fn text(self) -> String {
        String::from_utf8(self.bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// The last bytes of a stream.
#[derive(Debug)]
pub struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    more: bool,
}

impl Tail {
    /// Keeps so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            limit,
            more: false,
        }
    }

    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = if bytes.len() > self.limit {
            self.more = true;
            &bytes[bytes.len() - self.limit..]
        } else {
            bytes
        };
        let surplus = (self.bytes.len() + bytes.len()).saturating_sub(self.limit);
        self.more |= surplus > 0;
        self.bytes.drain(..surplus);
        self.bytes.extend(bytes);
    }

    /// What was kept, as text that can stand in a log and in a condition: no half character in front, nothing that
    /// steers a terminal, `…` where something was left out.
    pub fn text(mut self) -> String {
        let cut = if self.more {
            // At most three bytes go on a character that began before.
            let continued = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
            self.bytes
                .iter()
                .take(3)
                .take_while(|b| continued(b))
                .count()
        } else {
            0
        };
        let bytes = &self.bytes.make_contiguous()[cut..];
        let text: String = String::from_utf8_lossy(bytes)
            .chars()
            .filter(|&c| c == '\n' || c == '\t' || !c.is_control())
            .collect();
        let text = text.trim();
        if self.more {
            format!("…{text}")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_character_is_never_cut() {
        let mut tail = Tail::new(4);
        tail.push("aäöü".as_bytes());
        assert_eq!(tail.text(), "…öü");
        let mut tail = Tail::new(3);
        tail.push("aäöü".as_bytes());
        assert_eq!(tail.text(), "…ü");
    }

    #[test]
    fn a_terminal_is_not_steered() {
        let mut tail = Tail::new(64);
        tail.push(b"\x1b[31merror:\x1b[0m\0 no\xff\r\n");
        assert_eq!(tail.text(), "[31merror:[0m no\u{fffd}");
    }

    proptest! {
        #[test]
        fn the_end_is_the_end_however_it_comes(chunks in prop::collection::vec(".{0,40}", 0..20), limit in 1usize..64) {
            let whole: String = chunks.concat();
            let mut tail = Tail::new(limit);
            let mut head = Head::new(limit);
            for chunk in &chunks {
                tail.push(chunk.as_bytes());
                head.push(chunk.as_bytes());
            }
            prop_assert!(tail.bytes.len() <= limit);
            prop_assert!(whole.as_bytes().ends_with(tail.bytes.make_contiguous()));
            prop_assert!(whole.as_bytes().starts_with(&head.bytes));
            prop_assert_eq!(head.more(), whole.len() > limit);
            prop_assert_eq!(tail.more, whole.len() > limit);
            let replaced = char::REPLACEMENT_CHARACTER;
            prop_assert!(whole.contains(replaced) || !tail.text().contains(replaced));
        }
    }
}
