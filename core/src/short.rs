//! Texts of others, cut to what their place takes, with `…` where something is left out. Says nothing about them.

/// What a sentence repeats of somebody's value: enough to recognise it, too short to flood a condition or a terminal.
pub const VALUE: usize = 80;
const LEFT_OUT: char = '…';

/// One line, without what a terminal or a log would act on.
pub fn one_line(text: &str) -> String {
    let plain = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    text.chars().map(plain).collect()
}

/// At most so many characters, with the sign that something is left out.
pub fn characters(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let kept = text.chars().take(limit.saturating_sub(1));
    kept.chain([LEFT_OUT]).collect()
}

/// At most so many bytes, with the sign that something is left out.
pub fn bytes(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub(LEFT_OUT.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{LEFT_OUT}", text.get(..end).unwrap_or_default())
}

/// At most so many bytes of JSON as Go writes it, with the sign that something is left out: `<`, `>` and `&` take six there,
/// as U+2028, U+2029 and most control characters do. (encoding/json's Marshal, by which the API server stores objects.)
pub fn json(text: &str, limit: usize) -> String {
    let length = |character: char| match character {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6,
        character if character.is_control() => 6,
        character => character.len_utf8(),
    };
    if text.chars().map(length).sum::<usize>() <= limit {
        return text.to_owned();
    }
    let room = limit.saturating_sub(LEFT_OUT.len_utf8());
    let mut taken: usize = 0;
    let kept = text.chars().take_while(|character| {
        taken = taken.saturating_add(length(*character));
        taken <= room
    });
    kept.chain([LEFT_OUT]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_fits_stays() {
        assert_eq!(characters("büro", 4), "büro");
        assert_eq!(characters("büros", 4), "bür…");
        assert_eq!(bytes("büro", 5), "büro");
        assert_eq!(bytes("bbüro", 5), "bb…");
        // Two bytes that are left are half a character.
        assert_eq!(bytes("büroö", 5), "b…");
        assert_eq!(json("<<", 12), "<<");
        assert_eq!(json("<<<", 15), "<<…");
        assert_eq!(json("a\"b", 4), "a\"b");
    }

    #[test]
    fn a_line_stays_one() {
        assert_eq!(one_line("a\nb\u{1b}[2Jc\u{7f}\u{9b}"), "a b [2Jc  ");
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_its_place(text in ".*", limit in 3_usize..50) {
            let short = bytes(&text, limit);
            prop_assert!(short.len() <= limit);
            prop_assert!(characters(&text, limit).chars().count() <= limit);
            for short in [short, characters(&text, limit)] {
                let begins = short.strip_suffix('…').is_some_and(|kept| text.starts_with(kept));
                prop_assert!(short == text || begins);
            }
        }
    }
}
