//! Tells the command line which compiler built it: other compilers may round otherwise, so that is
//! part of what keys a record.
#![allow(clippy::print_stdout, reason = "a build script answers cargo on standard output")]

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Cargo names the compiler it uses.
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.ok().filter(|output| output.status.success());
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    let version = version.as_deref().map_or("unknown compiler", str::trim);
    println!("cargo::rustc-env=HEADWATER_COMPILER={version}");
}
