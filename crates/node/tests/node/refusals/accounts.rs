//! Bundles, key packages and invites that are not taken.

use proto::{AccountId, Body, Code, PublicKey, PutKeyPackages, limits};

use super::{
    Case,
    Outcome::{Refused, Stale},
    Sent,
};
use crate::world::{Account, NODE, record};

/// Bundles.
pub(super) fn bundles() -> Vec<Case> {
    vec![
        ("a bundle that is none", Refused(Code::Invalid), |s| {
            Sent::Frame(s.owner, Body::PutBundle(vec![7; 300]))
        }),
        ("a bundle with a bent byte", Refused(Code::Invalid), |s| {
            let mut bundle = Account::new(60).bundle.as_bytes().to_vec();
            let last = bundle.len() - 1;
            bundle[last] ^= 1;
            Sent::Frame(s.owner, Body::PutBundle(bundle))
        }),
        ("a bundle cut short", Refused(Code::Invalid), |s| {
            let bundle = Account::new(60).bundle.as_bytes().to_vec();
            Sent::Frame(s.owner, Body::PutBundle(bundle[..bundle.len() / 2].to_vec()))
        }),
        ("a bundle of another node's account", Refused(Code::Forbidden), |s| {
            let account = Account::at(60, proto::NodeId([1; 32]));
            Sent::Frame(s.stranger, Body::PutBundle(account.bundle.as_bytes().to_vec()))
        }),
        ("an older bundle", Stale, |s| {
            let owner = s.owner;
            let old = s.account.bundle.as_bytes().to_vec();
            let record = record(2, &[s.account.device.public()], NODE);
            s.account.bundle = s.account.authority.sign_record(record).unwrap();
            s.world.ask(&owner, Body::PutBundle(s.account.bundle.as_bytes().to_vec()));
            Sent::Frame(s.stranger, Body::PutBundle(old))
        }),
        ("an account that isn't here", Refused(Code::NotFound), |s| {
            Sent::Frame(s.stranger, Body::GetBundle(AccountId([1; 32])))
        }),
    ]
}

/// Key packages and invites.
pub(super) fn packages_and_invites() -> Vec<Case> {
    vec![
        ("packages by a guest", Refused(Code::Forbidden), |s| {
            Sent::Frame(s.guest, Body::PutKeyPackages(packages(s.account.device.public(), 1)))
        }),
        ("packages of another's device", Refused(Code::Forbidden), |s| {
            Sent::Frame(s.owner, Body::PutKeyPackages(packages(PublicKey([1; 32]), 1)))
        }),
        ("packages on a conversation", Refused(Code::Forbidden), |s| {
            let put = PutKeyPackages { channel: 2, ..packages(s.account.device.public(), 1) };
            Sent::Frame(s.owner, Body::PutKeyPackages(put))
        }),
        ("too many packages", Refused(Code::Quota), |s| {
            let owner = s.owner;
            let put = packages(s.account.device.public(), limits::KEY_PACKAGES_MAX);
            s.world.ask(&owner, Body::PutKeyPackages(put));
            Sent::Frame(owner, Body::PutKeyPackages(packages(s.account.device.public(), 1)))
        }),
        ("an empty package", Refused(Code::Malformed), |s| {
            let mut put = packages(s.account.device.public(), 1);
            put.one_time.push(Vec::new());
            Sent::Frame(s.owner, Body::PutKeyPackages(put))
        }),
        ("a package that is too large", Refused(Code::Malformed), |s| {
            let mut put = packages(s.account.device.public(), 1);
            put.last_resort = vec![1; limits::KEY_PACKAGE_BYTES_MAX + 1];
            Sent::Frame(s.owner, Body::PutKeyPackages(put))
        }),
        ("taking packages where there are none", Refused(Code::NotFound), |s| {
            Sent::Frame(s.guest, Body::TakeKeyPackages { channel: 1 })
        }),
        ("taking packages in a conversation", Refused(Code::Forbidden), |s| {
            Sent::Frame(s.owner, Body::TakeKeyPackages { channel: 2 })
        }),
        ("an invite by a guest", Refused(Code::Forbidden), |s| {
            let key = PublicKey([1; 32]);
            Sent::Frame(s.guest, Body::PutInvite { channel: 1, key, expires_s: u64::MAX, uses: 1 })
        }),
        ("an invite of the past", Refused(Code::Invalid), |s| {
            let (key, expires_s) = (PublicKey([1; 32]), s.world.now.as_secs());
            Sent::Frame(s.owner, Body::PutInvite { channel: 1, key, expires_s, uses: 1 })
        }),
        ("too many invites", Refused(Code::Quota), |s| {
            let owner = s.owner;
            let put = |n: u32| {
                let mut key = PublicKey([1; 32]);
                key.0[..4].copy_from_slice(&n.to_be_bytes());
                Body::PutInvite { channel: 1, key, expires_s: u64::MAX, uses: 1 }
            };
            for n in 0..=limits::INVITES_MAX as u32 {
                s.world.ask(&owner, put(n));
            }
            Sent::Frame(owner, put(u32::MAX))
        }),
    ]
}

fn packages(device: PublicKey, count: usize) -> PutKeyPackages {
    PutKeyPackages { channel: 1, device, one_time: vec![vec![1; 8]; count], last_resort: vec![] }
}
