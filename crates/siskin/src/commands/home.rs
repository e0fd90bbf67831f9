//! `siskin home`.

mod proofs;
mod show;

use std::io::{self, BufRead, IsTerminal, Write};

use client::choose_homes;
use proto::{NodeAddress, NodeId, limits};
use tokio::task::JoinSet;

use self::show::{Plan, show, show_plan};
use crate::{
    cli::{HomeCommand, MoveArgs, WaitArgs},
    failure::Failure,
    keys, lookup,
    output::Output,
    paths::DataDir,
    rpc::{Home, HomeCopies, HomeList, HomeSet, Homes, call, call_caught_up},
};

pub(super) async fn run(command: HomeCommand, dir: &DataDir, out: Output) -> Result<(), Failure> {
    match command {
        HomeCommand::List => {
            let mut homes = call_caught_up(dir, HomeList {}).await?;
            ask_all(&mut homes).await;
            out.result(&homes, |homes| show(homes, out));
            Ok(())
        }
        HomeCommand::Pin { nodes, wait } => {
            let before = Before::read(dir).await?;
            let rest = before.homes.iter().filter(|old| !is_in(&nodes, old.node)).cloned();
            let homes: Vec<_> =
                nodes.iter().cloned().chain(rest).take(limits::RANKING_MAX).collect();
            let pinned = before.pinned.iter().copied().chain(nodes.iter().map(|node| node.node));
            wait_until_applied(dir, &homes, &pinned.collect::<Vec<_>>(), wait, out).await
        }
        HomeCommand::Unpin { nodes, wait } => {
            let before = Before::read(dir).await?;
            let is_named = |node: &NodeId| nodes.iter().any(|name| names(name, node));
            if let Some(wrong) = nodes.iter().find(|n| !before.pinned.iter().any(|p| names(n, p))) {
                return Err(Failure::user(format!("{wrong} is not pinned"))
                    .hint("list pinned nodes with `siskin home list`"));
            }
            let pinned = before.pinned.iter().copied().filter(|node| !is_named(node));
            wait_until_applied(dir, &before.homes, &pinned.collect::<Vec<_>>(), wait, out).await
        }
        HomeCommand::Copies { copies, acks, wait } => {
            let acks = acks.unwrap_or_else(|| copies.min(ACKS_WANTED_MAX));
            let wait_s = wait.seconds();
            let homes = call(dir, HomeCopies { copies, acks, wait_s }).await?;
            out.result(&homes, show::copies);
            Ok(())
        }
        HomeCommand::Proofs { save } => proofs::list(save.as_deref(), dir, out).await,
        HomeCommand::Check { proof } => proofs::check(&proof, out),
        HomeCommand::Move(args) => move_home(args, dir, out).await,
    }
}

async fn move_home(args: MoveArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let before = Before::read(dir).await?;
    let mut homes =
        if args.nodes.is_empty() { before.sample(&args, dir).await? } else { args.nodes.clone() };
    let plan = Plan::new(&before.list, &homes);
    if args.dry_run {
        out.result(&plan, show_plan);
        return Ok(());
    }
    if !args.yes {
        out.say(&show_plan(&plan));
        confirm()?;
    }
    let sampled = args.nodes.is_empty();
    loop {
        let result = wait_until_applied(dir, &homes, &before.pinned, args.wait, out).await;
        let Err(failure) = result else { return Ok(()) };
        // A node that was chosen at random may refuse the account: try the next one.
        if !(sampled && failure.passing && homes.len() > 1) {
            return Err(failure);
        }
        out.say(&format!("{}; trying the next one", failure.message));
        homes.remove(0);
    }
}

