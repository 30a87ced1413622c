//! Compiles the protos with protox, so that no system protoc is needed.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files: Vec<PathBuf> =
        fs::read_dir("proto/bailiwick/v1")?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    let descriptors = protox::compile(&files, ["proto"])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // BTreeMap, not HashMap: a contract must encode to the same bytes every time, for its idempotency hash.
    // In boxes what is large and moved often: through queues of messages, and with every other kind of the same message.
    tonic_prost_build::configure()
        .btree_map(".")
        .boxed(".bailiwick.v1.Submission.request")
        .boxed(".bailiwick.v1.SessionResponse.message.assignment")
        .compile_fds(descriptors)?;
    Ok(())
}
