//! Known answers for tests: the files of `spec/vectors/`. Lines are `name = value`, `#` begins a
//! comment; names are unique in a file.

use std::{collections::BTreeMap, fmt::Write};

/// Reads one file's text.
pub(crate) fn read(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut vectors = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(" = ").expect("a line is `name = value`");
        assert_eq!(vectors.insert(name, value), None, "{name} comes twice");
    }
    vectors
}

/// Bytes from hexadecimal.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "an odd number of digits");
    let digits = pairs.iter().map(|pair| str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// Bytes to hexadecimal.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
