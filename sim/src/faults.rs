//! Faults: what the scenario says goes wrong, begun and ended.

use crate::{
    disk::Disk,
    driver::Ending,
    env::Happening,
    network::HostId,
    scenario::{Fault, What, Who},
    world::World,
};

impl World<'_> {
    /// Starts all hosts that are there from the beginning.
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
            let begins = self.env.now.after(fault.at.0);
            self.env.queue.enter(begins, Happening::Begin(number));
            if let Some(lasts) = fault.lasts {
                self.env.queue.enter(begins.after(lasts.0), Happening::End(number));
            }
        }
    }

    /// Ends all faults. Hosts that are down start again, unless they left permanently.
    pub(crate) fn quiesce(&mut self) {
        for number in self.active.clone() {
            if self.faults.get(number).is_some_and(|fault| !fault.is_permanent()) {
                self.finish(number);
            }
        }
        self.dark.clear();
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
        let forever = fault.is_permanent();
        self.active.insert(number);
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
                    world.at(host, |host, env| host.stall(true, env));
                    if forever {
                        world.gone.entry(host).or_insert(world.env.now);
                    }
                });
            }
            What::Partition => {
                self.each(&fault, |world, who| {
                    world.tell(who, "is cut off");
                    if forever {
                        let (host, now) = (world.host_of(who), world.env.now);
                        world.gone.entry(host).or_insert(now);
                    }
                });
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
                world.env.network.worsen(host, BAD_LINK_LOSS);
            }),
        }
    }

    /// A fault ends. What it did to a host goes on if another one does the same.
    pub(crate) fn finish(&mut self, number: usize) {
        let Some(fault) = self.faults.get(number).cloned() else { return };
        if !self.active.remove(&number) {
            return;
        }
        if matches!(fault.what, What::Stall | What::Partition) {
            let env = &mut self.env;
            env.network.heal(number, env.now, &mut env.queue);
        }
        self.each(&fault, |world, who| match fault.what {
            What::Crash | What::Kill | What::Stop => world.start(who),
            What::Partition => world.tell(who, "is reachable again"),
            _ if world.suffers(who, fault.what) => {}
            What::CrashInSync => {
                if let Some((host, _)) = world.host(who) {
                    host.dies_in_sync(false);
                }
            }
            What::Stall => {
                world.tell(who, "goes on");
                let host = world.host_of(who);
                world.at(host, |host, env| host.stall(false, env));
            }
            What::SlowDisk => world.set_disk(who, |disk| disk.slow = false),
            What::FullDisk => world.set_disk(who, |disk| disk.full = false),
            What::BadLink => {
                let host = world.host_of(who);
                world.env.network.worsen(host, 0.0);
            }
            What::Join => {}
        });
    }

    /// Returns whether something goes wrong with a host just now.
    fn suffers(&self, who: Who, what: What) -> bool {
        let active = self.active.iter().filter_map(|number| self.faults.get(*number));
        active.into_iter().any(|fault| fault.what == what && fault.who.contains(&who))
    }

    /// Returns whether a host can't run.
    pub(crate) fn is_held_down(&self, who: Who) -> bool {
        let host = self.host_of(who);
        let down = [What::Crash, What::Kill, What::Stop];
        self.is_gone(who)
            || self.dark.contains(&host)
            || down.into_iter().any(|what| self.suffers(who, what))
    }

    /// The power failed in the middle of a sync; it comes back a while later, when the fault says
    /// so.
    pub(crate) fn died_in_sync(&mut self, who: Who) {
        self.tell(who, "loses power in a sync");
        let host = self.host_of(who);
        self.dark.insert(host);
        let active = self.active.iter().filter_map(|number| self.faults.get(*number));
        let mut ours = active.filter(|f| f.what == What::CrashInSync && f.who.contains(&who));
        if ours.clone().any(Fault::is_permanent) {
            self.gone.entry(host).or_insert(self.env.now);
        } else if let Some(lasts) = ours.next().and_then(|fault| fault.lasts) {
            self.env.queue.enter(self.env.now.after(lasts.0), Happening::PowerReturns(host));
        }
    }

    /// The power that failed in a sync is back.
    pub(crate) fn power_returns(&mut self, host: HostId) {
        self.dark.remove(&host);
        self.start(self.who_is(host));
    }

    fn end_all(&mut self, fault: &Fault, ending: Ending) {
        let forever = fault.is_permanent();
        self.each(fault, |world, who| world.end(who, ending, forever));
    }

    fn each(&mut self, fault: &Fault, mut act: impl FnMut(&mut Self, Who)) {
        fault.who.iter().for_each(|who| act(self, *who));
    }

    fn set_disk(&mut self, who: Who, set: impl FnOnce(&mut Disk)) {
        if let Some((host, _)) = self.host(who) {
            set(host.disk());
        }
    }

    fn cut(&mut self, number: usize, fault: &Fault) {
        let hosts: Vec<HostId> = fault.who.iter().map(|who| self.host_of(*who)).collect();
        let env = &mut self.env;
        env.network.cut(number, &hosts, env.now, &mut env.queue);
    }
}

/// Four packets of five.
const BAD_LINK_LOSS: f64 = 0.8;