/// Drops the home nodes that refuse a new account, until the rest accept it. Returns whether one
/// does.
pub(super) async fn drop_refusing(
    dir: &DataDir,
    homes: &[NodeAddress],
    refusing: &[String],
    wait: WaitArgs,
    out: Output,
) -> Result<bool, Failure> {
    let is_refusing = |home: &NodeAddress, refusing: &[String]| {
        refusing.iter().any(|refusing| *refusing == home.to_string())
    };
    let (mut homes, mut refusing) = (homes.to_vec(), refusing.to_vec());
    while !refusing.is_empty() {
        homes.retain(|home| !is_refusing(home, &refusing));
        if homes.is_empty() {
            return Ok(false);
        }
        out.say(&format!("{} refuses the account; trying the others", refusing.join(", ")));
        let answer = set(dir, &homes, &[], wait).await?;
        refusing = if answer.trouble.is_some() {
            // Without the first one nothing takes effect.
            homes.first().map(ToString::to_string).into_iter().collect()
        } else if answer.published {
            let refusing = answer.homes.iter().filter(|home| home.trouble.is_some());
            refusing.map(|home| home.address.clone()).collect()
        } else {
            return Ok(false);
        };
    }
    Ok(true)
}

async fn set(
    dir: &DataDir,
    homes: &[NodeAddress],
    pinned: &[NodeId],
    wait: WaitArgs,
) -> Result<Homes, Failure> {
    let nodes = homes.iter().map(ToString::to_string).collect();
    let pinned = pinned.iter().map(ToString::to_string).collect();
    call(dir, HomeSet { nodes, pinned, wait_s: wait.seconds() }).await
}

/// Makes these the home nodes, waits, and shows what is left to do.
async fn wait_until_applied(
    dir: &DataDir,
    homes: &[NodeAddress],
    pinned: &[NodeId],
    wait: WaitArgs,
    out: Output,
) -> Result<(), Failure> {
    let answer = set(dir, homes, pinned, wait).await?;
    if let Some(trouble) = &answer.trouble {
        let failure = Failure::network(format!("nothing was changed: {trouble}"));
        return Err(Failure { passing: true, ..failure }.hint("choose another node"));
    }
    let address = |home: &Home| home.address.clone();
    let moved = answer.next.is_empty();
    out.result(&answer, |answer| answer.homes.first().map(address).unwrap_or_default());
    if wait.seconds() == 0 {
        return Ok(());
    }
    if !moved {
        return Err(Failure::network(
            "the new home node has not answered, so nothing has migrated yet",
        )
        .hint("run `siskin up` to finish, or `siskin home move` to the old home node to cancel"));
    }
    if !answer.published {
        return Err(Failure::network(
            "migrated, but the new home node doesn't have everything yet",
        )
        .hint("run `siskin up` to finish"));
    }
    for node in &answer.previous {
        out.say(&format!(
            "Not finished: {node} is not reachable. It can't redirect contacts, and requests may \
             wait in its inbox. Run `siskin up` to finish."
        ));
    }
    for node in &answer.unannounced {
        out.say(&format!(
            "Not finished: {node} has yet to learn where conversations are now. Run `siskin up` to \
             finish."
        ));
    }
    Ok(())
}

/// The home nodes before a command.
struct Before {
    list: Homes,
    homes: Vec<NodeAddress>,
    pinned: Vec<NodeId>,
    /// Nodes that are proven faulty; they are neither chosen at random nor kept.
    proven_faulty: Vec<NodeId>,
}

impl Before {
    async fn read(dir: &DataDir) -> Result<Self, Failure> {
        Self::of(call(dir, HomeList {}).await?)
    }

    fn of(list: Homes) -> Result<Self, Failure> {
        let parse = |text: &str| {
            text.parse::<NodeAddress>()
                .map_err(|error| Failure::user(format!("a node's address `{text}`: {error}")))
        };
        let homes =
            list.homes.iter().map(|home| parse(&home.address)).collect::<Result<Vec<_>, _>>()?;
        let pinned = list.homes.iter().zip(&homes).filter(|(home, _)| home.pinned);
        let pinned = pinned.map(|(_, address)| address.node).collect();
        let proven_faulty = list.homes.iter().zip(&homes).filter(|(home, _)| home.proven_faulty);
        let proven_faulty = proven_faulty.map(|(_, address)| address.node);
        let former = list.proven_faulty.iter().filter_map(|node| node.parse().ok());
        let proven_faulty = proven_faulty.chain(former).collect();
        Ok(Self { list, homes, pinned, proven_faulty })
    }

