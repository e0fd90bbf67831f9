//! Lists, saves and checks proofs that a node has lost an entry for which it had signed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crypto::node::LossProof;
use serde::Serialize;

use crate::{
    failure::Failure,
    output::Output,
    paths::DataDir,
    rpc::{HomeProofs, Proof, call},
};

/// Lists proofs, and saves them if a directory is given.
pub(super) async fn list(save: Option<&Path>, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let proofs = call(dir, HomeProofs {}).await?;
    if let Some(directory) = save {
        for proof in &proofs {
            let path = save_in(directory, proof)?;
            out.say(&format!("saved {}", path.display()));
        }
    }
    out.result(&proofs, |proofs| {
        if proofs.is_empty() {
            return "there are no proofs".to_owned();
        }
        proofs.iter().map(|proof| describe(&Lost::from(proof))).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

/// Checks a saved proof.
pub(super) fn check(path: &Path, out: Output) -> Result<(), Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::io(path.display(), &error))?;
    let proof = LossProof::decode(&bytes).map_err(|error| {
        Failure::user(format!("{} is not a valid proof: {error}", path.display()))
    })?;
    let lost = Lost {
        node: proof.node.to_string(),
        entry: proof.envelope.id().to_string(),
        log: proof.envelope.head.log.to_string(),
    };
    out.result(&lost, describe);
    Ok(())
}

/// Which node has lost which entry.
#[derive(Serialize)]
struct Lost {
    node: String,
    entry: String,
    log: String,
}

impl From<&Proof> for Lost {
    fn from(proof: &Proof) -> Self {
        let Proof { node, entry, log, .. } = proof;
        Self { node: node.clone(), entry: entry.clone(), log: log.clone() }
    }
}

fn describe(Lost { node, entry, log }: &Lost) -> String {
    format!("{node} has signed for entry {entry} of log {log}, and later that it doesn't have it")
}

fn save_in(directory: &Path, proof: &Proof) -> Result<PathBuf, Failure> {
    let path = directory.join(format!("{}.proof", proof.node));
    let bytes = unhex(&proof.proof)
        .ok_or_else(|| Failure::user("the daemon has returned a malformed proof"))?;
    fs::write(&path, bytes).map_err(|error| Failure::io(path.display(), &error))?;
    Ok(path)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}
