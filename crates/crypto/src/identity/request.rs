//! Contact requests: what strangers put into an inbox. Specified in `spec/accounts.md`, section 7.

use std::fmt;

use prost::Message;
use proto::{AccountId, LogGenesis, NodeAddress, PublicKey, limits, wire};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{bundle::Bundle, bundle_error::BundleError, inbox::InboxKey};
use crate::signing::{SigningKey, verify};

/// Signs a request with the sender's device key and seals it to an account's inbox. `aad` is the
/// head of the envelope that carries it. The recipient is filled in. What the other side would
/// refuse is refused here.
pub fn seal_request(
    to: &Bundle,
    aad: &[u8],
    request: &wire::ContactRequest,
    device: &SigningKey,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, RequestError> {
    let recipient = to.account().0.to_vec();
    let request = wire::ContactRequest { recipient, ..request.clone() };
    check(&request, &to.account(), &device.public())?;

    let body = request.encode_to_vec();
    let signature = device.sign(CONTEXT, &[aad, &body].concat()).to_vec();
    let item = wire::InboxItem { body, device: device.public().0.to_vec(), signature };
    let plaintext = Zeroizing::new(item.encode_to_vec());
    to.seal_to_inbox(aad, &plaintext, rng).ok_or(RequestError::Seal)
}

/// Opens and checks what [`seal_request`] made for the account `me`. The caller still compares the
/// bundle with what it knows of that account and decides whether to show the request.
pub fn open_request(
    inbox: &InboxKey,
    aad: &[u8],
    ciphertext: &[u8],
    me: &AccountId,
) -> Result<OpenedRequest, RequestError> {
    let plaintext = inbox.open(aad, ciphertext).map_err(|_| RequestError::Seal)?;
    let item =
        wire::InboxItem::decode(plaintext.as_slice()).map_err(|_| RequestError::Malformed)?;
    let device = PublicKey::try_from(item.device.as_slice());
    let device = device.map_err(|_| RequestError::Malformed)?;
    let signature = item.signature.as_slice().try_into().map_err(|_| RequestError::Signature)?;
    verify(&device, CONTEXT, &[aad, &item.body].concat(), signature)
        .map_err(|_| RequestError::Signature)?;

    let request = wire::ContactRequest::decode(item.body.as_slice());
    let request = request.map_err(|_| RequestError::Malformed)?;
    let bundle = check(&request, me, &device)?;
    Ok(OpenedRequest { request, bundle, device })
}

/// A contact request that was meant for this account and is by a device of the account that its
/// bundle names.
#[derive(Clone)]
pub struct OpenedRequest {
    /// What was asked. Its name has no control characters and at most [`limits::NAME_MAX`] bytes;
    /// ranking and log genesis decode.
    pub request: wire::ContactRequest,
    /// Who asks.
    pub bundle: Bundle,
    /// The device that signed.
    pub device: PublicKey,
}

impl fmt::Debug for OpenedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request: _, bundle, device: _ } = self;
        write!(f, "OpenedRequest({:?}, ..)", bundle.account())
    }
}

/// Checks everything but signature and seal; the same on both sides.
fn check(
    request: &wire::ContactRequest,
    me: &AccountId,
    device: &PublicKey,
) -> Result<Bundle, RequestError> {
    if request.recipient != me.0 {
        return Err(RequestError::Recipient);
    }
    let bundle = Bundle::verify(&request.bundle)?;
    if !bundle.has_device(device) {
        return Err(RequestError::Device);
    }
    let genesis = LogGenesis::decode(&request.log_genesis);
    if !matches!(genesis, Ok(LogGenesis::Conversation { .. }))
        || !matches!(request.invite.len(), 0 | 32)
    {
        return Err(RequestError::Malformed);
    }
    if request.ranking.is_empty()
        || request.ranking.len() > limits::RANKING_MAX
        || request.ranking.iter().any(|node| NodeAddress::try_from(node).is_err())
    {
        return Err(RequestError::Ranking);
    }
    // Shown before anyone knows the sender, perhaps in a terminal.
    if request.name.len() > limits::NAME_MAX || request.name.chars().any(char::is_control) {
        return Err(RequestError::Name);
    }
    Ok(bundle)
}

/// Why a contact request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not sealed to this inbox, or damaged, or too large to be sealed.
    #[error("not sealed to this inbox, or damaged")]
    Seal,
    /// Not a request, or a field of the wrong length.
    #[error("not a contact request of this version")]
    Malformed,
    /// Meant for another account, which may have forwarded it.
    #[error("the contact request is meant for another account")]
    Recipient,
    /// The sender's bundle does not verify.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The device that signed is not one of the sender's.
    #[error("the contact request is by a device that its account doesn't have")]
    Device,
    /// The device's signature does not hold for this request in this envelope.
    #[error("the signature of the contact request is not valid")]
    Signature,
    /// No node, too many, or not an address.
    #[error("the nodes in the contact request are not valid")]
    Ranking,
    /// Too long, or with control characters.
    #[error("the name in the contact request is not valid")]
    Name,
}

const CONTEXT: &[u8] = b"siskin1 request\x01";

#[cfg(test)]
mod tests;
