//! The settings of a node: a TOML file, overridden by the command line.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ::node::{NodeConfig, Registration};
use crypto::SigningKey;
use proto::{NodeAddress, NodeId, PublicKey, limits};
use serde::Deserialize;

use crate::{
    cli::{self, RunArgs},
    failure::Failure,
    keys,
    paths::DataDir,
};

/// The settings of a node.
#[derive(Debug)]
pub(super) struct NodeSettings {
    pub(super) data_dir: PathBuf,
    /// Empty: on all addresses.
    pub(super) listen: Vec<SocketAddr>,
    pub(super) advertise: Vec<SocketAddr>,
    pub(super) disk_cap_bytes: u64,
    pub(super) account_quota_bytes: u64,
    pub(super) reserve_after: Duration,
    pub(super) reserve_kept: Duration,
    pub(super) registration: Registration,
    pub(super) join: Vec<NodeAddress>,
    /// Discover nodes on the same LAN.
    pub(super) mdns: bool,
    pub(super) region: String,
    pub(super) operator: Option<PublicKey>,
    /// Where metrics are served.
    pub(super) metrics: Option<SocketAddr>,
}

/// Reads the file, if one is given, and applies the command line.
pub(super) fn read(args: RunArgs, dir: &DataDir) -> Result<NodeSettings, Failure> {
    let file = match &args.config {
        Some(path) => {
            let text =
                fs::read_to_string(path).map_err(|error| Failure::io(path.display(), &error))?;
            toml::from_str(&text).map_err(|error: toml::de::Error| {
                // The rest of the error repeats the line of the file.
                Failure::usage(format!("{}: {}", path.display(), error.message()))
                    .hint(format!("the settings are {}", KEYS.join(", ")))
            })?
        }
        None => File::default(),
    };
    let defaults = NodeConfig::new(NodeId::default());
    let bytes = |text: Option<String>, default| text.map_or(Ok(default), |text| size(&text));
    let time = |text: Option<String>, default| {
        let text = text.as_deref();
        text.map_or(Ok(default), |text| cli::duration(text).map_err(Failure::usage))
    };
    let registration = args.registration.or(file.registration);
    let operator = args.operator.or(file.operator);
    Ok(NodeSettings {
        data_dir: args.data_dir.or(file.data_dir).unwrap_or_else(|| dir.node()),
        listen: if args.listen.is_empty() { file.listen } else { args.listen },
        advertise: if args.advertise.is_empty() { file.advertise } else { args.advertise },
        disk_cap_bytes: bytes(args.disk_cap.or(file.disk_cap), defaults.disk_cap_bytes)?,
        account_quota_bytes: bytes(file.account_quota, defaults.account_quota_bytes)?,
        reserve_after: time(file.reserve_after, defaults.reserve_after)?,
        reserve_kept: time(file.reserve_kept, defaults.reserve_kept)?,
        registration: match registration.as_deref() {
            None | Some("open") => Registration::Open,
            Some("closed") => Registration::Closed,
            Some(other) => {
                return Err(Failure::usage(format!(
                    "registration must be open or closed, not `{other}`"
                )));
            }
        },
        join: if args.join.is_empty() { addresses(&file.join)? } else { args.join },
        mdns: !args.no_mdns && file.mdns.unwrap_or(true),
        region: region(args.region.or(file.region).unwrap_or_default())?,
        operator: operator.map(|text| public_key(&text)).transpose()?,
        metrics: args.metrics.or(file.metrics),
    })
}

fn addresses(texts: &[String]) -> Result<Vec<NodeAddress>, Failure> {
    let parse = |text: &String| {
        text.parse().map_err(|error| {
            Failure::usage(format!("`{text}`: {error}"))
                .hint("a node prints its address when it starts")
        })
    };
    texts.iter().map(parse).collect()
}

fn region(text: String) -> Result<String, Failure> {
    if text.len() > limits::REGION_MAX || text.chars().any(char::is_control) {
        let hint = format!("use up to {} bytes, such as DE or eu-west", limits::REGION_MAX);
        return Err(Failure::usage("the name of the region is too long or has control characters")
            .hint(hint));
    }
    Ok(text)
}

/// Parses a public key, or reads it from a key file.
fn public_key(text: &str) -> Result<PublicKey, Failure> {
    let digits = text.as_bytes().as_chunks::<2>();
    if let (pairs, []) = digits
        && pairs.len() == 32
    {
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        if let Some(Ok(key)) = bytes.map(|bytes| PublicKey::try_from(bytes.as_slice())) {
            return Ok(key);
        }
    }
    if !Path::new(text).exists() {
        return Err(Failure::usage(format!("`{text}` is neither a key nor a key file"))
            .hint("a key has 64 hexadecimal digits"));
    }
    Ok(SigningKey::from_seed(*keys::load_or_make(Path::new(text))?).public())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    data_dir: Option<PathBuf>,
    listen: Vec<SocketAddr>,
    advertise: Vec<SocketAddr>,
    disk_cap: Option<String>,
    account_quota: Option<String>,
    #[serde(alias = "standby_after")]
    reserve_after: Option<String>,
    #[serde(alias = "standby_kept")]
    reserve_kept: Option<String>,
    registration: Option<String>,
    join: Vec<String>,
    mdns: Option<bool>,
    region: Option<String>,
    operator: Option<String>,
    metrics: Option<SocketAddr>,
}

/// Parses a size such as `500MB` or `8GiB`.
fn size(text: &str) -> Result<u64, Failure> {
    let wrong = || {
        Failure::usage(format!("`{text}` is not a size"))
            .hint("use a size such as 500MB, 8GiB or 1000000")
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let unit = unit.trim();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)).ok_or_else(wrong)
}

const KEYS: [&str; 13] = [
    "data_dir",
    "listen",
    "advertise",
    "disk_cap",
    "account_quota",
    "reserve_after",
    "reserve_kept",
    "registration",
    "join",
    "mdns",
    "region",
    "operator",
    "metrics",
];
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(size("8GiB"), Ok(8 << 30));
        assert_eq!(size("500 MB"), Ok(500_000_000));
        assert_eq!(size("7"), Ok(7));
        for wrong in ["", "GiB", "8 gigs", "-1", "99999999999TiB", "1.5GB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_read_or_come_from_a_file() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("operator.key");
        let key = SigningKey::from_seed(*keys::load_or_make(&file).unwrap()).public();
        assert_eq!(public_key(file.to_str().unwrap()), Ok(key));
        assert_eq!(public_key(&key.to_string()), Ok(key));
        assert!(public_key("0123").is_err() && public_key(&"xy".repeat(32)).is_err());
        assert!(!Path::new("0123").exists(), "nothing is made");
    }

    #[test]
    fn the_named_settings_are_all_there_are() {
        for key in KEYS {
            let error = toml::from_str::<File>(&format!("{key} = 1")).err().unwrap();
            assert!(!error.message().contains("unknown"), "{key}");
        }
        let error = toml::from_str::<File>("colour = 1").err().unwrap();
        assert!(error.message().contains("`colour`"), "{}", error.message());
    }
}
