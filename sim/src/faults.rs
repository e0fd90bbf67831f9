//! Faults: what the scenario says goes wrong, begun and ended.

use crate::{
    driver::Ending,
    network::HostId,
    scenario::{Fault, What, Who},
    stage::Happening,
    world::World,
};

impl World<'_> {
    /// Starts everybody who is there from the beginning.
    pub(crate) fn start_all(&mut self) {
        let late = self.faults.iter().filter(|fault| fault.what == What::Join);
        let late: Vec<Who> = late.flat_map(|fault| fault.who.iter().copied()).collect();
        for who in self.everybody() {
            if !late.contains(&who) {
                self.start(who);
            }
        }
    }

    /// Enters all faults, the first moment being now.
    pub(crate) fn plan_faults(&mut self) {
        for (number, fault) in self.faults.iter().enumerate() {
            let begins = self.stage.now.after(fault.at.0);
            self.stage.agenda.enter(begins, Happening::Begin(number));
            if let Some(lasts) = fault.lasts {
                self.stage.agenda.enter(begins.after(lasts.0), Happening::End(number));
            }
        }
    }

    /// Ends all faults; whoever is away comes back, unless it left for ever.
    pub(crate) fn make_peace(&mut self) {
        for number in 0..self.faults.len() {
            if self.faults.get(number).is_some_and(|fault| !fault.for_ever()) {
                self.finish(number);
            }
        }
        self.away.clear();
        for who in self.everybody() {
            if let Some((host, _)) = self.host(who) {
                host.dies_in_sync(false);
            }
            self.start(who);
        }
    }

    pub(crate) fn everybody(&self) -> Vec<Who> {
        let nodes = (0..self.scenario.nodes).map(Who::Node);
        nodes.chain((0..self.scenario.people).map(Who::Person)).collect()
    }

    pub(crate) fn begin(&mut self, number: usize) {
        let Some(fault) = self.faults.get(number).cloned() else { return };
        let forever = fault.for_ever();
        match fault.what {
            What::Crash => self.end_all(&fault, Ending::Crash),
            What::Kill => self.end_all(&fault, Ending::Kill),
            What::Stop => self.end_all(&fault, Ending::Stop),
            What::Join => fault.who.iter().for_each(|who| self.start(*who)),
            What::CrashInSync => self.each(&fault, |world, who| {
                if let Some((host, _)) = world.host(who) {
                    host.dies_in_sync(true);
                }
            }),
            What::Stall => {
                self.cut(number, &fault);
                self.each(&fault, |world, who| {
                    world.tell(who, "hangs");
                    let host = world.host_of(who);
                    world.at(host, |host, stage| host.stall(true, stage));
                    if forever {
                        world.gone.insert(host);
                    }
                });
            }
            What::Partition => {
                self.each(&fault, |world, who| world.tell(who, "is cut off"));
                self.cut(number, &fault);
            }
            What::SlowDisk => self.each(&fault, |world, who| {
                world.tell(who, "has a slow disk");
                world.set_disk(who, |disk| disk.slow = true);
            }),
            What::FullDisk => self.each(&fault, |world, who| {
                world.tell(who, "has a full disk");
                world.set_disk(who, |disk| disk.full = true);
            }),
            What::BadLink => self.each(&fault, |world, who| {
                world.tell(who, "has a bad link");
                let host = world.host_of(who);
                world.stage.network.worsen(host, BAD_LINK_LOSS);
            }),
        }
    }

    pub(crate) fn finish(&mut self, number: usize) {
        let Some(fault) = self.faults.get(number).cloned() else { return };
        match fault.what {
            What::Crash | What::Kill | What::Stop => {
                fault.who.iter().for_each(|who| self.come_back(*who));
            }
            What::CrashInSync => self.each(&fault, |world, who| {
                if let Some((host, _)) = world.host(who) {
                    host.dies_in_sync(false);
                }
            }),
            What::Stall => {
                self.heal(number);
                self.each(&fault, |world, who| {
                    world.tell(who, "goes on");
                    let host = world.host_of(who);
                    world.at(host, |host, stage| host.stall(false, stage));
                });
            }
            What::Partition => {
                self.each(&fault, |world, who| world.tell(who, "is reachable again"));
                self.heal(number);
            }
            What::SlowDisk => {
                self.each(&fault, |world, who| world.set_disk(who, |disk| disk.slow = false));
            }
            What::FullDisk => {
                self.each(&fault, |world, who| world.set_disk(who, |disk| disk.full = false));
            }
            What::BadLink => self.each(&fault, |world, who| {
                let host = world.host_of(who);
                world.stage.network.worsen(host, 0.0);
            }),
            What::Join => {}
        }
    }

    /// The power failed in the middle of a sync; it comes back a while later, when the fault says
    /// so.
    pub(crate) fn died_in_sync(&mut self, who: Who) {
        self.tell(who, "loses power in a sync");
        let mut faults = self.faults.iter();
        let fault = faults.find(|f| f.what == What::CrashInSync && f.who.contains(&who));
        match fault.and_then(|fault| fault.lasts) {
            Some(lasts) => {
                let back = self.stage.now.after(lasts.0);
                let host = self.host_of(who);
                let held = self.away.entry(host).or_default();
                *held = held.saturating_add(1);
                self.stage.agenda.enter(back, Happening::PowerReturns(host));
            }
            None => _ = self.gone.insert(self.host_of(who)),
        }
    }

    fn end_all(&mut self, fault: &Fault, ending: Ending) {
        let forever = fault.for_ever();
        self.each(fault, |world, who| {
            let host = world.host_of(who);
            let held = world.away.entry(host).or_default();
            *held = held.saturating_add(1);
            world.end(who, ending, forever);
        });
    }

    /// A fault keeps a host down no longer: it starts, unless another one does.
    pub(crate) fn come_back(&mut self, who: Who) {
        let host = self.host_of(who);
        if let Some(held) = self.away.get_mut(&host) {
            *held = held.saturating_sub(1);
        }
        self.start(who);
    }

    fn each(&mut self, fault: &Fault, mut act: impl FnMut(&mut Self, Who)) {
        fault.who.iter().for_each(|who| act(self, *who));
    }

    fn set_disk(&mut self, who: Who, set: impl FnOnce(&mut crate::disk::Disk)) {
        if let Some((host, _)) = self.host(who) {
            set(host.disk());
        }
    }

    fn cut(&mut self, number: usize, fault: &Fault) {
        let hosts: Vec<HostId> = fault.who.iter().map(|who| self.host_of(*who)).collect();
        let stage = &mut self.stage;
        stage.network.cut(number, &hosts, stage.now, &mut stage.agenda);
    }

    fn heal(&mut self, number: usize) {
        let stage = &mut self.stage;
        stage.network.heal(number, stage.now, &mut stage.agenda);
    }
}

/// Four packets of five.
const BAD_LINK_LOSS: f64 = 0.8;
