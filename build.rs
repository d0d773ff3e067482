//! Rebuilds when embedded files are added: migrations and the page.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    // A debug build reads the page from the source tree. A missing folder would count as changed each time, so until it
    // is there its parent is watched for it.
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        let is_there = Path::new("web/app/dist").exists();
        println!("cargo:rerun-if-changed={}", if is_there { "web/app/dist" } else { "web/app" });
    }
}
