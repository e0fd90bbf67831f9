//! Names that no function may have again.
//!
//! Each of them stood for several things in one crate, or for one that the field has a word for. A
//! reader who searches for failover, back-off or an acknowledgement must find it.

use super::RustFile;
use crate::tidy::Problem;

/// Checks the names of all functions.
pub(super) fn check(files: &[RustFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files {
        let retired = RETIRED.iter().filter(|(source, _)| file.is_in(source));
        let retired: Vec<_> = retired.flat_map(|(_, names)| names.iter()).collect();
        for function in &file.functions {
            if let Some((_, better)) = retired.iter().find(|(name, _)| *name == function.name) {
                let message = format!("`{}` is retired: {better}", function.name);
                problems.push(Problem::new(&file.path, function.line, message));
            }
        }
    }
    problems
}

type Names = &'static [(&'static str, &'static str)];

/// By directory: the name, and what to write.
const RETIRED: [(&str, Names); 8] = [
    (
        "",
        &[
            ("settle", "say what it finishes, resolves or publishes"),
            ("look", "say what is looked up or checked"),
            ("take_up", "`retry`"),
            ("go_on", "say what continues"),
            ("foresee", "`prefetch`"),
            ("next_draft", "`next_record`"),
            ("receipt_from_wire", "`ack_from_wire`"),
        ],
    ),
    ("crates/client", CLIENT),
    ("crates/node", &[("recount", "`scrub`"), ("upkeep", "`maintain`")]),
    ("crates/routing", &[("upkeep", "`maintain`"), ("place", "`key`")]),
    ("crates/crypto", &[("place", "`dht_key`")]),
    ("crates/net", &[("is_there", "`keepalive`")]),
    ("crates/siskin", &[("hand_out", "`dispatch`"), ("who", "`resolve`")]),
    ("sim", &[("mend", "`heal`"), ("marks", "`statuses`")]),
];

const CLIENT: Names = &[
    ("bundle_is_known", "`on_bundle`"),
    ("change_places", "`swap_homes`"),
    ("doubts", "`probe_refusal`"),
    ("extra_homes", "`extra_replicas`"),
    ("follows", "`check_order`"),
    ("heard", "`record_response`"),
    ("heed", "`apply_control`"),
    ("home_is_up", "`on_home_up`"),
    ("inbox_is_open", "`on_inbox_opened`"),
    ("is_known_to", "`record_received`"),
    ("is_much_slower", "`is_consistently_slower`"),
    ("is_served", "`is_active_home`"),
    ("is_told_where", "`record_received`"),
    ("key_is_unknown", "`on_unknown_key`"),
    ("knock", "`open_invited_inbox`"),
    ("look_for", "`locate`"),
    ("mark_of", "`status_of`"),
    ("may_pass", "`is_transient`"),
    ("named_is_here", "`on_announced_entry`"),
    ("offer", "`offer_entries`"),
    ("patience", "`response_timeout`"),
    ("pause", "`back_off`"),
    ("put_off", "`back_off`"),
    ("raise", "`advance_status`"),
    ("request_is_at", "`on_request_stored`"),
    ("say", "`append`"),
    ("say_again", "`reseal`"),
    ("served", "`active_homes`"),
    ("settle_in", "`activate_record`"),
    ("stand_by", "`open_at_secondary`"),
    ("start_over", "`resend_all`"),
    ("take_over", "`adopt_record`"),
    ("tell", "`announce_ranking`"),
    ("utter", "`send_content`"),
    ("watch_absence", "`check_unreachable`"),
    ("watch_home", "`check_primary`"),
    ("will_never_be_taken", "`is_permanently_refused`"),
];

#[test]
fn retired_names_are_found() {
    let text = "fn settle() {}\nfn heed() {}\nfn settled() {}\n";
    let found = |path| check(&[super::file(path, text)]).len();
    assert_eq!(found("crates/client/src/a.rs"), 2);
    assert_eq!(found("crates/net/src/a.rs"), 1);
}
