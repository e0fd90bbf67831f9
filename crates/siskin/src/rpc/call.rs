//! What a method of the local API is.

use serde::{Serialize, de::DeserializeOwned};

use crate::{engine::Engine, failure::Failure};

/// A method with its parameters, which are `Self`.
pub(crate) trait Call: Serialize + DeserializeOwned + Send {
    /// Its name on the wire.
    const METHOD: &'static str;
    /// What it returns.
    type Returns: Serialize + DeserializeOwned + Send;

    /// Carries it out.
    fn run(self, engine: &Engine) -> impl Future<Output = Result<Self::Returns, Failure>> + Send;
}
