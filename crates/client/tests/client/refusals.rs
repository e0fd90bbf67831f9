//! A node that refuses: what may pass is tried again on the same connection, at a growing distance;
//! what is final is shown.

use std::time::Duration;

use client::{Action, CommandError, ContactState, Reply, view};
use proto::{Body, Code, Frame};

use crate::world::World;

/// Two people get acquainted at a node that refuses a part of it for a while, before the invite is
/// given away and after.
fn refused_for_a_while(what: &str, refused: fn(&Body) -> Option<Code>) {
    let mut world = World::new(1, 2);
    world.refuse(0, refused);
    world.create(0, "Ada");
    let ben = world.create(1, "Ben");
    let link = world.invite(0);
    // A link that the home node does not know of yet is of no use.
    relent(&mut world);
    assert!(view::account(world.rows(0)).unwrap().published, "{what}");
    assert_eq!(view::account(world.rows(0)).unwrap().trouble, "", "{what}");
    world.refuse(0, refused);
    world.ask(1, Action::AddContact { link, name: "Ada".into() }).unwrap();
    relent(&mut world);
    let in_vain = world.frames().iter().filter(|frame| refused(&frame.body).is_some()).count();
    assert!((8..60).contains(&in_vain), "{what}: {in_vain} times");
    world.ask(0, Action::Accept { contact: ben }).expect(what);
    world.send(1, "hello");
    assert_eq!(world.texts(0), ["hello"], "{what}");
    assert_eq!(view::contacts(world.rows(1))[0].trouble, "", "{what}");
}

/// The node goes on refusing for twenty minutes, then no more.
fn relent(world: &mut World) {
    world.pass(Duration::from_secs(1200));
    world.repent(0);
    world.pass(Duration::from_secs(400));
}

/// Runs the same with each code that may pass.
macro_rules! refused_for_a_while {
    ($name:ident, $body:pat) => {
        #[test]
        fn $name() {
            refused_for_a_while("busy", |body| matches!(body, $body).then_some(Code::Busy));
            refused_for_a_while("full", |body| matches!(body, $body).then_some(Code::Full));
            refused_for_a_while("quota", |body| matches!(body, $body).then_some(Code::Quota));
            refused_for_a_while("unexpected", |body| {
                matches!(body, $body).then_some(Code::Unexpected)
            });
        }
    };
}

refused_for_a_while!(a_record_is_handed_in_again, Body::PutBundle(_));
refused_for_a_while!(logs_are_opened_again, Body::Open(_));
refused_for_a_while!(key_packages_are_handed_in_again, Body::PutKeyPackages(_));
refused_for_a_while!(invites_are_registered_again, Body::PutInvite { .. });
refused_for_a_while!(records_are_asked_for_again, Body::GetBundle(_));
refused_for_a_while!(key_packages_are_asked_for_again, Body::TakeKeyPackages { .. });
refused_for_a_while!(requests_are_sent_again, Body::Append { .. });

#[test]
fn an_account_is_brought_back_from_a_busy_node() {
    let mut world = World::new(2, 2);
    let phrase = world.phrase();
    let words = phrase.words().to_string();
    let homes = vec![world.address(0)];
    let create = Action::CreateAccount { phrase, name: "Ada".into(), homes: homes.clone() };
    let Reply::Account(account) = world.ask(0, create).unwrap() else { panic!() };
    world.refuse(0, |body| matches!(body, Body::GetBundle(_)).then_some(Code::Busy));
    let phrase = crypto::identity::Phrase::parse(&words).unwrap();
    world.command(1, Action::RecoverAccount { phrase, name: "Ada".into(), homes });
    world.pass(Duration::from_secs(60));
    world.repent(0);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.answer(1), Ok::<_, CommandError>(Reply::Account(account)));
}

#[test]
fn what_is_final_is_shown_and_not_tried_again() {
    let mut world = World::new(3, 2);
    world.create(0, "Ada");
    world.create(1, "Ben");
    let link = world.invite(0);
    world.refuse(0, |body| matches!(body, Body::GetBundle(_)).then_some(Code::NotFound));
    world.ask(1, Action::AddContact { link, name: "Ada".into() }).unwrap();
    world.pass(Duration::from_secs(3600));
    let asked = world.frames().into_iter().filter(|f| matches!(f.body, Body::GetBundle(_)));
    assert_eq!(asked.count(), 1);
    assert_eq!(view::contacts(world.rows(1))[0].trouble, "their node does not know the account");
}

#[test]
fn another_link_helps_where_one_was_used_up() {
    let mut world = World::new(4, 3);
    let ada = world.create(0, "Ada");
    world.create(1, "Ben");
    world.create(2, "Cleo");
    let link = world.invite(0);
    for number in [1, 2] {
        let (link, name) = (link.clone(), "Ada".into());
        world.ask(number, Action::AddContact { link, name }).unwrap();
    }
    let state = |world: &World| {
        let contact = view::contacts(world.rows(2)).remove(0);
        assert_eq!(contact.account, ada);
        (contact.state, contact.trouble)
    };
    let used_up = "the invite was used up, taken back or has expired".to_owned();
    assert_eq!(state(&world), (ContactState::Adding, used_up));
    let link = world.invite(0);
    world.ask(2, Action::AddContact { link, name: String::new() }).unwrap();
    assert_eq!(state(&world), (ContactState::Requested, String::new()));
}

#[test]
fn no_contact_is_asked_without_a_key_package() {
    let mut world = World::new(6, 2);
    world.create(0, "Ada");
    world.create(1, "Ben");
    let link = world.invite(0);
    let taken = |frame: &Frame| matches!(frame.body, Body::TakeKeyPackages { .. });
    world.lose(|frame| matches!(frame.body, Body::KeyPackages { .. }));
    world.ask(1, Action::AddContact { link, name: "Ada".into() }).unwrap();
    let request = world.frames().into_iter().find(taken).unwrap().request;
    let body = Body::KeyPackages { packages: Vec::new(), left: 0 };
    world.inject(1, Frame { request, body });
    world.run();
    let contact = view::contacts(world.rows(1)).remove(0);
    assert_eq!((contact.state, contact.log), (ContactState::Adding, None));
    assert_eq!(contact.trouble, "what their node has of them is not valid");
}

#[test]
fn a_contact_that_was_removed_can_be_added_by_the_same_link() {
    let mut world = World::new(5, 2);
    let ada = world.create(0, "Ada");
    world.create(1, "Ben");
    let link = world.invite(0);
    world.refuse(0, |body| matches!(body, Body::GetBundle(_)).then_some(Code::NotFound));
    let add = || Action::AddContact { link: link.clone(), name: String::new() };
    world.ask(1, add()).unwrap();
    world.repent(0);
    world.ask(1, Action::RemoveContact { contact: ada }).unwrap();
    world.ask(1, add()).unwrap();
    assert_eq!(view::contacts(world.rows(1))[0].state, ContactState::Requested);
}
