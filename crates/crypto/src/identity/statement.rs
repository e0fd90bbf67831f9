//! Signed statements: a body, and a signature over a context and exactly these bytes.

use prost::Message;
use proto::{PublicKey, wire};

use super::BundleError;
use crate::{BadSignature, SigningKey, verify};

/// Signs `body` for the purpose that `context` names.
pub(crate) fn sign(key: &SigningKey, context: &[u8], body: &impl Message) -> wire::Signed {
    let body = body.encode_to_vec();
    let signature = key.sign(context, &body).to_vec();
    wire::Signed { body, signature }
}

/// Checks the signature, and only then reads the body.
pub(crate) fn open<M: Message + Default>(
    signed: &wire::Signed,
    context: &[u8],
    key: &PublicKey,
) -> Result<M, BundleError> {
    check(signed, context, key).map_err(|_| BundleError::Signature)?;
    M::decode(signed.body.as_slice()).map_err(|_| BundleError::Malformed)
}

/// Checks the signature.
pub(crate) fn check(
    signed: &wire::Signed,
    context: &[u8],
    key: &PublicKey,
) -> Result<(), BadSignature> {
    let signature = signed.signature.as_slice().try_into().map_err(|_| BadSignature)?;
    verify(key, context, &signed.body, signature)
}
