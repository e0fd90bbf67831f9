//! `siskin demo`: two people talk through two real nodes on this machine, all of it as separate
//! processes that are driven only through their sockets.

mod play;
mod script;
mod stage;
mod summary;

use std::{fs, time::Duration};

use crate::{cli::DemoArgs, failure::Failure, output::Output, stop};
use play::Play;
use script::Who;
use stage::Stage;
use summary::Summary;

/// Plays a conversation and tells what it cost.
pub(crate) async fn run(args: DemoArgs, out: Output) -> Result<(), Failure> {
    let text = match &args.from {
        Some(path) => {
            fs::read_to_string(path).map_err(|error| Failure::io(path.display(), &error))?
        }
        None => BUNDLED.to_owned(),
    };
    let script = script::parse(&text)?;
    let pace = Duration::from_millis(args.pace);
    let mut stage = Stage::new()?;
    let played = tokio::select! {
        played = Box::pin(perform(&mut stage, &script, pace, out)) => played,
        () = stop::asked(false) => Err(Failure::user("interrupted")),
    };
    let result = match played {
        Ok(summary) => {
            out.result(&summary, |summary| summary.show(args.keep, out));
            if args.keep {
                stop::asked(false).await;
            }
            Ok(())
        }
        Err(failure) => Err(stage.explain(failure)),
    };
    stage.end().await;
    result
}

async fn perform(
    stage: &mut Stage,
    script: &[script::Line],
    pace: Duration,
    out: Output,
) -> Result<Summary, Failure> {
    for who in Who::BOTH {
        stage.start_node(who).await?;
        stage.start_daemon(who).await?;
    }
    let mut play = Play::new(stage, pace, out);
    play.meet().await?;
    play.perform(script).await
}

const BUNDLED: &str = include_str!("../demo/conversation.txt");
