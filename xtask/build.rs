//! Tells the command line what built it: the compiler, since others may round otherwise, so that it
//! is part of what keys a record; and the sources, so that a program is not used beside others.
#![allow(clippy::print_stdout, reason = "a build script answers cargo on standard output")]

use std::path::Path;
use std::process::Command;

#[path = "src/fingerprint.rs"]
mod fingerprint;

fn main() {
    for path in ["build.rs", "src/fingerprint.rs", "../crates", "../Cargo.toml", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    // Cargo names the compiler it uses.
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.ok().filter(|output| output.status.success());
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    let version = version.as_deref().map_or("unknown compiler", str::trim);
    println!("cargo::rustc-env=HEADWATER_COMPILER={version}");
    // Cargo runs this in the package's folder.
    let fingerprint = fingerprint::fingerprint(Path::new("..")).unwrap_or_default();
    println!("cargo::rustc-env=HEADWATER_FINGERPRINT={fingerprint:x}");
}
