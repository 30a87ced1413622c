//! Messages as JSON and YAML, through the protobuf JSON mapping: the names of the protos, numbers as numbers, defaults
//! written out, one object a line. What is written here can be read back by the same mapping.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::Serialize;

use crate::pb;

/// The protos this crate was built with.
static POOL: LazyLock<Result<DescriptorPool, String>> =
    LazyLock::new(|| DescriptorPool::decode(pb::DESCRIPTORS).map_err(|error| error.to_string()));

/// The descriptor of a message of `bailiwick.v1`, by its full name.
///
/// # Errors
/// When this build has no such message; a fault of the build, in words.
pub fn descriptor(name: &str) -> Result<MessageDescriptor, String> {
    let pool = POOL.as_ref().map_err(|error| format!("this build's descriptors cannot be read: {error}"))?;
    pool.get_message_by_name(name).ok_or_else(|| format!("this build knows no message {name}"))
}

/// `message`, which is `bailiwick.v1.<name>`, as JSON on one line.
///
/// # Errors
/// When the mapping cannot say it: a time out of its range, or a name this build does not know.
pub fn line<M: Message>(name: &str, message: &M) -> Result<String, String> {
    let mut out = serde_json::Serializer::new(Vec::new());
    dynamic(name, message)?
        .serialize_with_options(&mut out, &options(false))
        .map_err(|error| error.to_string())?;
    String::from_utf8(out.into_inner()).map_err(|error| error.to_string())
}

/// `message` as YAML, as people write contracts: what is not set is left out.
///
/// # Errors
/// As [`line`].
pub fn yaml<M: Message>(name: &str, message: &M) -> Result<String, String> {
    struct Written(DynamicMessage);
    impl Serialize for Written {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize_with_options(serializer, &options(true))
        }
    }
    serde_yaml_ng::to_string(&Written(dynamic(name, message)?)).map_err(|error| error.to_string())
}

fn dynamic<M: Message>(name: &str, message: &M) -> Result<DynamicMessage, String> {
    let descriptor = descriptor(&format!("bailiwick.v1.{name}"))?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(|error| error.to_string())
}

fn options(skip_defaults: bool) -> SerializeOptions {
    SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .use_proto_field_name(true)
        .skip_default_fields(skip_defaults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_protos_numbers_as_numbers_defaults_written() {
        let counters = pb::Counters { hops: 2, ..Default::default() };
        assert!(line("Counters", &counters).unwrap().starts_with(r#"{"hops":2,"turns":0,"#));
        let ledger = pb::Ledger { granted_tokens: 5_000, ..Default::default() };
        assert!(line("Ledger", &ledger).unwrap().contains(r#""granted_tokens":5000"#));
        assert!(line("NoSuch", &ledger).is_err());
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        let text = "goal: g\nfirst_agent: a\nowner: a\ninput: {deep: [1, 2.5, null]}\nlimits: {deadline: 90s, max_hops: 0}\n";
        let contract = super::super::contract_file::parse("-", text).unwrap();
        let yaml = yaml("Contract", &contract).unwrap();
        assert_eq!(super::super::contract_file::parse("-", &yaml).unwrap(), contract, "{yaml}");
        let json = line("Contract", &contract).unwrap();
        assert_eq!(super::super::contract_file::parse("-", &json).unwrap(), contract, "{json}");
    }
}
