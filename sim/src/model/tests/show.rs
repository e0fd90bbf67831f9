//! While the run goes on.

use super::*;

#[test]
fn a_message_that_no_person_wrote_is_forged() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    let other = says(&mut model, CLEO, ADA);
    let refused = unsure(&mut model, ADA, BEN, Act::Say);
    model.refused(refused);
    let refused_edit = unsure(&mut model, ADA, BEN, Act::Edit(hello));
    model.refused(refused_edit);
    let other_edit = does(&mut model, CLEO, ADA, Act::Edit(other));
    does(&mut model, BEN, ADA, Act::React(hello, "heart".into()));

    let right = view(&model, hello, BEN);
    let strange = MessageView { text: Some("Hello".into()), ..right.clone() };
    let bent = MessageView { text: Some(words::text_of(hello) + "!"), ..right.clone() };
    let swapped = MessageView { own: true, ..with_status(right.clone(), None) };
    let wrongs = [
        strange,
        bent,
        swapped,
        view(&model, other, BEN),
        view(&model, refused, BEN),
        edited(right.clone(), refused_edit),
        edited(right.clone(), other_edit),
        MessageView { edited: true, ..right.clone() },
        deleted(right.clone()),
    ];
    for wrong in wrongs {
        let found = model.shows(BEN, ADA, std::slice::from_ref(&wrong), at(10));
        assert_eq!(rules(&found), [Rule::Forged], "{wrong:?}");
    }
    let wrong = reacted(reacted(right, BEN, "anger"), ADA, "heart");
    let found = model.shows(BEN, ADA, &[wrong], at(10));
    assert_eq!(rules(&found), [Rule::Forged, Rule::Forged], "{found:?}");
    assert_eq!(model.said_count(), 4);
}

#[test]
fn a_message_is_shown_once_and_at_one_place() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    let again = says(&mut model, ADA, BEN);
    assert_eq!(shows(&mut model, BEN, ADA, &[hello, hello]), [Rule::Twice]);

    let mut copy = view(&model, hello, ADA);
    copy.key.id = EnvelopeId([9; 32]);
    assert_eq!(rules(&model.shows(ADA, BEN, &[sent(copy)], at(1))), [Rule::Twice]);
    let mut moved = view(&model, hello, ADA);
    moved.key.position = 7;
    let found = model.restarted(ADA, BEN, &[moved], at(1));
    assert_eq!(rules(&found), [Rule::Order, Rule::Lost], "and the second is gone");

    let mut same_place = view(&model, again, BEN);
    same_place.key = view(&model, hello, BEN).key;
    let found = rules(&model.shows(BEN, ADA, &[same_place], at(1)));
    assert!(found.contains(&Rule::Forged), "{found:?}");
}

#[test]
fn a_message_unseen_by_others_may_be_sealed_again() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    shows(&mut model, ADA, BEN, &[hello]);
    let mut again = sent(view(&model, hello, ADA));
    again.key.id.0[0] ^= 1;
    let found = model.shows(ADA, BEN, std::slice::from_ref(&again), at(2));
    assert_eq!(rules(&found), []);
    let theirs = MessageView { own: false, ..with_status(again.clone(), None) };
    assert_eq!(rules(&model.shows(BEN, ADA, &[theirs], at(3))), []);

    again.key.id.0[0] ^= 2;
    let found = model.shows(ADA, BEN, &[again], at(4));
    assert_eq!(rules(&found), [Rule::Twice], "Ben has it already");
}

#[test]
fn what_has_moved_is_shown_again_by_its_author() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    shows(&mut model, ADA, BEN, &[hello]);
    let mut again = sent(view(&model, hello, ADA));
    again.key.id.0[0] ^= 1;
    model.moved(hello, again.key);
    assert_eq!(rules(&model.shows(ADA, BEN, std::slice::from_ref(&again), at(2))), []);
    assert_eq!(rules(&model.shows(ADA, BEN, &[again], at(3))), [Rule::Twice], "but not twice");
}

#[test]
fn what_was_seen_before_is_shown_before() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    shows(&mut model, BEN, ADA, &[hello]);
    does(&mut model, BEN, ADA, Act::React(hello, "heart".into()));
    let refused = unsure(&mut model, BEN, ADA, Act::Say);
    model.refused(refused);
    let answer = says(&mut model, BEN, ADA);
    let more = says(&mut model, BEN, ADA);

    // A reaction and what was refused lie between, but are not shown themselves.
    assert_eq!(shows(&mut model, ADA, BEN, &[answer]), [Rule::Dependency]);
    assert_eq!(shows(&mut model, ADA, BEN, &[hello, more]), []);
    let mut late = view(&model, hello, ADA);
    late.key.position = 3;
    let order = [view(&model, answer, ADA), late, view(&model, more, ADA)];
    let found = rules(&model.restarted(ADA, BEN, &order, at(5)));
    assert!(found.contains(&Rule::Dependency), "{found:?}");
}

