//! Contents.

use proptest::{collection::vec, prelude::*};
use proto::{Content, ContentBody, DecodeError, Reference, limits};

use crate::{
    any,
    bent::{bend, bends},
};

fn decodes_stably(bytes: &[u8]) {
    if let Ok(content) = Content::decode(bytes) {
        assert_eq!(Content::decode(&content.encode()), Ok(content));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn come_back(content in any::content()) {
        prop_assert_eq!(Content::decode(&content.encode()), Ok(content));
    }

    #[test]
    fn a_body_of_a_later_version_keeps_what_orders_it(
        content in any::content(),
        unknown in any::unknown_fields(),
    ) {
        let content = Content { body: ContentBody::Unknown, ..content };
        let bytes = [content.encode(), unknown].concat();
        prop_assert_eq!(Content::decode(&bytes), Ok(content));
    }

    #[test]
    fn bent_contents_do_not_panic(content in any::content(), bends in bends()) {
        decodes_stably(&bend(content.encode(), &bends));
    }

    #[test]
    fn noise_does_not_panic(bytes in vec(any::<u8>(), 0..300)) {
        decodes_stably(&bytes);
    }
}

#[test]
fn a_content_says_one_thing() {
    let target = Reference([1; 16]);
    let delete = Content { body: ContentBody::Delete { target }, ..Content::default() };
    let edit =
        Content { body: ContentBody::Edit { target, text: String::new() }, ..Content::default() };
    let both = [delete.encode(), edit.encode()].concat();
    assert_eq!(Content::decode(&both), Err(DecodeError::Kind));
}

#[test]
fn a_content_has_a_limit_for_each_list() {
    let content = |count: usize| Content {
        dependencies: vec![Reference([1; 16]); count],
        ..Content::default()
    };
    let most = content(limits::DEPENDENCIES_MAX);
    assert_eq!(Content::decode(&most.encode()), Ok(most));
    let too_many = content(limits::DEPENDENCIES_MAX + 1);
    assert_eq!(Content::decode(&too_many.encode()), Err(DecodeError::TooLarge));
}

#[test]
fn a_short_text_fits_two_steps_of_padding() {
    let content = Content {
        dependencies: vec![Reference([1; 16])],
        sent_at_s: 1_900_000_000,
        body: ContentBody::Text { text: "x".repeat(100), reply_to: None },
        bundle_seen: None,
    };
    // One byte of padding is always there.
    assert!(content.encode().len() < 128, "{}", content.encode().len());
}
