//! `siskin up`: the daemon that keeps an account online.

use crate::{
    api::{Call, Server},
    cli::UpArgs,
    engine::Engine,
    failure::Failure,
    output::Output,
    paths::DataDir,
    rpc::StatusShow,
    stop,
};

pub(super) async fn run(args: &UpArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let engine = Engine::open(dir).await?;
    let mut server = Server::bind(&dir.socket())?;
    let status = StatusShow {}.run(&engine).await?;
    out.result(&status, |status| match &status.account {
        Some(account) => format!("{account} is up"),
        None => "up; there is no account here yet".to_owned(),
    });
    let result = tokio::select! {
        failure = server.serve(&engine) => Err(failure),
        failure = engine.stopped() => Err(failure),
        () = stop::asked(args.exit_on_stdin_close) => Ok(()),
    };
    server.close().await;
    engine.close().await?;
    result
}
