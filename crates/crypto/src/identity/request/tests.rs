//! Contact requests between two sample accounts.

use super::*;
use crate::identity::{
    Authority, UnsignedRecord,
    tests::{device, draft, home, phrase, rng},
};

const AAD: &[u8] = b"head";

#[test]
fn a_request_arrives_whole() {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let sent = alice.request();
    let sealed = alice.ask(&bob, &sent).unwrap();

    let opened = bob.open(&sealed).unwrap();
    assert_eq!(opened.bundle, alice.bundle);
    assert_eq!(opened.device, alice.device.public());
    let recipient = bob.bundle.account().0.to_vec();
    assert_eq!(opened.request, wire::ContactRequest { recipient, ..sent });
    let debug = format!("{opened:?}");
    assert!(!debug.contains("Alice") && debug.len() < 60, "{debug}");
}

#[test]
fn a_request_can_not_be_passed_on() {
    let (alice, bob, carol) = (Person::new(1), Person::new(2), Person::new(3));
    let to_bob = alice.ask(&bob, &alice.request()).unwrap();
    assert_eq!(carol.open(&to_bob).err(), Some(RequestError::Seal));

    // Bob seals what he got, with Alice's signature, to Carol.
    let item = bob.inbox.open(AAD, &to_bob).unwrap();
    let passed_on = carol.bundle.seal_to_inbox(AAD, &item, &mut rng(9)).unwrap();
    assert_eq!(carol.open(&passed_on).err(), Some(RequestError::Recipient));

    // Nor can he put it into another envelope of his own inbox.
    let moved = bob.bundle.seal_to_inbox(b"other", &item, &mut rng(9)).unwrap();
    let opened = open_request(&bob.inbox, b"other", &moved, &bob.bundle.account());
    assert_eq!(opened.err(), Some(RequestError::Signature));
}

#[test]
fn requests_in_another_name_are_refused() {
    let (alice, bob, mallory) = (Person::new(1), Person::new(2), Person::new(3));
    // Her bundle, his device.
    let body =
        wire::ContactRequest { recipient: bob.bundle.account().0.to_vec(), ..alice.request() };
    assert_eq!(bob.receive(&mallory.device, &body).err(), Some(RequestError::Device));
    assert_eq!(
        seal_request(&bob.bundle, AAD, &body, &mallory.device, &mut rng(9)),
        Err(RequestError::Device)
    );
    // Her device named, his signature.
    let forged = wire::InboxItem {
        device: alice.device.public().0.to_vec(),
        ..item(&mallory.device, &body)
    };
    assert_eq!(bob.receive_item(&forged).err(), Some(RequestError::Signature));
}

#[test]
fn what_is_not_a_request_is_refused() {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let right =
        || wire::ContactRequest { recipient: bob.bundle.account().0.to_vec(), ..alice.request() };
    assert!(bob.receive(&alice.device, &right()).is_ok());

    type Change = fn(&mut wire::ContactRequest);
    let cases: [(&str, Change, RequestError); 13] = [
        ("no recipient", |r| r.recipient.clear(), RequestError::Recipient),
        ("no bundle", |r| r.bundle.clear(), RequestError::Bundle(BundleError::Malformed)),
        ("a broken bundle", |r| r.bundle[9] ^= 1, RequestError::Bundle(BundleError::Signature)),
        ("no conversation", |r| r.log_genesis.clear(), RequestError::Malformed),
        (
            "an inbox as conversation",
            |r| r.log_genesis = LogGenesis::Inbox(AccountId([1; 32])).encode(),
            RequestError::Malformed,
        ),
        ("half an invite", |r| r.invite.truncate(16), RequestError::Malformed),
        ("no node", |r| r.ranking.clear(), RequestError::Ranking),
        ("nine nodes", |r| r.ranking = vec![r.ranking[0].clone(); 9], RequestError::Ranking),
        ("a node without a key", |r| r.ranking[0].node.clear(), RequestError::Ranking),
        ("a node without address", |r| r.ranking[0].addresses.clear(), RequestError::Ranking),
        ("a host name", |r| r.ranking[0].addresses = vec!["a.b:1".into()], RequestError::Ranking),
        ("a long name", |r| r.name = "é".repeat(33), RequestError::Name),
        ("a name that moves the cursor", |r| r.name = "\x1b[2J".into(), RequestError::Name),
    ];
    for (name, change, expected) in cases {
        let mut request = right();
        change(&mut request);
        assert_eq!(bob.receive(&alice.device, &request).err(), Some(expected), "{name}");
    }
    let no_item = wire::InboxItem::default();
    assert_eq!(bob.receive_item(&no_item).err(), Some(RequestError::Malformed));
    let unsigned = wire::InboxItem { signature: Vec::new(), ..item(&alice.device, &right()) };
    assert_eq!(bob.receive_item(&unsigned).err(), Some(RequestError::Signature));
    let noise = bob.bundle.seal_to_inbox(AAD, &[0xff; 40], &mut rng(9)).unwrap();
    assert_eq!(bob.open(&noise).err(), Some(RequestError::Malformed));
}

#[test]
fn what_would_be_refused_is_not_sent() {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let nameless = wire::ContactRequest { name: String::new(), ..alice.request() };
    assert!(alice.ask(&bob, &nameless).is_ok());
    let long = wire::ContactRequest { name: "x".repeat(65), ..alice.request() };
    assert_eq!(alice.ask(&bob, &long), Err(RequestError::Name));
}

struct Person {
    bundle: Bundle,
    device: SigningKey,
    inbox: InboxKey,
}

impl Person {
    fn new(seed: u8) -> Self {
        let (device, inbox) = (device(seed), InboxKey::from_seed([seed; 32]));
        let draft = UnsignedRecord { inbox_key: inbox.public(), ..draft(1, &device) };
        let authority = Authority::create(&phrase(seed), &mut rng(seed));
        Self { bundle: authority.sign_record(draft).unwrap(), device, inbox }
    }

    fn request(&self) -> wire::ContactRequest {
        let genesis = LogGenesis::Conversation { write_key: PublicKey([3; 32]), salt: [4; 16] };
        wire::ContactRequest {
            recipient: Vec::new(),
            bundle: self.bundle.as_bytes().to_vec(),
            log_genesis: genesis.encode(),
            ranking: vec![wire::NodeAddress::from(&home(1))],
            welcome: vec![5; 300],
            invite: vec![6; 32],
            name: "Alice".to_owned(),
        }
    }

    fn ask(&self, to: &Self, what: &wire::ContactRequest) -> Result<Vec<u8>, RequestError> {
        seal_request(&to.bundle, AAD, what, &self.device, &mut rng(8))
    }

    fn open(&self, sealed: &[u8]) -> Result<OpenedRequest, RequestError> {
        open_request(&self.inbox, AAD, sealed, &self.bundle.account())
    }

    /// Opens a request that its sender did not check.
    fn receive(
        &self,
        device: &SigningKey,
        request: &wire::ContactRequest,
    ) -> Result<OpenedRequest, RequestError> {
        self.receive_item(&item(device, request))
    }

    fn receive_item(&self, item: &wire::InboxItem) -> Result<OpenedRequest, RequestError> {
        let item = item.encode_to_vec();
        self.open(&self.bundle.seal_to_inbox(AAD, &item, &mut rng(9)).unwrap())
    }
}

fn item(device: &SigningKey, request: &wire::ContactRequest) -> wire::InboxItem {
    let body = request.encode_to_vec();
    let signature = device.sign(b"siskin1 request\x01", &[AAD, &body].concat()).to_vec();
    wire::InboxItem { body, device: device.public().0.to_vec(), signature }
}
