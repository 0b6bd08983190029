//! Wires the daemon together and does nothing else.

fn main() {}
