//! In the end.

use super::*;

#[test]
fn both_show_everything_in_the_same_order() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    let meanwhile = says(&mut model, BEN, ADA);
    assert_eq!(ends_as_said(&mut model, &[hello, meanwhile]), []);
    let (ada, ben) =
        (views(&model, &[hello, meanwhile], ADA), views(&model, &[meanwhile, hello], BEN));
    let found = rules(&compare(&mut model, [&ada, &ben], 9));
    assert_eq!(found, [Rule::Order, Rule::Order], "they differ, and one is not sorted");
    let found = rules(&compare(&mut model, [&ada, &ada[..0]], 9));
    assert_eq!(found, [Rule::Order, Rule::Lost, Rule::Lost]);
    assert_eq!(ends_as_said(&mut model, &[hello]), [Rule::Lost, Rule::Lost], "once per device");
}

#[test]
fn authors_order_holds_across_a_restart() {
    let mut model = model();
    let first = unsure(&mut model, ADA, BEN, Act::Say);
    model.taken(first, None);
    restarted(&mut model, ADA, BEN, &[]);
    let second = says(&mut model, ADA, BEN);
    let swapped = |person| {
        let mut late = view(&model, first, person);
        late.key.position = 9;
        [view(&model, second, person), late]
    };
    let (ada, ben) = (swapped(ADA), swapped(BEN));
    let found = rules(&compare(&mut model, [&ada, &ben], 9));
    assert_eq!(found, [Rule::Order, Rule::Order]);
}

#[test]
fn in_the_end_every_message_is_delivered() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    let (ada, ben) = (sent(view(&model, hello, ADA)), view(&model, hello, BEN));
    let refused = with_status(ada.clone(), Some(DeliveryStatus::Refused));
    for mark in [ada, refused] {
        let found = rules(&compare(&mut model, [&[mark], std::slice::from_ref(&ben)], 9));
        assert_eq!(found, [Rule::DeliveryStatus]);
    }
}

#[test]
fn the_last_edit_counts() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    let older = does(&mut model, ADA, BEN, Act::Edit(hello));
    let newer = does(&mut model, ADA, BEN, Act::Edit(hello));
    assert_eq!(ends_as_said(&mut model, &[hello]), [Rule::Lost, Rule::Lost]);
    assert_eq!(ends(&mut model, &[hello], |_, v| edited(v, older)), [Rule::Lost, Rule::Lost]);
    assert_eq!(ends(&mut model, &[hello], |_, v| edited(v, newer)), []);

    let crashed = unsure(&mut model, ADA, BEN, Act::Edit(hello));
    assert_eq!(ends(&mut model, &[hello], |_, v| edited(v, newer)), []);
    assert_eq!(ends(&mut model, &[hello], |_, v| edited(v, crashed)), []);
    assert_eq!(ends(&mut model, &[hello], |_, v| edited(v, older)), [Rule::Lost, Rule::Lost]);
    let last = does(&mut model, ADA, BEN, Act::Edit(hello));
    assert_eq!(ends(&mut model, &[hello], |_, v| edited(v, last)), []);
    assert_eq!(ends(&mut model, &[hello], |_, v| edited(v, crashed)), [], "it may stand behind");
    assert_eq!(ends(&mut model, &[hello], |_, v| edited(v, newer)), [Rule::Lost, Rule::Lost]);
}

#[test]
fn what_was_deleted_stays_so() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    unsure(&mut model, ADA, BEN, Act::Delete(hello));
    assert_eq!(ends_as_said(&mut model, &[hello]), []);
    assert_eq!(ends(&mut model, &[hello], |_, view| deleted(view)), []);
    does(&mut model, ADA, BEN, Act::Delete(hello));
    let edit = does(&mut model, ADA, BEN, Act::Edit(hello));
    assert_eq!(ends(&mut model, &[hello], |_, view| deleted(view)), []);
    assert_eq!(ends(&mut model, &[hello], |_, v| edited(v, edit)), [Rule::Lost, Rule::Lost]);

    let alone = [view(&model, hello, ADA)];
    let gone = [deleted(view(&model, hello, BEN))];
    let found = rules(&compare(&mut model, [&alone, &gone], 9));
    assert!(found.contains(&Rule::Order), "both see the same: {found:?}");
}

#[test]
fn the_last_reaction_of_each_counts() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    does(&mut model, BEN, ADA, Act::React(hello, "heart".into()));
    does(&mut model, BEN, ADA, Act::React(hello, "anger".into()));
    does(&mut model, ADA, BEN, Act::React(hello, "pride".into()));
    let pride = |view| reacted(view, ADA, "pride");
    assert_eq!(ends(&mut model, &[hello], |_, v| reacted(pride(v), BEN, "anger")), []);
    let lost = [Rule::Lost, Rule::Lost];
    assert_eq!(ends(&mut model, &[hello], |_, v| reacted(pride(v), BEN, "heart")), lost);
    assert_eq!(ends(&mut model, &[hello], |_, v| reacted(v, BEN, "anger")), lost);

    unsure(&mut model, BEN, ADA, Act::React(hello, String::new()));
    assert_eq!(ends(&mut model, &[hello], |_, v| reacted(pride(v), BEN, "anger")), []);
    assert_eq!(ends(&mut model, &[hello], |_, v| pride(v)), []);
    does(&mut model, BEN, ADA, Act::React(hello, String::new()));
    assert_eq!(ends(&mut model, &[hello], |_, v| pride(v)), []);
}

#[test]
fn what_a_crash_made_unsure_may_be_there_or_not_but_on_both() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    let crashed = unsure(&mut model, ADA, BEN, Act::Say);
    restarted(&mut model, ADA, BEN, &[hello]);
    assert_eq!(ends_as_said(&mut model, &[hello]), []);
    let (ada, ben) = (views(&model, &[hello], ADA), views(&model, &[hello, crashed], BEN));
    assert_eq!(rules(&compare(&mut model, [&ada, &ben], 9)), [Rule::Order]);
    assert_eq!(ends_as_said(&mut model, &[hello, crashed]), []);
    assert_eq!(shows(&mut model, BEN, ADA, &[hello, crashed]), []);
    let found = ends_as_said(&mut model, &[hello]);
    assert_eq!(found, [Rule::Lost], "Ben was shown it and has not started again");
}

#[test]
fn where_the_node_lies_only_what_is_shown_must_be_right() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    shows(&mut model, ADA, BEN, &[hello]);
    let second = says(&mut model, ADA, BEN);
    let edit = does(&mut model, ADA, BEN, Act::Edit(hello));
    model.excuse(BEN, ADA);
    let ada = [sent(view(&model, hello, ADA)), edited(sent(view(&model, second, ADA)), edit)];
    let found = rules(&compare(&mut model, [&ada[..1], &[]], 9));
    assert_eq!(found, []);

    let found = rules(&compare(&mut model, [&ada, &[]], 9));
    let expected = [Rule::Forged, Rule::Twice];
    assert_eq!(found, expected, "the first stands at the second's place too");
    let alone = [view(&model, second, BEN)];
    let found = rules(&compare(&mut model, [&ada[..1], &alone], 9));
    assert_eq!(found, [Rule::Dependency]);
}
