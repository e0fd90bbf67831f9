//! A NAT: from outside it lets in packets only from where the inside has sent to.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::net::UdpSocket;

use crate::lock::lock;

/// Which address the outside sees.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mapping {
    /// Another one for each destination: a symmetric NAT.
    Symmetric,
    /// The same one for all destinations: a port-restricted cone NAT.
    Cone,
}

pub(super) struct Nat(Arc<State>);

struct State {
    mapping: Mapping,
    /// The socket by which packets to each destination leave.
    ways: Mutex<BTreeMap<SocketAddr, Arc<Outside>>>,
    passed: AtomicUsize,
    refused: AtomicUsize,
}

struct Outside {
    socket: UdpSocket,
    /// Which source may send in, by which socket, and to which inside address.
    admitted: Mutex<BTreeMap<SocketAddr, (Arc<UdpSocket>, SocketAddr)>>,
}

impl Nat {
    pub(super) fn new(mapping: Mapping) -> Self {
        let (ways, passed, refused) = Default::default();
        Self(Arc::new(State { mapping, ways, passed, refused }))
    }

    /// Returns where the inside must send to in order to reach `place`.
    pub(super) async fn way_to(&self, place: SocketAddr) -> SocketAddr {
        let inside = Arc::new(bind(place).await);
        let known = match self.0.mapping {
            Mapping::Symmetric => None,
            Mapping::Cone => lock(&self.0.ways).values().next().cloned(),
        };
        let outside = match known {
            Some(outside) => outside,
            None => self.outside(place).await,
        };
        lock(&self.0.ways).insert(place, outside);
        let (state, entrance) = (Arc::clone(&self.0), inside.local_addr().unwrap());
        tokio::spawn(async move {
            let mut packet = [0; 2048];
            loop {
                let Ok((length, from)) = inside.recv_from(&mut packet).await else { continue };
                let outside = Arc::clone(&lock(&state.ways)[&place]);
                lock(&outside.admitted).insert(place, (Arc::clone(&inside), from));
                let _ = outside.socket.send_to(&packet[..length], place).await;
                state.passed.fetch_add(1, Relaxed);
            }
        });
        entrance
    }

    /// Forgets all mappings, and changes its own address.
    pub(super) async fn move_on(&self) {
        let places: Vec<_> = lock(&self.0.ways).keys().copied().collect();
        let mut moved = None;
        for place in places {
            let outside = match (self.0.mapping, &moved) {
                (Mapping::Cone, Some(outside)) => Arc::clone(outside),
                _ => self.outside(place).await,
            };
            moved = Some(Arc::clone(&outside));
            let old = lock(&self.0.ways).insert(place, outside).unwrap();
            lock(&old.admitted).clear();
        }
    }

    /// Returns the address that the outside sees.
    pub(super) fn outsides(&self) -> Vec<SocketAddr> {
        lock(&self.0.ways).values().map(|way| way.socket.local_addr().unwrap()).collect()
    }

    /// Packets that went out.
    pub(super) fn passed(&self) -> usize {
        self.0.passed.load(Relaxed)
    }

    /// Unsolicited packets that were refused.
    pub(super) fn refused(&self) -> usize {
        self.0.refused.load(Relaxed)
    }

    async fn outside(&self, towards: SocketAddr) -> Arc<Outside> {
        let outside = Arc::new(Outside { socket: bind(towards).await, admitted: Mutex::default() });
        let (state, watched) = (Arc::clone(&self.0), Arc::clone(&outside));
        tokio::spawn(async move {
            let mut packet = [0; 2048];
            loop {
                let received = watched.socket.recv_from(&mut packet).await;
                let Ok((length, from)) = received else { continue };
                let admitted = lock(&watched.admitted).get(&from).cloned();
                match admitted {
                    Some((inside, to)) => _ = inside.send_to(&packet[..length], to).await,
                    None => _ = state.refused.fetch_add(1, Relaxed),
                }
            }
        });
        outside
    }
}

async fn bind(towards: SocketAddr) -> UdpSocket {
    UdpSocket::bind((towards.ip(), 0)).await.unwrap()
}
