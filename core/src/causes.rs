//! Errors in words. Wraps none.

use std::error::Error;

/// An error with its causes: the outermost alone often says no more than `client error (Connect)`. What a layer repeats of
/// the one below is said once.
pub fn told(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words.push_str(": ");
            words.push_str(&inner_words);
        }
        cause = inner.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::told;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Layer {
        words: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(words: &[&'static str]) -> Option<Box<Layer>> {
        let (first, below) = words.split_first()?;
        Some(Box::new(Layer {
            words: first,
            source: layers(below),
        }))
    }

    #[test]
    fn each_cause_is_told_once() {
        let error = layers(&["connect", "tls: unknown issuer", "unknown issuer", "end"]);
        let error = error.expect("four layers");
        assert_eq!(told(&*error), "connect: tls: unknown issuer: end");
    }
}