    /// Returns whether a home node is kept when home nodes are chosen at random.
    fn is_kept(&self, node: &NodeId) -> bool {
        self.pinned.contains(node) && !self.proven_faulty.contains(node)
    }

    /// Returns whether a node may be chosen at random.
    fn may_become_home(&self, node: &NodeId) -> bool {
        let serves = self.homes.first().is_some_and(|home| home.node == *node);
        !serves && !self.proven_faulty.contains(node)
    }

    /// Chooses home nodes at random, after those that are pinned.
    async fn sample(&self, args: &MoveArgs, dir: &DataDir) -> Result<Vec<NodeAddress>, Failure> {
        let bootstrap = match args.bootstrap.first() {
            Some(node) => node.clone(),
            None => lookup::some_node(dir).await?,
        };
        let mut sample = lookup::sample(&bootstrap).await?;
        if self.homes.first().is_some_and(|serves| self.is_kept(&serves.node)) {
            return Err(Failure::user("your primary home is pinned")
                .hint("unpin it with `siskin home unpin`, or name the new home node"));
        }
        sample.retain(|(record, _)| self.may_become_home(&record.node()));
        let kept: Vec<_> =
            self.homes.iter().filter(|old| self.is_kept(&old.node)).cloned().collect();
        let secret = keys::random()?;
        let homes = choose_homes(&sample, &kept, usize::from(args.count).max(kept.len()), &secret);
        if homes == kept {
            return Err(Failure::user("found no node to migrate to")
                .hint("name one, or choose another node with --bootstrap ADDRESS"));
        }
        Ok(homes)
    }
}

/// Chooses home nodes at random for a new account.
pub(super) async fn sample_new(bootstrap: &NodeAddress) -> Result<Vec<NodeAddress>, Failure> {
    let sample = lookup::sample(bootstrap).await?;
    let homes = choose_homes(&sample, &[], HOMES_WANTED, &*keys::random()?);
    if homes.is_empty() {
        return Err(Failure::network("found no home node").hint("name one with --node ADDRESS"));
    }
    Ok(homes)
}

/// Asks all home nodes concurrently for their records.
async fn ask_all(homes: &mut Homes) {
    let mut asked = JoinSet::new();
    for (at, home) in homes.homes.iter().enumerate() {
        if let Ok(address) = home.address.parse::<NodeAddress>() {
            asked.spawn(async move { (at, lookup::look_at(&address).await) });
        }
    }
    while let Some(answer) = asked.join_next().await {
        let Ok((at, Ok((record, took)))) = answer else { continue };
        let Some(home) = homes.homes.get_mut(at) else { continue };
        home.round_trip_ms = Some(took.as_secs_f64() * 1000.0);
        let Some(says) = record.as_ref().map(|record| record.says()) else { continue };
        home.operator = says.operator.map(|key| key.to_string());
        home.capacity_bytes = Some(says.capacity_bytes);
        home.region = Some(says.region.clone()).filter(|region| !region.is_empty());
    }
}

fn confirm() -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("can't ask for confirmation: standard input is not a terminal")
            .hint("add --yes to confirm"));
    }
    let mut err = io::stderr().lock();
    let _ = write!(err, "Migrate? [y/N] ").and_then(|()| err.flush());
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::io("standard input", &error))?;
    match line.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::user("nothing was changed")),
    }
}

fn is_in(homes: &[NodeAddress], node: NodeId) -> bool {
    homes.iter().any(|home| home.node == node)
}

/// Returns whether a text is the id or the address of a node.
fn names(text: &str, node: &NodeId) -> bool {
    text.split('@').next().is_some_and(|name| name == node.to_string())
}

/// Default number of signatures for a stored message: any two nodes may be lost, and one of four
/// may be slow.
const ACKS_WANTED_MAX: u32 = 3;
/// Default number of home nodes: primary, secondary, and one in reserve.
pub(crate) const HOMES_WANTED: usize = 3;

#[cfg(test)]
mod tests;
