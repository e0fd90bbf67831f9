//! Which of two bundles wins, and that it does not depend on who saw which one first.

use std::{cmp::Reverse, sync::LazyLock};

use proptest::prelude::*;

use super::*;

#[test]
fn a_thief_loses_to_the_phrase() {
    let phrase = phrase(1);
    let (phone, laptop, thief) = (device(1), device(2), device(3));

    // The account lives on two devices, and one of them is stolen with the authority on it.
    let authority = Authority::create(&phrase, &mut rng(1));
    let before = authority.sign_record(draft(4, &phone)).unwrap();
    let stolen = Authority::decode(&authority.encode()).unwrap();

    // The thief throws the owner's device out and takes the highest version there is.
    let takeover = stolen.sign_record(draft(5, &thief)).unwrap();
    let last_word = stolen.sign_record(draft(u64::MAX, &thief)).unwrap();
    assert_eq!(takeover.compare(&before), Precedence::Newer, "until the owner acts");

    // The owner types in the phrase, on whatever device, with whichever bundle is at hand.
    let renewed = Authority::delegate(&phrase, Some(&last_word), &mut rng(2)).unwrap();
    let rescue = renewed.sign_record(draft(1, &laptop)).unwrap();

    // What the thief has signed loses, and so does what it signs from now on and shows later.
    let later = stolen.sign_record(draft(u64::MAX, &device(4))).unwrap();
    for theirs in [&takeover, &last_word, &later] {
        assert_eq!(theirs.compare(&rescue), Precedence::Older);
        assert_eq!(rescue.compare(theirs), Precedence::Newer);
        assert!(!theirs.replaces(&rescue));
    }
    // Without the phrase it gets no delegation: the recovery key is not on the device.
    let guess = Authority::delegate(&super::phrase(9), Some(&rescue), &mut rng(3));
    assert_eq!(guess.err(), Some(DelegateError::Phrase));
    // Two words of the thief's at one rank prove what it is.
    assert_eq!(later.compare(&last_word), Precedence::Forked);
}

#[test]
fn another_account_never_wins() {
    let bundle = |seed| {
        let authority = Authority::create(&phrase(seed), &mut rng(seed));
        authority.sign_record(draft(u64::from(seed), &device(seed))).unwrap()
    };
    let (one, other) = (bundle(1), bundle(2));
    assert_eq!(one.compare(&other), Precedence::Older);
    assert_eq!(other.compare(&one), Precedence::Older);
    assert!(!one.replaces(&other) && !other.replaces(&one));
}

#[test]
fn ranks_compare_rotations_first_and_versions_last() {
    let mut ranked: Vec<&Bundle> = POOL.iter().collect();
    ranked.sort_by_key(|bundle| bundle.rank());
    let first = ranked.first().unwrap().rank();
    let last = ranked.last().unwrap().rank();
    assert_eq!((first, last), ((0, 1, 1), (2, 4, 2)));
    for (lower, higher) in ranked.iter().flat_map(|a| ranked.iter().map(move |b| (a, b))) {
        let expected = match lower.rank().cmp(&higher.rank()) {
            std::cmp::Ordering::Less => Precedence::Older,
            std::cmp::Ordering::Greater => Precedence::Newer,
            std::cmp::Ordering::Equal if lower.hash() == higher.hash() => Precedence::Same,
            std::cmp::Ordering::Equal => Precedence::Forked,
        };
        assert_eq!(lower.compare(higher), expected);
        assert!(!(lower.replaces(higher) && higher.replaces(lower)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_order_of_arrival_has_the_same_winner(
        orders in prop::collection::vec(0..POOL.len(), 1..40)
            .prop_flat_map(|order| (Just(order.clone()), Just(order).prop_shuffle()))
    ) {
        let (arrival, reordered) = orders;
        let (winner, forked) = receive(&arrival);
        prop_assert_eq!((winner.hash(), forked), {
            let (winner, forked) = receive(&reordered);
            (winner.hash(), forked)
        });

        let highest = arrival.iter().map(|i| POOL[*i].rank()).max().unwrap();
        prop_assert_eq!(winner.rank(), highest);
        let rivals = arrival.iter().filter(|i| POOL[**i].rank() == highest);
        let rivals: std::collections::BTreeSet<_> = rivals.map(|i| POOL[*i].hash()).collect();
        prop_assert_eq!(forked, rivals.len() > 1, "a fork of the winner never goes unnoticed");
        prop_assert_eq!(Reverse(winner.hash()), rivals.into_iter().map(Reverse).max().unwrap());
    }
}

/// What someone who sees these bundles in this order ends up with, and whether the last winner was
/// seen to be forked.
fn receive(arrival: &[usize]) -> (&'static Bundle, bool) {
    let mut bundles = arrival.iter().map(|i| &POOL[*i]);
    let mut held = bundles.next().unwrap();
    let mut forked = false;
    for bundle in bundles {
        forked = match bundle.compare(held) {
            Precedence::Newer => false,
            Precedence::Forked => true,
            Precedence::Same | Precedence::Older => forked,
        };
        if bundle.replaces(held) {
            held = bundle;
        }
    }
    (held, forked)
}

/// Bundles of one account: up to two rotations, two delegations each, one of them forked, two
/// versions each, one of them forked.
static POOL: LazyLock<Vec<Bundle>> = LazyLock::new(|| {
    let phrases = [phrase(1), phrase(2), phrase(3)];
    let mut pool = Vec::new();
    let mut chains = vec![Authority::create(&phrases[0], &mut rng(0))];
    for (i, current) in phrases.iter().enumerate() {
        let latest = chains.last().unwrap().sign_record(draft(1, &device(1))).unwrap();
        for fork in [10, 20] {
            chains.push(Authority::delegate(current, Some(&latest), &mut rng(fork)).unwrap());
        }
        for authority in chains.drain(..) {
            for (version, key) in [(1, 1), (2, 1), (2, 2)] {
                pool.push(authority.sign_record(draft(version, &device(key))).unwrap());
            }
        }
        if let Some(next) = phrases.get(i + 1) {
            chains.push(rotate(current, next, &latest, &mut rng(30)).unwrap());
        }
    }
    pool
});
