//! Names of things: each kind of id is its own type, so that one can't stand in for another.

use std::{fmt, net::SocketAddr, str::FromStr};

use bech32::{Bech32m, Hrp};

use crate::{limits, wire};

/// Declares a 32-byte name. `Debug` shows its first bytes, enough for a log.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(", stringify!($name))?;
                hex(self.0.first_chunk::<4>().unwrap_or(&[0; 4]), f)?;
                f.write_str("…)")
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = ParseError;

            fn try_from(bytes: &[u8]) -> Result<Self, ParseError> {
                bytes.try_into().map(Self).map_err(|_| ParseError::Length)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

name! {
    /// A person or bot: the SHA-256 of its genesis. Shown as `siskin1…`.
    AccountId
}
name! {
    /// A service node: its Ed25519 public key. Shown as `sisknode1…`.
    NodeId
}
name! {
    /// A log: the SHA-256 of its [`LogGenesis`](crate::LogGenesis). Shown in hexadecimal.
    LogId
}
name! {
    /// An envelope: the SHA-256 of what its signature covers. Shown in hexadecimal.
    EnvelopeId
}
name! {
    /// An Ed25519 public key: of a device, of an epoch (write key), of an invite. Shown in
    /// hexadecimal.
    PublicKey
}

name! {
    /// A place in the key space of the routing network: that of an account's record is its
    /// AccountId, that of a node's record its NodeId, that of a node a hash with its proof of work.
    Key
}

impl Key {
    /// Returns how many leading bits two keys share, 256 if they are equal.
    pub fn shared_bits(&self, other: &Self) -> u32 {
        let mut shared = 0_u32;
        for (byte, other) in self.0.iter().zip(other.0) {
            let zeros = (byte ^ other).leading_zeros();
            shared = shared.saturating_add(zeros);
            if zeros < u8::BITS {
                break;
            }
        }
        shared
    }
}

impl From<AccountId> for Key {
    fn from(account: AccountId) -> Self {
        Self(account.0)
    }
}

impl From<NodeId> for Key {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

/// How one envelope names another: the first 16 bytes of its id.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(pub [u8; 16]);

impl EnvelopeId {
    /// The short name that dependencies use.
    pub fn reference(&self) -> Reference {
        let mut short = [0; 16];
        short.copy_from_slice(&self.0[..16]);
        Reference(short)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reference(")?;
        hex(&self.0[..4], f)?;
        f.write_str("…)")
    }
}

impl TryFrom<&[u8]> for Reference {
    type Error = ParseError;

    fn try_from(bytes: &[u8]) -> Result<Self, ParseError> {
        bytes.try_into().map(Self).map_err(|_| ParseError::Length)
    }
}

impl AsRef<[u8]> for Reference {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bech32(ACCOUNT_PREFIX, &self.0, f)
    }
}

impl FromStr for AccountId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        read_bech32(ACCOUNT_PREFIX, text).map(Self)
    }
}

/// Names a conversation: the same in commands, events, views and the local API, whatever log it is
/// over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConversationId {
    /// With one other account.
    Direct(AccountId),
    /// A group, named by its log.
    Group(LogId),
    /// Notes to oneself.
    Own,
}

impl From<AccountId> for ConversationId {
    fn from(account: AccountId) -> Self {
        Self::Direct(account)
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(account) => account.fmt(f),
            Self::Group(log) => write_bech32(GROUP_PREFIX, &log.0, f),
            Self::Own => f.write_str(OWN),
        }
    }
}

impl FromStr for ConversationId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == OWN {
            return Ok(Self::Own);
        }
        let group = read_bech32(GROUP_PREFIX, text).map(|log| Self::Group(LogId(log)));
        group.or_else(|_| text.parse().map(Self::Direct))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bech32(NODE_PREFIX, &self.0, f)
    }
}

impl FromStr for NodeId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        read_bech32(NODE_PREFIX, text).map(Self)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// The other end of a connection, known by the Ed25519 key that it has proved to hold.
///
/// A node's [`NodeId`], or the key that a device uses towards this one node.
pub type Peer = PublicKey;

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl FromStr for EnvelopeId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        unhex(text).map(Self)
    }
}

impl FromStr for LogId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        unhex(text).map(Self)
    }
}

/// Where a node can be reached: its id and up to [`limits::NODE_ADDRESSES_MAX`] addresses.
/// Shown as `sisknode1…@192.0.2.1:4440`, further addresses behind commas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    /// Whom to expect there.
    pub node: NodeId,
    /// Where to dial, in order of preference.
    pub addresses: Vec<SocketAddr>,
}

impl From<&NodeAddress> for wire::NodeAddress {
    fn from(from: &NodeAddress) -> Self {
        Self {
            node: from.node.0.to_vec(),
            addresses: from.addresses.iter().map(SocketAddr::to_string).collect(),
        }
    }
}

impl TryFrom<&wire::NodeAddress> for NodeAddress {
    type Error = ParseError;

    fn try_from(from: &wire::NodeAddress) -> Result<Self, ParseError> {
        let addresses = from.addresses.iter().map(|text| text.parse());
        Self::checked(NodeId::try_from(from.node.as_slice())?, addresses)
    }
}

