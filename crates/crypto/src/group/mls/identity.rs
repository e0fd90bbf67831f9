//! Who may be a leaf: MLS credentials checked against the devices that bundles name.

use mls_rs::{
    ExtensionList, IdentityProvider,
    error::IntoAnyError,
    identity::{
        CredentialType, SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    time::MlsTime,
};
use mls_rs_core::identity::MemberValidationContext;
use proto::{AccountId, PublicKey};

use crate::group::cgka::Allowed;

/// Lets into a group the devices that are allowed, or, to look at a key package, any device.
#[derive(Clone)]
pub(super) struct Guard(pub(super) Option<Allowed>);

/// The leaf is not what it may be.
#[derive(Debug, thiserror::Error)]
#[error("a device that may not be in the group")]
pub(super) struct Forbidden;

impl IntoAnyError for Forbidden {}

impl IdentityProvider for Guard {
    type Error = Forbidden;

    fn validate_member(
        &self,
        identity: &SigningIdentity,
        _: Option<MlsTime>,
        _: MemberValidationContext<'_>,
    ) -> Result<(), Forbidden> {
        let (account, device) = owner(identity).ok_or(Forbidden)?;
        let allowed = self.0.as_ref().is_none_or(|allowed| allowed.contains(account, device));
        if allowed { Ok(()) } else { Err(Forbidden) }
    }

    /// Only members may propose.
    fn validate_external_sender(
        &self,
        _: &SigningIdentity,
        _: Option<MlsTime>,
        _: Option<&ExtensionList>,
    ) -> Result<(), Forbidden> {
        Err(Forbidden)
    }

    fn identity(
        &self,
        identity: &SigningIdentity,
        _: &ExtensionList,
    ) -> Result<Vec<u8>, Forbidden> {
        let (account, device) = owner(identity).ok_or(Forbidden)?;
        Ok([account.0, device.0].concat())
    }

    /// A leaf belongs to the same device permanently.
    fn valid_successor(
        &self,
        predecessor: &SigningIdentity,
        successor: &SigningIdentity,
        _: &ExtensionList,
    ) -> Result<bool, Forbidden> {
        Ok(predecessor == successor)
    }

    fn supported_types(&self) -> Vec<CredentialType> {
        BasicIdentityProvider.supported_types()
    }
}

/// The credential of a device: account ‖ device key, 32 bytes each.
pub(super) fn credential(account: &AccountId, device: &PublicKey) -> BasicCredential {
    BasicCredential::new([account.0, device.0].concat())
}

/// Whose leaf it says it is. The key that signs must be the device key that it names.
pub(super) fn owner(identity: &SigningIdentity) -> Option<(AccountId, PublicKey)> {
    let (account, device) = identity.credential.as_basic()?.identifier.split_first_chunk::<32>()?;
    let device = PublicKey::try_from(device).ok()?;
    (identity.signature_key.as_bytes() == device.0).then_some((AccountId(*account), device))
}
