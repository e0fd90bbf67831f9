//! Turns `spec/proto/*.proto` into `crates/proto/src/wire.rs`.
//!
//! The result is committed, so that building Siskin needs no protobuf compiler; `cargo xtask tidy`
//! checks that it is current.

use std::{error::Error, fs};

/// Writes the generated module.
pub(crate) fn write() -> Result<(), Box<dyn Error>> {
    fs::write(TARGET, generate()?)?;
    Ok(())
}

/// Returns whether the committed module is what the schema generates.
pub(crate) fn is_current() -> Result<bool, Box<dyn Error>> {
    Ok(fs::read_to_string(TARGET)? == generate()?)
}

fn generate() -> Result<String, Box<dyn Error>> {
    let descriptors = protox::compile(SOURCES, [INCLUDE])?;
    let out = std::env::temp_dir().join(format!("siskin-codegen-{}", std::process::id()));
    fs::create_dir_all(&out)?;
    let mut config = prost_build::Config::new();
    config.out_dir(&out);
    config.compile_fds(descriptors)?;
    let body = fs::read_to_string(out.join("siskin.v1.rs"))?;
    fs::remove_dir_all(&out)?;
    Ok(format!("{HEAD}{body}"))
}

/// The generated module.
pub(crate) const TARGET: &str = "crates/proto/src/wire.rs";

const SOURCES: [&str; 4] = ["records.proto", "routing.proto", "frames.proto", "content.proto"];
const INCLUDE: &str = "spec/proto";
const HEAD: &str =
    "//! Generated from `spec/proto` by `cargo xtask codegen`; not to be edited.\n\n";