#[test]
fn nothing_depends_on_what_its_node_will_never_take() {
    let mut model = model();
    let question = says(&mut model, ADA, BEN);
    let answer = says(&mut model, ADA, BEN);
    shows(&mut model, ADA, BEN, &[question, answer]);
    assert_eq!(shows(&mut model, BEN, ADA, &[answer]), [Rule::Dependency], "it may yet come");

    let last = says(&mut model, ADA, BEN);
    let view = with_status(view(&model, answer, ADA), Some(DeliveryStatus::Refused));
    assert_eq!(rules(&model.statuses(ADA, BEN, &[view], at(5))), []);
    shows(&mut model, BEN, ADA, &[question]);
    assert_eq!(shows(&mut model, BEN, ADA, &[last]), []);
}

#[test]
fn after_a_restart_nothing_depends_on_what_its_node_will_never_take() {
    for (mark, demanded) in
        [(DeliveryStatus::Refused, None), (DeliveryStatus::Sent, Some(Rule::Dependency))]
    {
        let mut model = model();
        let question = says(&mut model, BEN, ADA);
        shows(&mut model, ADA, BEN, &[question]);
        let refused = says(&mut model, ADA, BEN);
        let rows = with_status(view(&model, refused, ADA), Some(mark));
        let rows = [view(&model, question, ADA), rows];
        assert_eq!(rules(&model.restarted(ADA, BEN, &rows, at(3))), []);
        let next = says(&mut model, ADA, BEN);
        assert_eq!(
            model.missing(next, |_| false).map(|operation| operation == question),
            Some(demanded.is_none())
        );
        shows(&mut model, BEN, ADA, &[question]);
        assert_eq!(shows(&mut model, BEN, ADA, &[next]), Vec::from_iter(demanded), "{mark:?}");
    }
}

#[test]
fn what_its_node_will_never_take_may_stand_behind_what_follows() {
    for (mark, is_wrong) in [(DeliveryStatus::Refused, false), (DeliveryStatus::Stored, true)] {
        let mut model = model();
        let refused = says(&mut model, ADA, BEN);
        let next = says(&mut model, ADA, BEN);
        let mut behind = with_status(view(&model, refused, ADA), Some(mark));
        behind.key.position = 9;
        let found = rules(&model.restarted(ADA, BEN, &[view(&model, next, ADA), behind], at(3)));
        assert_eq!(found.contains(&Rule::Order), is_wrong, "{mark:?}: {found:?}");
    }
}

#[test]
fn what_a_crash_lost_is_not_demanded_of_what_follows() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    shows(&mut model, BEN, ADA, &[hello]);
    let lost = unsure(&mut model, BEN, ADA, Act::Say);
    shows(&mut model, BEN, ADA, &[lost]);
    assert_eq!(restarted(&mut model, BEN, ADA, &[]), [], "neither was durable");
    let after = says(&mut model, BEN, ADA);

    assert_eq!(shows(&mut model, ADA, BEN, &[after]), [], "nor does it depend on them");
    assert_eq!(shows(&mut model, ADA, BEN, &[lost]), [Rule::Dependency], "but what was sent does");
    assert_eq!(shows(&mut model, BEN, ADA, &[hello, lost, after]), [], "and all come again");
    let last = says(&mut model, BEN, ADA);
    assert_eq!(
        model.missing(last, |operation| operation != lost),
        Some(lost),
        "what came again was seen"
    );
}

#[test]
fn what_is_not_answered_yet_is_passed_over_but_not_what_it_saw() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    shows(&mut model, BEN, ADA, &[hello]);
    unsure(&mut model, BEN, ADA, Act::Say);
    let answer = says(&mut model, BEN, ADA);
    assert_eq!(model.missing(answer, |_| false), Some(hello));
    assert_eq!(model.missing(answer, |operation| operation == hello), None);
}

