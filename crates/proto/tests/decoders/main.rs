//! Every decoder against generated values, cut and bent encodings, and noise: what was encoded
//! comes back, and nothing that a peer can send makes a decoder panic.

mod any;
mod bent;
mod contents;
mod envelopes;
mod frames;
mod names;
mod streams;
