//! Every key and every ciphertext: identity, envelopes, groups, history keys, recovery.
