//! Bytes as a contract, through intake: nothing panics, and what is accepted is accepted again as the server shows it.

#![no_main]

use bailiwick::{
    pb,
    service::convert::contract::{contract_out, intake},
    types::limits::Ceilings,
};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|bytes: &[u8]| {
    let Ok(wire) = pb::Contract::decode(bytes) else { return };
    let took = |wire| intake(wire, &Ceilings::default(), &|_| true);
    match took(wire) {
        Ok(contract) => assert_eq!(took(contract_out(&contract)).as_ref(), Ok(&contract)),
        Err(violations) => assert!(!violations.is_empty()),
    }
});
