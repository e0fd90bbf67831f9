//! Typed methods, and how one is called by its name.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::failure::Failure;

/// A method with its parameters, which are `Self`.
pub(crate) trait Call: Serialize + DeserializeOwned + Send {
    /// Its name on the wire.
    const METHOD: &'static str;
    /// What carries it out.
    type Target: Sync;
    /// What it returns.
    type Returns: Serialize + DeserializeOwned + Send;

    /// Carries it out.
    fn run(
        self,
        target: &Self::Target,
    ) -> impl Future<Output = Result<Self::Returns, Failure>> + Send;
}

/// Why a method returned nothing.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The parameters have the wrong form. The text doesn't contain their values.
    Params(String),
    Failed(Failure),
}

/// Calls the method of that name among those listed; `None` if it isn't there.
macro_rules! call_by_name {
    ($target:expr, $method:expr, $params:expr, [$($call:ty),+ $(,)?]) => {
        match $method {
            $(<$call>::METHOD => Some($crate::api::call::<$call>($target, $params).await),)+
            _ => None,
        }
    };
}
pub(crate) use call_by_name;

/// Calls a method with parameters from the wire.
pub(crate) async fn call<C: Call>(target: &C::Target, params: Value) -> Result<Value, Refusal> {
    let call: C = parse(params)?;
    let returned = Box::pin(call.run(target)).await.map_err(Refusal::Failed)?;
    let value = serde_json::to_value(returned);
    value.map_err(|error| Refusal::Failed(Failure::user(error.to_string())))
}

/// Reads parameters; `null` stands for none.
pub(crate) fn parse<T: DeserializeOwned>(params: Value) -> Result<T, Refusal> {
    let params = if params.is_null() { Value::Object(serde_json::Map::new()) } else { params };
    // Serde would read a list by the order of fields.
    if !params.is_object() {
        return Err(Refusal::Params("parameters are by name".to_owned()));
    }
    serde_json::from_value(params).map_err(|error| Refusal::Params(error.to_string()))
}
