//! Sizes of huge pages, as the kernel's arguments and folders name them.

/// KiB of a size as in `hugepagesz=`: a number with K, M, G or T behind it, or bytes. `None` for anything else.
pub fn kib_of(size: &str) -> Option<u64> {
    let (number, factor) = match size.as_bytes().last()? {
        b'k' | b'K' => (&size[..size.len() - 1], 1),
        b'm' | b'M' => (&size[..size.len() - 1], 1 << 10),
        b'g' | b'G' => (&size[..size.len() - 1], 1 << 20),
        b't' | b'T' => (&size[..size.len() - 1], 1 << 30),
        _ => {
            let bytes: u64 = size.parse().ok()?;
            return (bytes > 0 && bytes.is_multiple_of(1024)).then_some(bytes / 1024);
        }
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .filter(|kib| *kib > 0)
}

/// The short form: `1G`, `2M`, `64K`.
pub fn size_of(kib: u64) -> String {
    match kib {
        kib if kib >= 1 << 20 && kib.is_multiple_of(1 << 20) => format!("{}G", kib >> 20),
        kib if kib >= 1 << 10 && kib.is_multiple_of(1 << 10) => format!("{}M", kib >> 10),
        kib => format!("{kib}K"),
    }
}
