//! Panics inside a run: a failure like any other, with its message and place.

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::Once,
};

/// Runs `body`; if it panics, returns what the panic said and where. With `quiet` nothing is
/// printed: shrinking would print hundreds of times the same.
pub(super) fn catch<T>(quiet: bool, body: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            LAST.set(Some(describe(panic)));
            if !QUIET.get() {
                before(panic);
            }
        }));
    });
    QUIET.set(quiet);
    // What `body` leaves half done is dropped with it.
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    QUIET.set(false);
    result.map_err(|_| LAST.take().unwrap_or_else(|| "a panic that said nothing".to_owned()))
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("no message");
    panic.location().map_or_else(|| text.to_owned(), |place| format!("{text} ({place})"))
}

static HOOK: Once = Once::new();

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

#[test]
fn a_panic_is_caught_with_its_message_and_place() {
    let caught = catch(true, || panic!("bang {}", 7)).map(|(): ()| 0).unwrap_err();
    assert!(caught.starts_with("bang 7 ("), "{caught}");
    assert!(caught.contains("panics.rs:"), "{caught}");
    assert_eq!(catch(true, || 5), Ok(5));
}
