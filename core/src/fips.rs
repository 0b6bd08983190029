//! FIPS mode: what a program has to say that is started where the kernel is in it. Reads nothing.

/// Where the kernel says so: `1` (Linux, `crypto/fips.c`).
pub const ENABLED: &str = "/proc/sys/crypto/fips_enabled";

/// What is wrong with a program's cryptography, by the content of [`ENABLED`] and whether the program was built with the
/// feature `fips`.
pub fn unvalidated(enabled: &str, fips: bool) -> Option<&'static str> {
    (enabled.trim() == "1" && !fips).then_some(
        "this node is in FIPS mode, and this program's cryptography is not the FIPS module: it works, and is covered by \
         no validation. Use a build with the feature `fips` (docs/decisions/tls.md)",
    )
}

#[cfg(test)]
mod tests {
    use super::unvalidated;

    #[test]
    fn it_is_told_where_the_kernel_is_in_fips_mode_and_the_program_is_not() {
        assert!(unvalidated("1\n", false).is_some_and(|words| words.contains("`fips`")));
        for (enabled, fips) in [("1\n", true), ("0\n", false), ("", false)] {
            assert_eq!(unvalidated(enabled, fips), None);
        }
    }
}
