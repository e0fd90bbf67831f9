//! One service node.
