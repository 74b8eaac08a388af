//! The web app is embedded: a new build of it must lead to a new build of the crate, also when names changed.

fn main() {
    println!("cargo:rerun-if-changed=web/dist");
}
