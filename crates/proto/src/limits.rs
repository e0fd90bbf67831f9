//! Limits that every member of the network keeps, each with its reason. Whatever a peer can make
//! grow has one; local settings, which may differ between machines, are in their own crates.

/// An envelope's signed bytes. Fits a page of text; anything larger is a blob.
pub const ENVELOPE_MAX: usize = 64 * 1024;
/// An envelope's extension: a few keys.
pub const EXTENSION_MAX: usize = 1024;
/// One frame: an envelope, or a page of them, and what the frame says around it.
pub const FRAME_MAX: usize = 256 * 1024;
/// Bytes of entries in one page: leaves room for the frame around it.
pub const PAGE_BYTES_MAX: usize = 192 * 1024;
/// Entries in one page: what a screen or two can show.
pub const PAGE_MAX: usize = 256;
/// One portion of coded symbols: 2,048 of at most 34 bytes, and their number.
pub const PORTION_BYTES_MAX: usize = 2048 * 34 + 16;
/// Names in one request for missing envelopes.
pub const FETCH_MAX: usize = 64;
/// Dependencies of one message: more heads than that are merged by the next message.
pub const DEPENDENCIES_MAX: usize = 8;
/// The highest position: more than any log will ever have entries.
pub const POSITION_MAX: u64 = 1 << 48;
/// Devices of one account.
pub const DEVICES_MAX: usize = 16;
/// Nodes of a ranking.
pub const RANKING_MAX: usize = 8;
/// Active homes of an account, unless it wants more: a primary and a secondary.
pub const COPIES_MIN: u32 = 2;
/// The same if it wants as many as there can be: those of two people fill a ranking.
pub const COPIES_MAX: u32 = 4;
/// Addresses of one node: a few networks, both IP versions.
pub const NODE_ADDRESSES_MAX: usize = 4;
/// One-time key packages that a node holds for one device.
pub const KEY_PACKAGES_MAX: usize = 100;
/// One key package (about 300 bytes in suite 3).
pub const KEY_PACKAGE_BYTES_MAX: usize = 4 * 1024;
/// An account bundle. The X-Wing inbox key alone takes 1,216 bytes, 16 devices and 8 homes 1,300.
pub const BUNDLE_MAX: usize = 4 * 1024;
/// Rotations of the recovery key in one bundle.
pub const ROTATIONS_MAX: usize = 8;
/// Live write keys of a log: forked epochs.
pub const WRITE_KEYS_MAX: usize = 64;
/// Seconds for which the write key of a closed epoch may still write.
pub const WRITE_KEY_GRACE_S: u64 = 24 * 3600;
/// Invites of one account that are open at the same time.
pub const INVITES_MAX: usize = 256;
/// Logs that one connection has open.
pub const CHANNELS_MAX: usize = 4096;
/// Handles that read one log: all devices of 64 accounts. Each gets a copy of what is appended.
pub const READERS_MAX: usize = 64 * DEVICES_MAX;
/// Entries delivered on one channel and not accepted yet.
pub const DELIVER_WINDOW: u64 = 256;
/// Entries whose dependencies are missing, per conversation.
pub const DEFERRED_MAX: usize = 10_000;
/// Shown entries of a conversation on which none depends: concurrent branches that a device
/// remembers, so that what it says next can join them.
pub const HEADS_MAX: usize = 64;
/// Epochs of a conversation that a device keeps. More than 64 changes of the group within the
/// [grace](WRITE_KEY_GRACE_S) of a write key serve only an attacker.
pub const EPOCHS_OPEN_MAX: usize = 64;
/// An MLS commit.
pub const COMMIT_MAX: usize = 1024 * 1024;
/// A signal (typing, call set-up).
pub const SIGNAL_MAX: usize = 4 * 1024;
/// A reaction: one emoji with its modifiers.
pub const EMOJI_MAX: usize = 64;
/// A name in a contact request.
pub const NAME_MAX: usize = 64;
/// Frames waiting for one peer.
pub const QUEUE_FRAMES_MAX: usize = 256;
/// Bytes waiting for one peer.
pub const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Streams of one connection.
pub const STREAMS_MAX: u32 = 16;
/// Handshakes a node starts per second: each costs about half a millisecond of CPU.
pub const HANDSHAKES_PER_S_MAX: u32 = 500;
/// Contacts of one bucket, contacts in one answer, and nodes that keep a record: k of Kademlia,
/// section 2.2, chosen so that they hardly all fail within an hour.
pub const BUCKET_MAX: usize = 20;
/// Leading zero bits that the hash of a node's id must have: 65,536 tries, some 20 ms, once for a
/// node, and once for each id that an attacker tries.
pub const NODE_WORK_BITS: u32 = 16;
/// A node's signed record (about 250 bytes).
pub const NODE_RECORD_MAX: usize = 512;
/// A node's region, as its operator names it.
pub const REGION_MAX: usize = 16;
/// A node's signed suspicion of another (about 210 bytes, with four IPv6 addresses 280).
pub const SUSPICION_MAX: usize = 320;
/// Seconds for which a record is kept after its publication (Kademlia, section 2.5).
pub const RECORD_LIFE_S: u32 = 24 * 3600;
/// Ids of facts in one frame.
pub const FACTS_NAMED_MAX: usize = 64;
/// Nodes in one sample, each of another network: so many that an attacker with a dozen networks has
/// few of them. Some 50 KiB.
pub const SAMPLE_MAX: usize = 160;
/// Requests of one lookup, and hops in its trace.
pub const HOPS_MAX: usize = 128;
