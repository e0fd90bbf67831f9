//! Invite links: `siskin:ACCOUNT?node=NODE[&node=NODE]#TOKEN`. Specified in `spec/delivery.md`,
//! section 1.

use std::{fmt, str::FromStr};

use crypto::{SigningKey, derive_key};
use proto::{AccountId, NodeAddress, ParseError};

/// What an inviter hands over, by any channel: who to ask, where, and the capability to ask.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteLink {
    /// Who invites.
    pub account: AccountId,
    /// Where their inbox was when the link was made; one or two.
    pub nodes: Vec<NodeAddress>,
    /// The capability.
    pub token: [u8; 16],
}

impl InviteLink {
    /// The key that the token stands for: it may append to the inbox.
    pub fn key(&self) -> SigningKey {
        invite_key(&self.token)
    }
}

/// The key that an invite token stands for.
pub(crate) fn invite_key(token: &[u8; 16]) -> SigningKey {
    let mut secret = [0; 32];
    if let Some(half) = secret.first_chunk_mut::<16>() {
        *half = *token;
    }
    SigningKey::from_seed(*derive_key(&secret, "invite", b""))
}

impl fmt::Display for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.account)?;
        for (i, node) in self.nodes.iter().enumerate() {
            write!(f, "{}node={node}", if i == 0 { '?' } else { '&' })?;
        }
        f.write_str("#")?;
        self.token.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteLink({:?})", self.account)
    }
}

impl FromStr for InviteLink {
    type Err = InviteLinkError;

    fn from_str(text: &str) -> Result<Self, InviteLinkError> {
        let rest = text.trim().strip_prefix(SCHEME).ok_or(InviteLinkError::Scheme)?;
        let (rest, token) = rest.split_once('#').ok_or(InviteLinkError::Token)?;
        let (account, query) = rest.split_once('?').ok_or(InviteLinkError::NoNode)?;
        let nodes = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("node="))
            .take(NODES_MAX)
            .map(str::parse)
            .collect::<Result<Vec<NodeAddress>, _>>()
            .map_err(InviteLinkError::Name)?;
        if nodes.is_empty() {
            return Err(InviteLinkError::NoNode);
        }
        Ok(Self {
            account: account.parse().map_err(InviteLinkError::Name)?,
            nodes,
            token: token_of(token).ok_or(InviteLinkError::Token)?,
        })
    }
}

/// A text is not an invite link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteLinkError {
    /// It begins otherwise.
    #[error("an invite begins with {SCHEME}")]
    Scheme,
    /// The account or a node in it is mistyped.
    #[error("the invite is damaged: {0}")]
    Name(ParseError),
    /// The token is missing or cut short.
    #[error("the invite is cut short: the part after # is missing or damaged")]
    Token,
    /// No node to ask.
    #[error("the invite names no node")]
    NoNode,
}

fn token_of(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    rest.is_empty().then_some(bytes)?.try_into().ok()
}

const SCHEME: &str = "siskin:";
/// An inbox is looked for at so many nodes of a link: it is to fit a QR code.
const NODES_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use proto::NodeId;

    use super::*;

    #[test]
    fn a_link_survives_its_text() {
        let node = format!("{}@127.0.0.1:4440", NodeId([3; 32])).parse().unwrap();
        let link = InviteLink { account: AccountId([1; 32]), nodes: vec![node], token: [0xa5; 16] };
        assert_eq!(link.to_string().parse(), Ok(link.clone()));
        assert!(!format!("{link:?}").contains("a5"), "a capability stays out of logs");
    }

    #[test]
    fn a_damaged_link_is_refused() {
        let node: NodeAddress = format!("{}@127.0.0.1:4440", NodeId([3; 32])).parse().unwrap();
        let account = AccountId([1; 32]);
        let cases = [
            (format!("https:{account}"), InviteLinkError::Scheme),
            (format!("siskin:{account}?node={node}"), InviteLinkError::Token),
            (format!("siskin:{account}?node={node}#12"), InviteLinkError::Token),
            (format!("siskin:{account}?x=1#{}", "ab".repeat(16)), InviteLinkError::NoNode),
            (format!("siskin:{account}#{}", "ab".repeat(16)), InviteLinkError::NoNode),
            (
                format!("siskin:x{account}?node={node}#{}", "ab".repeat(16)),
                InviteLinkError::Name(ParseError::Text),
            ),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<InviteLink>(), Err(error), "{text}");
        }
    }
}
