//! Compiles the protos with protox, so that no system protoc is needed.

use std::{fs, path::PathBuf};

const PROTOS: &str = "../../proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={PROTOS}");
    let mut files: Vec<PathBuf> = fs::read_dir(format!("{PROTOS}/bailiwick/v1"))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let descriptors = protox::compile(&files, [PROTOS])?;
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