#[test]
fn after_a_restart_one_depends_on_all_that_the_rows_show() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    let second = says(&mut model, ADA, BEN);
    shows(&mut model, BEN, ADA, &[hello, second]);
    let answer = says(&mut model, BEN, ADA);
    let third = says(&mut model, ADA, BEN);
    shows(&mut model, BEN, ADA, &[answer, third]);
    assert_eq!(restarted(&mut model, BEN, ADA, &[hello, second, answer, third]), []);
    let after = says(&mut model, BEN, ADA);
    assert_eq!(&*model.record(after).unwrap().saw, [answer, third], "and so on the others");
    assert_eq!(
        restarted(&mut model, BEN, ADA, &[hello, answer, after]),
        [Rule::Dependency, Rule::Dependency]
    );
}

#[test]
fn what_a_device_called_safe_lasts() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    let crashed = unsure(&mut model, ADA, BEN, Act::Say);
    let waits = unsure(&mut model, ADA, BEN, Act::Say);
    model.taken(waits, None);
    shows(&mut model, ADA, BEN, &[hello, crashed, waits]);
    assert_eq!(restarted(&mut model, ADA, BEN, &[hello]), []);
    assert_eq!(restarted(&mut model, ADA, BEN, &[hello, crashed]), []);
    assert_eq!(restarted(&mut model, ADA, BEN, &[]), [Rule::Lost]);
}

#[test]
fn a_waiting_message_may_be_sealed_again_after_a_crash() {
    let mut model = model();
    let waits = unsure(&mut model, ADA, BEN, Act::Say);
    model.taken(waits, None);
    assert_eq!(model.own_recent(ADA, BEN), [], "it has no name yet");
    assert_eq!(shows(&mut model, ADA, BEN, &[waits]), []);
    assert_eq!(restarted(&mut model, ADA, BEN, &[]), []);
    let key = TimelineKey { position: 4, id: EnvelopeId([44; 32]) };
    let again = |person| MessageView { key, ..view(&model, waits, person) };
    let (ada, ben) = (again(ADA), again(BEN));
    assert_eq!(model.shows(ADA, BEN, &[sent(ada.clone())], at(1)), []);
    assert_eq!(model.own_recent(ADA, BEN), [(waits, key.id.reference())]);
    assert_eq!(compare(&mut model, [&[ada], &[ben]], 2), []);
}

#[test]
fn delivered_messages_last() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    let second = says(&mut model, ADA, BEN);
    shows(&mut model, BEN, ADA, &[hello, second]);
    let delivered = [view(&model, hello, ADA), sent(view(&model, second, ADA))];
    assert_eq!(model.statuses(ADA, BEN, &delivered, at(3)), []);
    assert_eq!(restarted(&mut model, BEN, ADA, &[hello]), [], "the second may be gone");
    assert_eq!(restarted(&mut model, BEN, ADA, &[]), [Rule::DeliveryStatus], "the first may not");

    shows(&mut model, BEN, ADA, &[hello, second]);
    unsure(&mut model, BEN, ADA, Act::Say);
    assert_eq!(restarted(&mut model, BEN, ADA, &[]), [], "unless a message left too soon");
}

#[test]
fn marks_rise_and_say_what_is_so() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    let marked = |model: &Model, status| with_status(view(model, hello, ADA), status);
    let marks = |model: &mut Model, mark| {
        let view = marked(model, mark);
        rules(&model.statuses(ADA, BEN, &[view], at(1)))
    };
    assert_eq!(marks(&mut model, Some(DeliveryStatus::Stored)), []);
    assert_eq!(
        marks(&mut model, Some(DeliveryStatus::Delivered)),
        [Rule::DeliveryStatus],
        "Ben never saw it"
    );
    shows(&mut model, BEN, ADA, &[hello]);
    assert_eq!(marks(&mut model, Some(DeliveryStatus::Read)), []);
    assert_eq!(
        marks(&mut model, Some(DeliveryStatus::Delivered)),
        [Rule::DeliveryStatus],
        "it was read"
    );
    assert_eq!(marks(&mut model, None), [Rule::DeliveryStatus]);
    let receipts = BTreeMap::new();
    let unfounded = MessageView { receipts, ..marked(&model, Some(DeliveryStatus::Read)) };
    let found = rules(&model.statuses(ADA, BEN, &[unfounded], at(1)));
    assert_eq!(found, [Rule::DeliveryStatus], "no member has said so");
    assert_eq!(marks(&mut model, Some(DeliveryStatus::Read)), []);
    assert_eq!(restarted(&mut model, ADA, BEN, &[hello]), [], "a crash may take marks back");
}
