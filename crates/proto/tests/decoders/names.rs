//! Names as people copy them.

use std::{fmt, str::FromStr};

use proptest::prelude::*;
use proto::{AccountId, EnvelopeId, LogId, NodeAddress, NodeId, ParseError};

use crate::{
    any,
    bent::{bend, bends},
};

fn parses_stably<T: FromStr<Err = ParseError> + fmt::Display + fmt::Debug + PartialEq>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
}

fn parse_all(text: &str) {
    parses_stably::<AccountId>(text);
    parses_stably::<NodeId>(text);
    parses_stably::<LogId>(text);
    parses_stably::<EnvelopeId>(text);
    parses_stably::<NodeAddress>(text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn come_back(bytes in any::<[u8; 32]>(), address in any::node_address()) {
        prop_assert_eq!(AccountId(bytes).to_string().parse(), Ok(AccountId(bytes)));
        prop_assert_eq!(NodeId(bytes).to_string().parse(), Ok(NodeId(bytes)));
        prop_assert_eq!(LogId(bytes).to_string().parse(), Ok(LogId(bytes)));
        prop_assert_eq!(EnvelopeId(bytes).to_string().parse(), Ok(EnvelopeId(bytes)));
        prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
        prop_assert_eq!(proto::wire::NodeAddress::from(&address).addresses.len(), address.addresses.len());
    }

    #[test]
    fn one_wrong_letter_is_noticed(bytes in any::<[u8; 32]>(), at in 7..60_usize, step in 1..32_usize) {
        let mut text = AccountId(bytes).to_string().into_bytes();
        let letter = LETTERS.iter().position(|letter| *letter == text[at]).unwrap();
        text[at] = LETTERS[(letter + step) % LETTERS.len()];
        let text = String::from_utf8(text).unwrap();
        prop_assert_eq!(text.parse::<AccountId>(), Err(ParseError::Text));
    }

    #[test]
    fn bent_names_do_not_panic(address in any::node_address(), bends in bends()) {
        let text = bend(address.to_string().into_bytes(), &bends);
        parse_all(&String::from_utf8_lossy(&text));
    }

    #[test]
    fn noise_does_not_panic(text in "\\PC{0,100}") {
        parse_all(&text);
    }
}

/// Of bech32, in their order.
const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
