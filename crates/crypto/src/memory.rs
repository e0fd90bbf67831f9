//! What is remembered only to save work, and may be forgotten at any time.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something without which its owner would answer alike, only later. So it is equal to any other,
/// and empty in a copy.
#[derive(Default)]
pub(crate) struct Memory<T>(Mutex<T>);

impl<T> Memory<T> {
    /// The remembered results, unless another thread holds the lock: waiting would take longer than
    /// doing without.
    pub(crate) fn get(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }

    /// What is remembered, to forget some of it.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Clone for Memory<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> PartialEq for Memory<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Memory<T> {}
