//! The kept corpus: messages as JSON, so that they can be read and changed, and, as bytes, whatever has once been found.

use std::{fs, path::PathBuf};

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/corpus").join(name)
}

/// Files in a folder: name up to its first dot, and content, sorted.
fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(name)).expect("the corpus is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it is readable").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default().to_owned();
        (stem, fs::read(&path).expect("it is readable"))
    };
    paths.into_iter().map(read).collect()
}

/// A message written as JSON.
pub fn parsed(of: &MessageDescriptor, json: &[u8]) -> DynamicMessage {
    let mut reader = serde_json::Deserializer::from_slice(json);
    DynamicMessage::deserialize(of.clone(), &mut reader)
        .unwrap_or_else(|error| panic!("{}: {error}", of.name()))
}

/// The kept contracts, as they would be sent.
pub fn contracts(of: &MessageDescriptor) -> Vec<DynamicMessage> {
    files("contracts").iter().map(|(_, json)| parsed(of, json)).collect()
}

/// The kept requests of a method. `METHOD.what.json`.
pub fn messages(method: &str, of: &MessageDescriptor) -> Vec<DynamicMessage> {
    files("messages").iter().filter(|(name, _)| name == method).map(|(_, json)| parsed(of, json)).collect()
}

/// Bytes that have once been found to be trouble: method and bytes. `METHOD.what.bin`.
pub fn found() -> Vec<(String, Vec<u8>)> {
    files("found")
}

/// Writes what a coverage-guided search starts from, a folder for each target of `fuzz/`.
pub fn write_seeds(
    to: &std::path::Path,
    contract: &MessageDescriptor,
    requests: &[(usize, String, MessageDescriptor)],
) {
    let write = |target: &str, name: String, bytes: Vec<u8>| {
        let folder = to.join(target);
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::write(folder.join(name), bytes).expect("a seed can be written");
    };
    for (at, seed) in contracts(contract).iter().enumerate() {
        write("contract", format!("kept-{at}"), seed.encode_to_vec());
    }
    for (index, method, of) in requests {
        for (at, seed) in messages(method, of).iter().enumerate() {
            // The first byte chooses the method, as the target reads it.
            let mut bytes = vec![u8::try_from(*index).expect("there are not that many methods")];
            bytes.extend(seed.encode_to_vec());
            write("messages", format!("{method}-{at}"), bytes);
        }
    }
}
