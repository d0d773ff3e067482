//! Migrations are embedded at compile time: a new one alone must cause a build.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
