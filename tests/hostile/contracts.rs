//! Contracts, straight into intake: made up, valid but for one thing, and twisted. What is accepted stays acceptable as the
//! server shows it.

use bailiwick::{
    pb,
    service::convert::contract::{contract_out, intake},
    types::limits::Ceilings,
};
use prost::Message as _;

use crate::{
    cases, corpus,
    dice::Dice,
    panics, seed,
    shape::{self, Known},
};

/// Times as many as for a message over the wire: no wire is in the way.
const TIMES: u64 = 50;

#[test]
fn no_contract_panics_and_what_is_accepted_is_accepted_again() {
    panics::watch();
    let of = shape::pool().get_message_by_name("bailiwick.v1.Contract").expect("it is in the protos");
    let kept = corpus::contracts(&of);
    let known = Known(vec![("agent", "solver".into()), ("owner", "solver".into())]);
    let (mut accepted, mut refused, mut undecodable) = (0, 0, 0);
    for number in 0..cases() * TIMES {
        let mut dice = Dice::new(seed(), "contract", number);
        let mut message =
            if number % 4 == 0 { shape::shaped(&mut dice, &of, &known) } else { dice.pick(&kept).clone() };
        if number % 4 != 0 {
            (0..dice.below(3)).for_each(|_| shape::nudge(&mut dice, &mut message, &known));
        }
        let mut bytes = message.encode_to_vec();
        if number % 4 == 3 {
            shape::twist(&mut dice, &mut bytes);
        }
        let Ok(wire) = pb::Contract::decode(bytes.as_slice()) else {
            undecodable += 1;
            continue;
        };
        let took = |wire| intake(wire, &Ceilings::default(), &|_| true);
        match took(wire) {
            Err(violations) => {
                refused += 1;
                assert!(!violations.is_empty(), "HOSTILE_SEED={} case {number}: refused for nothing", seed());
            }
            Ok(contract) => {
                accepted += 1;
                let again = took(contract_out(&contract));
                assert_eq!(again.as_ref(), Ok(&contract), "HOSTILE_SEED={} case {number}", seed());
            }
        }
    }
    println!("contracts: {accepted} accepted, {refused} refused, {undecodable} undecodable");
    assert!(accepted > 0 && refused > 0 && undecodable > 0, "the dice reach every kind of answer");
    panics::none();
}

#[test]
fn no_text_of_a_contract_file_panics() {
    panics::watch();
    let kept = [include_str!("corpus/contracts/plan.json"), include_str!("corpus/contracts/gate.json")];
    for number in 0..cases() * TIMES / 4 {
        let mut dice = Dice::new(seed(), "text", number);
        let mut bytes = dice.pick(&kept).as_bytes().to_vec();
        shape::twist(&mut dice, &mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let name = if dice.one_in(2) { "a.json" } else { "a.yaml" };
        if let Err(faults) = bailiwick::cli::contract_file::parse(name, &text) {
            assert!(!faults.is_empty(), "HOSTILE_SEED={} case {number}: refused for nothing", seed());
        }
    }
    panics::none();
}
