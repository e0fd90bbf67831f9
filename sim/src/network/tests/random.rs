//! What must hold whatever happens, over many seeds.

use std::collections::{BTreeMap, BTreeSet};

use super::{good_day::stormy, *};

/// What one end was told, and has said. By link and host: no host dials itself here.
#[derive(Debug)]
struct Told {
    side: Side,
    /// Its driver has no more to do with it.
    over: bool,
    /// Frames, per lane.
    sent: [u32; 3],
    heard: [u32; 3],
}

#[derive(Debug, Default)]
struct Record {
    ends: BTreeMap<(LinkId, HostId), Told>,
    /// Dials of each host without an outcome.
    dials: BTreeMap<HostId, usize>,
}

impl Record {
    fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::Connected { host, link, side, .. } => {
                if *side == Side::Dialler {
                    self.answered(*host);
                }
                let told = Told { side: *side, over: false, sent: [0; 3], heard: [0; 3] };
                assert!(self.ends.insert((*link, *host), told).is_none(), "connected once");
            }
            Notice::NotConnected { host, .. } => self.answered(*host),
            Notice::Arrived { host, link, bytes } => {
                let told = self.ends.get_mut(&(*link, *host)).expect("connected before");
                assert!(!told.over, "nothing arrives after the end");
                let lane = usize::from(bytes[0]);
                let number = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
                assert_eq!(told.heard[lane], number, "each once and in order");
                told.heard[lane] += 1;
            }
            Notice::Ended { host, link } => {
                let told = self.ends.get_mut(&(*link, *host)).expect("connected before");
                assert!(!std::mem::replace(&mut told.over, true), "ended once");
            }
        }
    }

    fn answered(&mut self, host: HostId) {
        let dials = self.dials.get_mut(&host).expect("dialled before");
        *dials = dials.checked_sub(1).expect("one outcome of each dial");
    }

    fn open(&self) -> Vec<(LinkId, HostId)> {
        self.ends.iter().filter(|(_, told)| !told.over).map(|(end, _)| *end).collect()
    }
}

/// Says a few things on a connection, or hangs it up.
fn use_link(rig: &mut Rig, record: &mut Record, rng: &mut Rng) {
    let open = record.open();
    let Some(end) = rng.pick(&open) else { return };
    let told = record.ends.get_mut(end).unwrap();
    let way = (end.0, told.side);
    let (most, size) = if rng.chance(0.02) { (30, 60_000) } else { (6, 100) };
    for _ in 0..rng.below(most) {
        let lane = rng.index(3);
        let mut bytes = vec![u8::try_from(lane).unwrap()];
        bytes.extend(told.sent[lane].to_be_bytes());
        bytes.resize(if rng.chance(0.5) { size } else { 100 }, 0);
        told.sent[lane] += 1;
        rig.send(way.0, way.1, [Lane::Control, Lane::Messages, Lane::Bulk][lane], &bytes);
    }
    if rng.chance(0.02) {
        told.over = true;
        rig.hang_up(way.0, way.1);
    }
}

fn kill(rig: &mut Rig, record: &mut Record, host: usize) {
    rig.die(host);
    let id = rig.hosts[host].0;
    record.dials.remove(&id);
    for (_, told) in record.ends.iter_mut().filter(|((_, host), _)| *host == id) {
        told.over = true;
    }
}

/// Lets time pass, and looks at everything that a driver would be told.
fn pass(rig: &mut Rig, record: &mut Record, seconds: f64) {
    rig.run(seconds);
    rig.seen.drain(..).for_each(|(_, notice)| record.note(&notice));
}

/// Something random happens to a random host.
fn happen(rig: &mut Rig, record: &mut Record, cuts: &mut BTreeSet<usize>, rng: &mut Rng) {
    let (a, b) = (rng.index(rig.hosts.len()), rng.index(rig.hosts.len()));
    match rng.below(100) {
        0 => kill(rig, record, a),
        1..=3 => rig.rise(a),
        4..=14 if a != b && rig.network.paths.is_up(rig.hosts[a].0) => {
            rig.dial(a, b, if rng.chance(0.9) { b } else { a });
            *record.dials.entry(rig.hosts[a].0).or_default() += 1;
        }
        15..=18 => {
            let cut = rng.index(3);
            cuts.insert(cut);
            rig.cut(cut, &[a, b]);
        }
        19..=28 => {
            if let Some(cut) = cuts.pop_first() {
                rig.heal(cut);
            }
        }
        29 => rig.network.worsen(rig.hosts[a].0, if rng.chance(0.5) { 0.0 } else { 0.5 }),
        _ => use_link(rig, record, rng),
    }
}

/// Ends all faults. Ends that are still connected then have received everything.
fn quiesce(rig: &mut Rig, record: &mut Record, cuts: BTreeSet<usize>) {
    for cut in cuts {
        rig.heal(cut);
    }
    for host in 0..rig.hosts.len() {
        rig.network.worsen(rig.hosts[host].0, 0.0);
        rig.rise(host);
    }
    pass(rig, record, 400.0);
    assert!(record.dials.values().all(|dials| *dials == 0));
    for (link, _) in record.open() {
        let hosts = rig.network.links[&link].hosts();
        let [a, b] = hosts.map(|host| &record.ends[&(link, host)]);
        assert_eq!((a.over, b.over), (false, false), "both ends are connected");
        assert_eq!((a.sent, b.sent), (b.heard, a.heard), "all has arrived");
    }
}

/// Half of the hosts die permanently, or all are cut off permanently. No end stays connected to
/// those.
fn make_an_end(rig: &mut Rig, record: &mut Record, rng: &mut Rng) {
    if rng.chance(0.5) {
        (0..2).for_each(|host| kill(rig, record, host));
    } else {
        (100..).zip(0..4).for_each(|(cut, host)| rig.cut(cut, &[host]));
    }
    pass(rig, record, 200.0);
    for (link, _) in record.open() {
        let link = &rig.network.links[&link];
        assert!(link.severed(&rig.network.paths).is_none());
        assert!(link.hosts().into_iter().all(|host| rig.network.paths.is_up(host)));
    }
    assert!(rig.network.links.len() <= record.open().len());
}

#[test]
fn notices_keep_their_contract_whatever_happens() {
    let (mut frames, mut lived) = (0, 0);
    for seed in 0..200 {
        let mut rng = Rng::new(seed, "test", 0);
        let weather = if rng.chance(0.5) { stormy() } else { calm() };
        let weather = Weather { near: [ms(1), ms(500)], far: [ms(1), ms(500)], ..weather };
        let bps = if rng.chance(0.5) { 1_000_000 } else { 0 };
        let mut rig = Rig::new(weather, seed, 4, bps);
        let (mut record, mut cuts) = (Record::default(), BTreeSet::new());
        // Some live faster than others.
        let pace = *rng.pick(&[5_000, 100_000, 1_000_000, 10_000_000]).unwrap();
        for _ in 0..400 {
            happen(&mut rig, &mut record, &mut cuts, &mut rng);
            let pause = rng.below(pace) as f64 / 1_000_000.0;
            pass(&mut rig, &mut record, pause);
        }
        if rng.chance(0.5) {
            quiesce(&mut rig, &mut record, cuts);
            lived += record.open().len();
        }
        make_an_end(&mut rig, &mut record, &mut rng);
        frames += record.ends.values().map(|told| told.heard.iter().sum::<u32>()).sum::<u32>();
    }
    assert!(frames > 5_000 && lived > 50, "{frames} frames, {lived} connections");
}
