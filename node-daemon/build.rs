//! Tells the linker where code lies in the program as it is shipped, see `rare.ld`. Builds nothing.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=rare.ld");
    let small = std::env::var("OPT_LEVEL").is_ok_and(|level| level == "z");
    if let (true, Ok(folder)) = (small, std::env::var("CARGO_MANIFEST_DIR")) {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/rare.ld");
    }
}
