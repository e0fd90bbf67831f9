//! `siskin up`: the daemon that keeps an account online.

use crate::{
    api::{Call, Server},
    cli::UpArgs,
    engine::Engine,
    failure::Failure,
    output::Output,
    paths::Home,
    rpc::StatusShow,
    stop,
};

pub(super) async fn run(args: &UpArgs, home: &Home, out: Output) -> Result<(), Failure> {
    let engine = Engine::open(home).await?;
    let mut server = Server::bind(&home.socket())?;
    let status = StatusShow {}.run(&engine).await?;
    out.result(&status, |status| match &status.account {
        Some(account) => format!("{account} is up"),
        None => "up; there is no account here yet".to_owned(),
    });
    let result = tokio::select! {
        failure = server.serve(&engine) => Err(failure),
        failure = engine.stopped() => Err(failure),
        () = stop::asked(args.leashed) => Ok(()),
    };
    server.close().await;
    engine.close().await?;
    result
}
