//! A small machine over real sockets, on good days and bad ones.

mod bad_disk;
mod bad_peer;
mod good_day;
mod harness;