impl NodeAddress {
    fn checked(
        node: NodeId,
        addresses: impl Iterator<Item = Result<SocketAddr, std::net::AddrParseError>>,
    ) -> Result<Self, ParseError> {
        let addresses = addresses
            .take(limits::NODE_ADDRESSES_MAX.saturating_add(1))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ParseError::Address)?;
        if addresses.is_empty() || addresses.len() > limits::NODE_ADDRESSES_MAX {
            return Err(ParseError::Address);
        }
        Ok(Self { node, addresses })
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)?;
        for (i, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if i == 0 { '@' } else { ',' })?;
        }
        Ok(())
    }
}

impl FromStr for NodeAddress {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (node, addresses) = text.split_once('@').ok_or(ParseError::Address)?;
        Self::checked(node.parse()?, addresses.split(',').map(str::parse))
    }
}

/// A text or a run of bytes is not the name that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Bytes of another length.
    #[error("a name of the wrong length")]
    Length,
    /// Not hexadecimal, or not bech32m with a matching checksum.
    #[error("not a valid name (mistyped or cut short?)")]
    Text,
    /// A valid name, but of another kind of thing.
    #[error("a name of another kind of thing")]
    Kind,
    /// Not `NODE@HOST:PORT`.
    #[error("not a node's address; one looks like sisknode1…@192.0.2.1:4440")]
    Address,
}

fn write_bech32(prefix: &str, bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let prefix = Hrp::parse(prefix).map_err(|_| fmt::Error)?;
    let text = bech32::encode::<Bech32m>(prefix, bytes).map_err(|_| fmt::Error)?;
    f.write_str(&text)
}

fn read_bech32(prefix: &str, text: &str) -> Result<[u8; 32], ParseError> {
    let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text)
        .map_err(|_| ParseError::Text)?;
    if checked.hrp().to_lowercase() != prefix {
        return Err(ParseError::Kind);
    }
    let bytes: Vec<u8> = checked.byte_iter().collect();
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| ParseError::Length)?;
    // The last character has four bits to spare. An id has one text only.
    let text_of_it = bech32::encode::<Bech32m>(checked.hrp(), &bytes);
    if text_of_it.is_ok_and(|one| one.eq_ignore_ascii_case(text)) {
        Ok(bytes)
    } else {
        Err(ParseError::Text)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn unhex(text: &str) -> Result<[u8; 32], ParseError> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return Err(ParseError::Text);
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high).ok_or(ParseError::Text)? << 4 | digit(*low).ok_or(ParseError::Text)?;
    }
    Ok(bytes)
}

const ACCOUNT_PREFIX: &str = "siskin";
const NODE_PREFIX: &str = "sisknode";
const GROUP_PREFIX: &str = "siskingroup";
const OWN: &str = "self";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_their_text() {
        let account = AccountId([7; 32]);
        assert!(account.to_string().starts_with("siskin1"));
        assert_eq!(account.to_string().parse(), Ok(account));
        let id = EnvelopeId([9; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        let address: NodeAddress =
            format!("{}@127.0.0.1:4,[::1]:5", NodeId([1; 32])).parse().unwrap();
        assert_eq!(address.addresses.len(), 2);
        assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn shared_bits_are_counted_over_bytes() {
        let key = |start: &[u8]| {
            let mut key = Key::default();
            key.0[..start.len()].copy_from_slice(start);
            key
        };
        assert_eq!(key(&[0, 0x10]).shared_bits(&key(&[])), 11);
        assert_eq!(key(&[0x80, 1]).shared_bits(&key(&[0, 1])), 0);
        assert_eq!(key(&[5, 6]).shared_bits(&key(&[5, 7])), 15);
        assert_eq!(key(&[5]).shared_bits(&key(&[5])), 256);
    }

    #[test]
    fn an_id_has_one_text() {
        use bech32::{
            Fe32,
            primitives::iter::{ByteIterExt, Fe32IterExt},
        };
        let account = AccountId([7; 32]);
        let text = account.to_string();
        assert_eq!(text.to_uppercase().parse(), Ok(account), "but for its case, as in QR codes");
        let mut letters: Vec<Fe32> = account.0.iter().copied().bytes_to_fes().collect();
        let last = letters.last_mut().unwrap();
        *last = Fe32::try_from(last.to_u8() | 1).unwrap();
        let prefix = Hrp::parse(ACCOUNT_PREFIX).unwrap();
        let other: String = letters.into_iter().with_checksum::<Bech32m>(&prefix).chars().collect();
        assert_ne!(other, text);
        assert_eq!(other.parse::<AccountId>(), Err(ParseError::Text));
    }

    #[test]
    fn mistyped_names_are_refused() {
        let text = AccountId([7; 32]).to_string();
        let mistyped = text.replace("siskin1", "siskin1q");
        assert_eq!(mistyped.parse::<AccountId>(), Err(ParseError::Text));
        assert_eq!(text.parse::<NodeId>(), Err(ParseError::Kind));
        assert_eq!("+f".repeat(32).parse::<EnvelopeId>(), Err(ParseError::Text));
        assert_eq!("nonsense".parse::<NodeAddress>(), Err(ParseError::Address));
    }

    #[test]
    fn conversations_keep_their_names() {
        let all = [
            ConversationId::Direct(AccountId([7; 32])),
            ConversationId::Group(LogId([8; 32])),
            ConversationId::Own,
        ];
        for conversation in all {
            assert_eq!(conversation.to_string().parse(), Ok(conversation));
        }
        assert_eq!("".parse::<ConversationId>(), Err(ParseError::Text));
        assert_eq!("siskingroup1".parse::<ConversationId>(), Err(ParseError::Text));
        let node = NodeId([7; 32]).to_string();
        assert_eq!(node.parse::<ConversationId>(), Err(ParseError::Kind));
    }
}
