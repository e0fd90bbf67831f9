//! When a process has to end.

use tokio::{
    io::AsyncReadExt,
    signal::unix::{SignalKind, signal},
};

/// Resolves when the process is asked to end: by a signal or, if `watch_stdin`, when standard input
/// closes, so that a child doesn't outlive its parent.
pub(crate) async fn asked(watch_stdin: bool) {
    let ended = async {
        if !watch_stdin {
            return std::future::pending().await;
        }
        let mut input = tokio::io::stdin();
        let mut sink = [0; 64];
        while input.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        () = ended => {}
        () = told(SignalKind::interrupt()) => {}
        () = told(SignalKind::terminate()) => {}
        () = told(SignalKind::hangup()) => {}
    }
}

async fn told(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
